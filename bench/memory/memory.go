package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// LineRate is 10GbE at 64-byte frames, packets per second.
const LineRate = 14_880_000

// Case is one measurement.
type Case struct {
	// Hosts is how many destinations are hit, in random order.
	Hosts int
	// IPv6 chooses the frames' address family.
	IPv6 bool
	// Flows counts flows too; each host then has FlowsPerHost of them (and at least 65,536 in all).
	Flows bool
	// Fresh makes every packet a flow of its own and has the hosts take turns, in an order without a pattern, as bench/cable sends
	// them: with few packets a host what counts is starting rows. Hosts is a power of two then, and an epoch takes a second.
	Fresh bool
	// Packets is the length of an epoch.
	Packets int
	// Epochs is how many are run.
	Epochs int
}

// FlowsPerHost is the number of distinct 5-tuples per host and epoch.
const FlowsPerHost = 1

// Result is what a Case gave.
type Result struct {
	Case
	// Best, Median and Worst are nanoseconds of CPU per packet, over the epochs.
	Best, Median, Worst float64
	// Plain is the best of the loop that only touches the same memory, PlainMedian its median; its epochs are run in
	// between those of the worker.
	Plain, PlainMedian float64
	// Tick is the best time of a tick (rotate, merge, clear) with these hosts active, and TickRows its rows.
	Tick     time.Duration
	TickRows int
	// BytesPerHost is what a worker reserves, divided by the hosts.
	BytesPerHost float64
}

// Mpps is the best rate of one core.
func (r Result) Mpps() float64 { return 1000 / r.Best }

// ring is how many frame buffers there are: as a driver's ring, small enough to stay in a cache.
const ring = 4096

// source makes bursts of frames to random hosts.
type source struct {
	fresh  bool
	hosts  uint64
	flows  uint64
	v6     bool
	state  uint64
	next   int
	frames [ring][]byte
}

func newSource(c Case) *source {
	s := &source{fresh: c.Fresh, hosts: uint64(c.Hosts), v6: c.IPv6, state: 1}
	s.flows = max(s.hosts*FlowsPerHost, 1<<16) / s.hosts
	for i := range s.frames {
		s.frames[i] = frame(c.IPv6)
	}
	return s
}

// frame is a minimal UDP packet from outside.
func frame(v6 bool) []byte {
	b := make([]byte, 64)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
	if v6 {
		b = append(b, 0, 0) // Ethernet + IPv6 + UDP + 4
		copy(b[12:], []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, 64, 0x20, 1, 0x0d, 0xb9})
		copy(b[38:], []byte{0x20, 1, 0x0d, 0xb8})
		copy(b[54:], []byte{0x30, 0x39, 0, 53, 0, 12, 0, 0})
		return b
	}
	copy(b[12:], []byte{8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 10, 0, 0, 0})
	copy(b[34:], []byte{0x30, 0x39, 0, 53, 0, 26, 0, 0})
	return b[:60]
}

// fill writes the next burst: what differs between packets is the destination and the source port.
func (s *source) fill(b *port.Burst) {
	for i := range b.Frames {
		host, ports := s.one()
		f := s.frames[s.next]
		s.next = (s.next + 1) % ring
		if s.v6 {
			binary.BigEndian.PutUint32(f[50:], host)
			binary.BigEndian.PutUint32(f[54:], ports)
		} else {
			binary.BigEndian.PutUint32(f[30:], 10<<24|host)
			binary.BigEndian.PutUint32(f[34:], ports)
		}
		b.Frames[i] = port.Frame{Data: f, WireLen: uint32(len(f))}
	}
	b.N = len(b.Frames)
}

// one chooses a host, and the ports of a packet to it.
func (s *source) one() (host, ports uint32) {
	if s.fresh {
		s.state += golden
		return uint32(s.state & (s.hosts - 1)), uint32(s.state >> 20)
	}
	s.state = s.state*6364136223846793005 + 1442695040888963407
	to, _ := bits.Mul64(s.state, s.hosts)
	sport := uint32(s.state>>20) & 0xffff % uint32(min(s.flows, 60000))
	return uint32(to), sport<<16 | 53
}

// golden is odd: the low bits of its multiples take every value before one comes again, and so do others.
const golden = 0x9e3779b97f4a7c15

// Networks are what the benchmark's worker protects.
func Networks() (*nets.Table, error) {
	return nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
}

// Run measures one case on a locked thread.
func Run(c Case) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := Result{Case: c}
	table, err := Networks()
	if err != nil {
		return r, err
	}
	cfg := worker.DefaultConfig()
	cfg.Traffic.Hosts = c.Hosts
	cfg.Flows.Flows = 0
	if c.Flows {
		cfg.Flows.Flows = max(c.Hosts*FlowsPerHost, 1<<16) + 1<<10
		if c.Fresh {
			cfg.Flows.Flows = 1 << 22
		}
	}
	seed := traffic.NewSeed(rand.New(rand.NewPCG(7, 7)).Uint64)
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	var epoch int64
	if c.Fresh { // or there would be flows of many epochs in a second
		clock = func() int64 { return epoch * int64(time.Second) }
	}
	w, err := worker.New(cfg, worker.Deps{Decoder: new(wire.Decoder), Nets: table, Seed: seed, Clock: clock})
	if err != nil {
		return r, err
	}
	m, err := merge.New(merge.DefaultConfig(), seed, table, clock)
	if err != nil {
		return r, errors.Join(err, w.Free())
	}
	if err := m.Add(w.Shard()); err != nil {
		return r, err
	}
	p, err := newPlain(c)
	if err == nil {
		err = errors.Join(r.epochs(w, m, p, &epoch), p.memory.Free())
	}
	r.BytesPerHost = float64(w.Stats().Memory) / float64(c.Hosts)
	return r, errors.Join(err, m.Free(), w.Free())
}

// warmUp is how many epochs touch the pages of both halves before any is measured.
const warmUp = 2

func (r *Result) epochs(w *worker.Worker, m *merge.Merger, p *plain, epoch *int64) error {
	src := newSource(r.Case)
	var burst port.Burst
	var times, plains []float64
	for e := range r.Epochs + warmUp {
		begin := cpu()
		for range r.Packets / port.MaxBurst {
			src.fill(&burst)
			w.Process(&burst, wire.LinkEthernet)
		}
		packets := r.Packets / port.MaxBurst * port.MaxBurst
		ns := float64(cpu()-begin) / float64(packets)
		*epoch++
		begin = cpu()
		s, err := m.Tick(time.Now())
		if err != nil {
			return err
		}
		if tick := cpu() - begin; e >= warmUp && (r.Tick == 0 || tick < r.Tick) {
			r.Tick = tick
		}
		r.TickRows = s.Len()
		bad := s.Conservation
		if s.Overflowed.Packets > 0 || s.Saturated > 0 {
			bad = fmt.Errorf("%d packets overflowed, %d flows saturated", s.Overflowed.Packets, s.Saturated)
		}
		if n := s.Codes[wire.OK]; n != uint64(packets) {
			bad = errors.Join(bad, fmt.Errorf("%d packets counted of %d", n, packets))
		}
		s.Release()
		if bad != nil {
			return bad
		}
		if plain := p.epoch(); e >= warmUp {
			times, plains = append(times, ns), append(plains, plain)
		}
	}
	slices.Sort(times)
	slices.Sort(plains)
	r.Best, r.Median, r.Worst = times[0], times[len(times)/2], times[len(times)-1]
	r.Plain, r.PlainMedian = plains[0], plains[len(plains)/2]
	return nil
}

type line struct{ words [8]uint64 }

// plain makes the same frames and adds one to the same number of lines in the same two passes, and does nothing else.
type plain struct {
	c      Case
	src    *source
	memory arena.Arena
	rows   []line
	flows  []line
	burst  port.Burst
	addrs  [2 * port.MaxBurst]uintptr
	at     [2 * port.MaxBurst]uint32
}

func newPlain(c Case) (*plain, error) {
	p := &plain{c: c, src: newSource(c)}
	var err error
	if p.rows, err = arena.Make[line](&p.memory, c.Hosts*4/3+1); err != nil {
		return nil, err
	}
	if !c.Flows {
		return p, nil
	}
	lines := int(flowtrack.Config{Flows: max(c.Hosts*FlowsPerHost, 1<<16)}.Size() / 128)
	if p.flows, err = arena.Make[line](&p.memory, lines); err != nil {
		return nil, errors.Join(err, p.memory.Free())
	}
	return p, nil
}

// epoch returns nanoseconds a packet.
func (p *plain) epoch() float64 {
	begin := cpu()
	for range p.c.Packets / port.MaxBurst {
		p.src.fill(&p.burst)
		p.touch()
	}
	return float64(cpu()-begin) / float64(p.c.Packets/port.MaxBurst*port.MaxBurst)
}

// touch is one burst.
func (p *plain) touch() {
	n := 0
	for i := range p.burst.Frames {
		f := p.burst.Frames[i].Data
		h := binary.LittleEndian.Uint64(f[len(f)-32:]) * 0x9e3779b97f4a7c15
		if p.c.IPv6 {
			h = binary.LittleEndian.Uint64(f[50:]) * 0x9e3779b97f4a7c15
		}
		x, _ := bits.Mul64(h, uint64(len(p.rows)))
		p.at[n], p.addrs[n] = uint32(x), arena.Address(p.rows)+uintptr(x)*64
		n++
		if p.c.Flows {
			x, _ = bits.Mul64(h*0xff51afd7ed558ccd, uint64(len(p.flows)))
			p.at[n], p.addrs[n] = uint32(x), arena.Address(p.flows)+uintptr(x)*64
			n++
		}
	}
	arena.Prefetch(&p.addrs[0], n)
	for i := 0; i < n; i++ {
		p.rows[p.at[i]].words[3]++
		if p.c.Flows {
			i++
			p.flows[p.at[i]].words[0]++
		}
	}
}

// cpu is the CPU time of this thread.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// Cases is the table of DESIGN.md 8: with flows and without, both families, 1 to 4 M hosts.
func Cases(epochs int) (list []Case) {
	for _, flows := range []bool{true, false} {
		for _, v6 := range []bool{false, true} {
			for _, hosts := range []int{1, 1 << 16, 1 << 20, 1 << 22} {
				list = append(list, Case{Hosts: hosts, IPv6: v6, Flows: flows, Packets: LineRate, Epochs: epochs})
			}
		}
	}
	return list
}

// Table runs all cases and prints one row each. With 5 epochs a case and 4 M hosts it takes 2 minutes and 4 GiB.
func Table(w io.Writer, cases []Case) error {
	fmt.Fprintf(w, "%-6s %-5s %9s %9s %10s %8s %10s %10s %9s\n", "family", "flows", "hosts", "ns/packet", "median", "Mpps", "plain loop", "tick", "B/host")
	for _, c := range cases {
		r, err := Run(c)
		if err != nil {
			return fmt.Errorf("memory: %d hosts: %w", c.Hosts, err)
		}
		family := "IPv4"
		if c.IPv6 {
			family = "IPv6"
		}
		bytes := "-"
		if c.Hosts > 1<<16 {
			bytes = fmt.Sprintf("%.0f", r.BytesPerHost)
		}
		fmt.Fprintf(w, "%-6s %-5v %9d %9.1f %10.1f %8.1f %10.1f %10s %9s\n", family, c.Flows, c.Hosts, r.Best, r.Median, r.Mpps(),
			r.Plain, r.Tick.Round(time.Microsecond*10), bytes)
	}
	return nil
}
