package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	_ "github.com/weir-ddos/weir/dataplane/port/afpacket" // measured here
	_ "github.com/weir-ddos/weir/dataplane/port/afxdp"    // measured here
	"github.com/weir-ddos/weir/dataplane/port/porttest"
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
	veth, err := cable.New()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, veth.Close()) }()
	var p port.Port
	err = veth.Receive.NS.Do(func() (err error) {
		p, err = port.Open(port.Config{Driver: c.Driver, Device: veth.Receive.Name, Queues: 1, Options: c.Options})
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
	return r, r.measure(p, veth, w)
}

// traffic is what the generator sends: datagrams of 60 bytes, each a new flow.
func (c Case) traffic() cable.Traffic {
	f := porttest.Build(0, porttest.Shape{Size: 60, V6: c.IPv6})
	src, dst, sport := 14+12, 14+16, 14+20
	if c.IPv6 {
		copy(f[14+24:], net.ParseIP("2001:db8::1"))
		src, dst, sport = 14+20, 14+36, 14+40
	} else {
		copy(f[dst:], []byte{10, 0, 0, 1})
	}
	t := cable.Traffic{
		Frames: [][]byte{f},
		Fields: []cable.Field{{Offset: src, Mask: 0xffff, Shift: 16}, {Offset: sport, Mask: 0xffff0000, Shift: 16}},
	}
	if !c.OneTarget {
		t.Fields = append(t.Fields, cable.Field{Offset: dst, Mask: 0xffff})
	}
	return t
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
func (r *Result) measure(p port.Port, veth *cable.Cable, w *consumer) error {
	time.Sleep(settle)
	before, begin := cable.CPUTime(os.Getpid()), time.Now()
	time.Sleep(settle)
	r.Idle = float64(cable.CPUTime(os.Getpid())-before) / float64(time.Since(begin))

	g, err := veth.Generator(r.traffic())
	if err != nil {
		return err
	}
	sending := make(chan struct{})
	go func() {
		_, _ = g.Send(cable.Order{Count: math.MaxUint64, Rate: r.Rate}) // ended by Close, which is no news
		close(sending)
	}()
	defer func() { g.Close(); <-sending }()
	if err := arrived(p); err != nil {
		return err
	}
	time.Sleep(warmUp)
	w.steady()
	s0 := p.Stats()
	before, begin = cable.CPUTime(os.Getpid()), time.Now()
	time.Sleep(r.Time)
	used := cable.CPUTime(os.Getpid()) - before
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
		return &consumer{steady: func() {}, stop: cable.Count(p.Queues()[0], c.What == Touch)}, nil
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
		Pin: func() error { return cpu.Pin(cable.ReceiverCPU()) },
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
