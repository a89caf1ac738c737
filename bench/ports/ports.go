package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	_ "github.com/weir-ddos/weir/dataplane/port/afpacket" // measured here
	_ "github.com/weir-ddos/weir/dataplane/port/afxdp"    // measured here
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// What is done with a packet.
const (
	Bare  = "bare counter"     // counted, not looked at
	Touch = "reads the header" // counted by a bare loop that reads the frame's addresses, and thus waits for its memory
	Hosts = "hosts"            // decoded, looked up, counted per host
	Flows = "hosts and flows"  // and its flow too
)

// Case is one measurement.
type Case struct {
	// Driver is afxdp or afpacket.
	Driver string
	// Options are the driver's.
	Options map[string]any
	// What is Bare, Hosts or Flows.
	What string
	// IPv6 chooses the address family.
	IPv6 bool
	// OneTarget sends to one destination, as an attack does, instead of to 65,536.
	OneTarget bool
	// Rate is how many packets a second are sent; 0 is as many as the generator can, several million.
	Rate int
	// Time is how long it is measured.
	Time time.Duration
}

// Result is what a Case gave.
type Result struct {
	Case
	// Nanoseconds of CPU a packet: everything that the process used, polling in vain included.
	Nanoseconds float64
	// Idle is the share of a core that the process uses without traffic. It is not taken off: the sleeping
	// policy polls less, the more there is to do.
	Idle float64
	// Received and Dropped are packets during the measurement; Dropped is as the port reports it.
	Received, Dropped uint64
	// Elapsed is how long it took.
	Elapsed time.Duration
	// Mode is the port's own description.
	Mode string
}

// Run measures one case, in two namespaces of its own. It needs root and two processors.
func Run(c Case) (r Result, err error) {
	r.Case = c
	a, b, clean, err := lab()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, clean()) }()
	var p port.Port
	err = b.NS.Do(func() (err error) {
		p, err = port.Open(port.Config{Driver: c.Driver, Device: b.Name, Queues: 1, Options: c.Options})
		return err
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	r.Mode = p.Stats().Mode
	w, err := consume(c, p)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	return r, r.measure(p, a, w)
}

// lab makes the cable.
func lab() (a, b *netns.Link, clean func() error, err error) {
	var made []*netns.NS
	clean = func() (err error) {
		for _, n := range made {
			err = errors.Join(err, n.Delete())
		}
		return err
	}
	for range 2 {
		n, err := netns.Create("bench")
		if err != nil {
			return nil, nil, nil, errors.Join(err, clean())
		}
		made = append(made, n)
	}
	a, b = &netns.Link{NS: made[0], Name: "send"}, &netns.Link{NS: made[1], Name: "receive"}
	if err := netns.Cable(a, b, 1); err != nil {
		return nil, nil, nil, errors.Join(err, clean())
	}
	// The generator hands frames to the receiving end's NAPI, which veth has only with XDP or with GRO. GRO leaves UDP
	// as it is.
	out, err := b.NS.Command(context.Background(), "ethtool", "-K", b.Name, "gro", "on").CombinedOutput()
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("ethtool: %w: %s", err, out), clean())
	}
	return a, b, clean, nil
}

// consumer is what takes the frames.
type consumer struct {
	// steady ends the warm-up: from now on there is a tick a second, as in the appliance.
	steady func()
	stop   func() error
}

// Timings of a measurement.
const (
	settle   = 150 * time.Millisecond // until the consumer sleeps as it does without traffic
	patience = 10 * time.Second       // for the first packet
	warmTick = 200 * time.Millisecond // between ticks while warming up
	warmUp   = 4 * warmTick           // touches the pages of both halves, twice
)

// measure runs the generator and reads the clocks: first idle, then warm-up, then the figure.
func (r *Result) measure(p port.Port, a *netns.Link, w *consumer) error {
	time.Sleep(settle)
	before, begin := cpu(), time.Now()
	time.Sleep(settle)
	r.Idle = float64(cpu()-before) / float64(time.Since(begin))

	exe, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := a.NS.Command(ctx, exe)
	o := order{device: a.Name, v6: r.IPv6, one: r.OneTarget, rate: r.Rate}
	cmd.Env = append(os.Environ(), generatorKey+"="+o.String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start generator: %w", err)
	}
	defer func() { _ = cmd.Wait() }() // killed by cancel, which is no news
	defer cancel()
	if err := arrived(p); err != nil {
		return err
	}
	time.Sleep(warmUp)
	w.steady()
	s0 := p.Stats()
	before, begin = cpu(), time.Now()
	time.Sleep(r.Time)
	used := cpu() - before
	r.Elapsed = time.Since(begin)
	s1 := p.Stats()
	r.Received = s1.Queues[0].Received - s0.Queues[0].Received
	r.Dropped = s1.Queues[0].Dropped + s1.Dropped - s0.Queues[0].Dropped - s0.Dropped
	if r.Received == 0 {
		return errors.New("nothing was received")
	}
	r.Nanoseconds = float64(used) / float64(r.Received)
	return nil
}

// arrived waits for the first packet.
func arrived(p port.Port) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if p.Stats().Queues[0].Received > 0 {
			return nil
		}
	}
	return fmt.Errorf("no packet within %v", patience)
}

// consume starts what takes the frames, pinned, with the sleeping policy in every case.
func consume(c Case, p port.Port) (*consumer, error) {
	if c.What == Bare || c.What == Touch {
		return &consumer{steady: func() {}, stop: bare(p.Queues()[0], c.What == Touch)}, nil
	}
	cfg := worker.DefaultConfig()
	cfg.Traffic.Hosts = 1 << 17
	if c.What != Flows {
		cfg.Flows.Flows = 0
	}
	table, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	seed := traffic.NewSeed(rand.Uint64)
	w, err := worker.New(cfg, worker.Deps{
		Queues: p.Queues(), Decoder: new(wire.Decoder), Nets: table, Seed: seed, Clock: clock,
		Pin: func() error { return pin(workerCPU()) },
	})
	if err != nil {
		return nil, err
	}
	m, err := merge.New(merge.DefaultConfig(), seed, table, clock)
	if err != nil {
		return nil, errors.Join(err, w.Free())
	}
	if err := errors.Join(m.Add(w.Shard()), w.Start(context.Background())); err != nil {
		return nil, err
	}
	steady, end := tick(m)
	return &consumer{steady: steady, stop: func() error { return errors.Join(end(), w.Stop(), m.Free(), w.Free()) }}, nil
}

// tick merges, often at first so that all memory is touched before the measurement begins, then every second, as the
// appliance does; its cost is in the figure.
func tick(m *merge.Merger) (steady func(), stop func() error) {
	warm, quit, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		t := time.NewTicker(warmTick)
		defer t.Stop()
		warm := warm
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-warm:
				t.Reset(time.Second)
				warm = nil
			case now := <-t.C:
				s, err := m.Tick(now)
				if err == nil {
					err = s.Conservation
					s.Release()
				}
				if err != nil {
					<-quit
					done <- err
					return
				}
			}
		}
	}()
	return func() { close(warm) }, func() error { close(quit); return <-done }
}

// sink keeps the compiler from leaving out the reads.
var sink atomic.Uint32

// bare polls and counts, with a worker's sleeping policy.
func bare(q port.Queue, touch bool) (stop func() error) {
	var halt atomic.Bool
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the pinned thread ends with this goroutine
		err := pin(workerCPU())
		var b port.Burst
		var packets, bytes uint64
		var sum byte
		for empty := 0; !halt.Load(); {
			n := q.RxBurst(&b)
			if n == 0 {
				if empty++; empty < 20 {
					time.Sleep(50 * time.Microsecond)
				} else {
					time.Sleep(500 * time.Microsecond)
				}
				continue
			}
			empty = 0
			for i := range b.Frames[:n] {
				packets++
				bytes += uint64(b.Frames[i].WireLen)
				if touch {
					sum += b.Frames[i].Data[30]
				}
			}
			q.Release(&b)
		}
		if s := q.Stats(); s.Received != packets || s.Bytes != bytes {
			err = errors.Join(err, fmt.Errorf("counted %d packets and %d bytes, the port says %+v", packets, bytes, s))
		}
		sink.Store(uint32(sum))
		done <- err
	}()
	return func() error { halt.Store(true); return <-done }
}

// The generator has the first processor, the worker the second, when there are two.
func generatorCPU() int { return 0 }
func workerCPU() int    { return min(1, runtime.NumCPU()-1) }

// pin binds the calling thread.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to processor %d: %w", cpu, err)
	}
	return nil
}

// cpu is the run time of all threads of this process, as the scheduler knows it.
func cpu() (sum time.Duration) {
	files, _ := filepath.Glob("/proc/self/task/*/schedstat") // the pattern is good
	for _, f := range files {
		var ns int64
		if text, err := os.ReadFile(f); err == nil { // a thread may end meanwhile
			_, _ = fmt.Sscan(string(text), &ns)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// Cases is the table of DESIGN.md 8.
func Cases(length time.Duration) (list []Case) {
	for _, driver := range []string{"afxdp", "afpacket"} {
		for _, shape := range []Case{{}, {IPv6: true}, {OneTarget: true}, {Rate: 200_000}} {
			for _, what := range []string{Bare, Touch, Hosts, Flows} {
				shape.Driver, shape.What, shape.Time = driver, what, length
				list = append(list, shape)
			}
		}
	}
	return list
}

// Table runs each case repeat times, and prints a row with the median, the range and the ratio to the bare counter.
func Table(w io.Writer, cases []Case, repeat int) error {
	fmt.Fprintf(w, "%-9s %-5s %-8s %-8s %-16s %9s %17s %7s %10s %8s %6s\n",
		"driver", "addr", "targets", "sent", "does", "ns/packet", "[min..max]", "x bare", "received/s", "lost", "idle")
	base := 0.0
	for _, c := range cases {
		var runs []Result
		for range repeat {
			r, err := Run(c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.Driver, c.What, err)
			}
			runs = append(runs, r)
		}
		slices.SortFunc(runs, func(x, y Result) int { return int(1000 * (x.Nanoseconds - y.Nanoseconds)) })
		m := runs[len(runs)/2]
		if c.What == Bare {
			base = m.Nanoseconds
		}
		family, targets, sent := "IPv4", "65536", "max"
		if c.IPv6 {
			family = "IPv6"
		}
		if c.OneTarget {
			targets = "1"
		}
		if c.Rate > 0 {
			sent = fmt.Sprintf("%dk", c.Rate/1000)
		}
		fmt.Fprintf(w, "%-9s %-5s %-8s %-8s %-16s %9.0f %17s %7.1f %10.0f %7.1f%% %5.1f%%\n", c.Driver, family, targets, sent, c.What,
			m.Nanoseconds, fmt.Sprintf("[%.0f..%.0f]", runs[0].Nanoseconds, runs[len(runs)-1].Nanoseconds), m.Nanoseconds/base,
			float64(m.Received)/m.Elapsed.Seconds(), 100*float64(m.Dropped)/float64(m.Received+m.Dropped), 100*m.Idle)
	}
	return nil
}
