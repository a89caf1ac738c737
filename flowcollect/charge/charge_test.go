package charge_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/charge"
)

func addr(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// A Burst does what AddRecord does, for every direction, and for counts that a word cannot hold.
func TestBurstIsAddRecord(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 9))
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	seed := traffic.NewSeed(r.Uint64)
	shard := func() *traffic.Half {
		s, err := traffic.NewShard(traffic.Config{Hosts: 1 << 10}, seed, n, func() int64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Leave(); _ = s.Free() })
		s.Enter()
		return s.Poll()
	}
	one, many := shard(), shard()
	var b charge.Burst
	addrs := []string{"10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db9::1"}
	for i := range 5000 {
		rec := traffic.Record{
			Src: addr(addrs[r.IntN(6)]), Dst: addr(addrs[r.IntN(6)]), Class: traffic.Class(r.IntN(int(traffic.NumClasses))),
			Counter: traffic.Counter{Packets: r.Uint64N(1 << r.IntN(30)), Bytes: r.Uint64N(1 << r.IntN(40))},
		}
		policy := traffic.InternalPolicy(i % 4)
		one.AddRecord(policy, &rec)
		b.Add(many, policy, &rec.Src, &rec.Dst, rec.Class, rec.Counter)
	}
	b.Flush(many)
	b.Flush(many) // nothing is added twice
	if one.Totals != many.Totals || one.Records != many.Records || one.Overflowed != many.Overflowed || one.Table().Len() != many.Table().Len() {
		t.Errorf("%+v and %+v", one.Records, many.Records)
	}
	for i := range one.Table().Len() {
		var x, y traffic.Host
		one.Table().Read(i, &x)
		at, ok := many.Table().Find(&x.Addr, x.Direction)
		if !ok {
			t.Fatalf("%v %v has no row", x.Addr, x.Direction)
		}
		if many.Table().Read(at, &y); x != y {
			t.Errorf("%+v and %+v", x, y)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := traffic.NewShard(traffic.Config{Hosts: 16}, traffic.NewSeed(rand.Uint64), n, func() int64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Leave(); _ = s.Free() })
	s.Enter()
	h := s.Poll()
	var b charge.Burst
	src, dst := addr("192.0.2.1"), addr("10.0.0.0")
	if n := testing.AllocsPerRun(1000, func() {
		dst[15]++ // more hosts than the table holds
		b.Add(h, traffic.InternalBoth, &src, &dst, traffic.ClassUDP, traffic.Counter{Packets: 1, Bytes: 100})
		b.Flush(h)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if h.Overflowed == (traffic.Counter{}) || h.Records.Packets != 1001 {
		t.Errorf("%+v of %+v overflowed", h.Overflowed, h.Records)
	}
}
