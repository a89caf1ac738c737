package probe

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"testing"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

func newProbeT(t testing.TB, cfg Config) (*Evidence, *Probe) {
	t.Helper()
	e, err := NewEvidence(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Probe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Free() })
	return e, p
}

func frame(n int, time int64) *port.Frame {
	b := make([]byte, 200)
	binary.BigEndian.PutUint32(b, uint32(n))
	return &port.Frame{Data: b, Time: time, WireLen: 1500}
}

var v4, v6 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")

func TestHeadIsPointerFree(t *testing.T) {
	t.Parallel()
	if err := arena.PointerFree(reflect.TypeFor[head]()); err != nil {
		t.Error(err)
	}
}

// TestSampled takes exactly one packet in SampleEvery when bursts are smaller than that, whatever their sizes.
func TestSampled(t *testing.T) {
	t.Parallel()
	_, p := newProbeT(t, Config{SampleEvery: 100, Heads: 4, PerTarget: 1, Epochs: 1})
	r := rand.New(rand.NewPCG(1, 1))
	seen, last := 0, -1
	for seen < 100_000 {
		n := 1 + r.IntN(64)
		if i := p.Sampled(n); i >= 0 {
			if i >= n || (seen+i+1)%100 != 0 || seen+i != last+100 {
				t.Fatalf("packet %d of a burst of %d at %d", i, n, seen)
			}
			last = seen + i
		} else if seen/100 != (seen+n)/100 {
			t.Fatalf("no sample in %d..%d", seen, seen+n)
		}
		seen += n
	}
	_, dense := newProbeT(t, Config{SampleEvery: 1, Heads: 4, PerTarget: 1, Epochs: 1})
	for range 100 {
		if i := dense.Sampled(64); i < 0 || i > 63 {
			t.Fatalf("sample %d", i)
		}
	}
	_, off := newProbeT(t, Config{Heads: 4, PerTarget: 1, Epochs: 1})
	if off.Sampled(64) != -1 {
		t.Error("sampled though it is off")
	}
}

// TestTargetsAgainstMap compares Match with a map.
func TestTargetsAgainstMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		var list []Target
		want := map[Target]bool{}
		for range r.IntN(2 * MaxTargets) {
			x := Target{anyAddr(r), traffic.Direction(r.IntN(2))}
			if len(want) < MaxTargets {
				want[x] = true
			}
			list = append(list, x)
		}
		s := newTargets(list)
		if (s == nil) != (len(list) == 0) {
			t.Fatal("nil set")
		}
		if s == nil {
			continue
		}
		for range 500 {
			x := Target{anyAddr(r), traffic.Direction(r.IntN(2))}
			a := x.Addr.As16()
			if got := s.Match(&a, x.Direction); (got >= 0) != want[x] {
				t.Fatalf("Match(%v) = %d, want %v", x, got, want[x])
			}
		}
	}
	if s := newTargets([]Target{{}}); s.n != 0 {
		t.Error("an invalid address is a target")
	}
}

func anyAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(100))})
	}
	b := v6.As16()
	b[15] = byte(r.IntN(100))
	return netip.AddrFrom16(b)
}

func TestTakeKeepsWithinBudgets(t *testing.T) {
	t.Parallel()
	e, p := newProbeT(t, Config{SampleEvery: 10, Heads: 40, PerTarget: 12, Epochs: 3})
	e.SetTargets([]Target{{v4, traffic.Incoming}, {v6, traffic.Outgoing}})
	targets := p.Targets()
	a4, a6 := v4.As16(), v6.As16()
	for i := range 100 {
		p.Take(0, targets, 0, &a4, traffic.Incoming, frame(i, int64(i)), wire.LinkEthernet)
		p.Take(0, targets, 1, &a6, traffic.Outgoing, frame(1000+i, int64(i)), wire.LinkRaw)
		p.Take(0, nil, -1, &a4, traffic.Outgoing, frame(2000+i, 0), wire.LinkEthernet)
	}
	if got := e.Samples(v4, traffic.Incoming, 100); len(got) != 0 {
		t.Fatal("evidence of an epoch that has not ended")
	}
	p.Retired(0)
	p.Clear(0)
	for _, c := range []struct {
		addr  netip.Addr
		dir   traffic.Direction
		limit int
		first uint32
		want  int
		link  wire.LinkType
	}{
		{v4, traffic.Incoming, 100, 0, 12, wire.LinkEthernet},
		{v4, traffic.Incoming, 5, 7, 5, wire.LinkEthernet},
		{v6, traffic.Outgoing, 100, 1000, 12, wire.LinkRaw},
		{v4, traffic.Outgoing, 100, 2000, 10, wire.LinkEthernet},
		{v6, traffic.Incoming, 100, 0, 0, 0},
		{v4, traffic.Incoming, 0, 0, 0, 0},
		{netip.Addr{}, traffic.Incoming, 9, 0, 0, 0},
	} {
		got := e.Samples(c.addr, c.dir, c.limit)
		if len(got) != c.want {
			t.Errorf("%v %v: %d samples, want %d", c.addr, c.dir, len(got), c.want)
			continue
		}
		for i, s := range got {
			if n := binary.BigEndian.Uint32(s.Data); n != c.first+uint32(i) || len(s.Data) != HeadLen || s.WireLen != 1500 || s.LinkType != c.link {
				t.Errorf("%v %v: sample %d is packet %d, %+v", c.addr, c.dir, i, n, s)
			}
		}
	}
	if got := e.Match(100, func(a netip.Addr, d traffic.Direction) bool { return a == v6 }); len(got) != 12 {
		t.Errorf("Match: %d", len(got))
	}
}

func TestEpochsPassAndTargetsChange(t *testing.T) {
	t.Parallel()
	e, p := newProbeT(t, Config{Heads: 8, PerTarget: 2, Epochs: 3})
	a := v6.As16()
	for epoch := range 10 {
		for range 2 { // a new set in mid-epoch starts new budgets
			e.SetTargets([]Target{{v6, traffic.Incoming}})
			for range 5 {
				p.Take(epoch%2, p.Targets(), 0, &a, traffic.Incoming, frame(epoch, int64(epoch)), wire.LinkEthernet)
			}
		}
		p.Retired(epoch % 2)
		p.Clear(epoch % 2)
		got := e.Samples(v6, traffic.Incoming, 100)
		if want := 4 * min(epoch+1, 3); len(got) != want {
			t.Fatalf("epoch %d: %d samples, want %d", epoch, len(got), want)
		}
		if got[len(got)-1].Time != int64(epoch) || got[0].Time != int64(max(epoch-2, 0)) {
			t.Fatalf("epoch %d: from %d to %d", epoch, got[0].Time, got[len(got)-1].Time)
		}
	}
	e.SetTargets(nil)
	if p.Targets() != nil {
		t.Error("targets remain")
	}
	if err := e.Remove(p); err != nil {
		t.Error(err)
	}
	if got := e.Samples(v6, traffic.Incoming, 100); len(got) != 0 {
		t.Error("evidence of a removed probe")
	}
}

// TestConcurrentReaders runs owner, control and readers at once, for the race detector.
func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	e, p := newProbeT(t, DefaultConfig())
	a := v4.As16()
	e.SetTargets([]Target{{v4, traffic.Incoming}})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				e.SetTargets([]Target{{v4, traffic.Incoming}})
				e.Samples(v4, traffic.Incoming, 10)
			}
		}
	})
	for epoch := range 300 { // the worker and the control goroutine, taking turns as Shard makes them
		targets := p.Targets()
		for i := range 10 {
			if targets != nil {
				p.Take(epoch%2, targets, 0, &a, traffic.Incoming, frame(i, 0), wire.LinkEthernet)
			}
		}
		p.Retired(epoch % 2)
		p.Clear(epoch % 2)
	}
	close(stop)
	wg.Wait()
	if n := len(e.Samples(v4, traffic.Incoming, 1000)); n == 0 || n > 100 {
		t.Errorf("%d samples", n)
	}
}

func TestHotAllocs(t *testing.T) {
	e, p := newProbeT(t, DefaultConfig())
	e.SetTargets([]Target{{v4, traffic.Incoming}})
	a, f := v4.As16(), frame(1, 1)
	if n := testing.AllocsPerRun(1000, func() {
		targets := p.Targets()
		p.Sampled(64)
		p.Take(0, targets, targets.Match(&a, traffic.Incoming), &a, traffic.Incoming, f, wire.LinkEthernet)
		p.Clear(0)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{
		{SampleEvery: -1, Heads: 4, PerTarget: 1, Epochs: 1},
		{Heads: 3, PerTarget: 1, Epochs: 1},
		{Heads: 4, PerTarget: 0, Epochs: 1},
		{Heads: 4, PerTarget: 1 << 16, Epochs: 1},
		{Heads: 4, PerTarget: 1, Epochs: 0},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
		if _, err := NewEvidence(c); err == nil {
			t.Errorf("evidence of %+v", c)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var list []Target
	r := rand.New(rand.NewPCG(3, 3))
	for range MaxTargets {
		list = append(list, Target{anyAddr(r), traffic.Incoming})
	}
	s := newTargets(list)
	a := netip.MustParseAddr("198.51.100.7").As16()
	for b.Loop() {
		a[15]++
		s.Match(&a, traffic.Incoming)
	}
}
