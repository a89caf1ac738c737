package feed

import (
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Every host comes once before any comes again, and every frame decodes.
func TestHostsComeInTurn(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		const hosts = 1 << 10
		q, err := New(Config{Hosts: hosts, IPv6: v6})
		if err != nil {
			t.Fatal(err)
		}
		table, err := Networks()
		if err != nil {
			t.Fatal(err)
		}
		var b port.Burst
		var d wire.Decoder
		var h wire.Headers
		type flow struct {
			dst  [16]byte
			port uint16
		}
		seen := map[flow]int{}
		for range hosts * Flows / port.MaxBurst {
			for _, f := range b.Frames[:q.RxBurst(&b)] {
				if code := d.Decode(q.LinkType(), f.Data, &h); code != wire.OK {
					t.Fatalf("code %v of %x", code, f.Data)
				}
				ip, _ := h.Charged()
				if table.Lookup(&ip.Dst) == 0 || table.Lookup(&ip.Src) != 0 {
					t.Fatalf("%v to %v", ip.Src, ip.Dst)
				}
				seen[flow{ip.Dst, ip.SrcPort}]++
			}
			q.Release(&b)
		}
		if len(seen) != hosts*Flows {
			t.Errorf("IPv6 %v: %d flows, want %d", v6, len(seen), hosts*Flows)
		}
	}
}

// A paced queue gives what has come, and loses what its ring does not hold.
func TestPaced(t *testing.T) {
	t.Parallel()
	q, err := New(Config{Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	const rate = 1_000_000
	q.SetRate(rate)
	var b port.Burst
	begin := time.Now()
	q.RxBurst(&b)
	for deadline := begin.Add(time.Minute); ; {
		if n := q.RxBurst(&b); n > port.MaxBurst {
			t.Fatal(n)
		}
		if n, _ := q.Taken(); n > 2000 || time.Now().After(deadline) {
			break
		}
	}
	n, lost := q.Taken()
	if most := uint64(time.Since(begin).Seconds()*rate) + 1; n+lost > most || n < 2000 {
		t.Errorf("%d and %d lost in %v", n, lost, time.Since(begin))
	}
	away := 20 * time.Millisecond // the time of 20,000 packets
	for begin := time.Now(); time.Since(begin) < away; {
		continue
	}
	q.RxBurst(&b)
	if _, after := q.Taken(); after-lost < uint64(away.Seconds()*rate)-Depth-port.MaxBurst {
		t.Errorf("%d lost in %v with a ring of %d", after-lost, away, Depth)
	}
	q.polls = 0 // the next poll makes a sample
	q.RxBurst(&b)
	if s := q.Sample(); s.LostShort < s.Lost+Depth-ShortDepth-2*port.MaxBurst || s.Unseen != 0 {
		t.Errorf("%+v: a ring of %d must lose more", s, ShortDepth)
	}
	q.SetUnseen(true)
	before, _ := q.Taken()
	for range 100 {
		if n := q.RxBurst(&b); n != 0 {
			t.Fatalf("%d packets are seen", n)
		}
	}
	q.polls = 0
	q.RxBurst(&b)
	if after, _ := q.Taken(); after != before || q.Sample().Unseen == 0 {
		t.Errorf("%d packets of %d, %+v", after, before, q.Sample())
	}
	if _, err := New(Config{Hosts: 3}); err == nil {
		t.Error("3 hosts are no power of two")
	}
}
