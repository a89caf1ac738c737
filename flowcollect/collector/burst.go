package collector

import (
	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// A word of a row holds no more than this at once; see package traffic. What is larger goes to its row directly.
const (
	maxBurstPackets = 1 << 26
	maxBurstBytes   = 1 << 34
)

// burst collects rows to charge and charges them together: with many hosts nearly every row is a cache miss, and the misses of a
// burst overlap (BenchmarkDatagram).
type burst struct {
	n       int
	charges [128]traffic.Charge
	addrs   [128]uintptr
}

// add charges a record at once: its totals now, its rows with the next flush.
func (b *burst) add(h *traffic.Half, policy traffic.InternalPolicy, r *traffic.Record) {
	if r.Packets >= maxBurstPackets || r.Bytes >= maxBurstBytes {
		h.AddRecord(policy, r)
		return
	}
	table := h.Nets()
	src, dst := table.Lookup(&r.Src), table.Lookup(&r.Dst)
	d := traffic.DirectionOf(src, dst)
	h.AddTotal(traffic.FamilyOf(&r.Dst), d, r.Class, r.Counter)
	if b.n+2 > len(b.charges) {
		b.flush(h)
	}
	word := r.Packets*traffic.OnePacket + r.Bytes
	in, out := policy.Rows(d)
	if in {
		b.row(&r.Dst, dst, traffic.Incoming, r.Class, word)
	}
	if out {
		b.row(&r.Src, src, traffic.Outgoing, r.Class, word)
	}
}

func (b *burst) row(addr *[16]byte, place nets.ID, d traffic.Direction, class traffic.Class, word uint64) {
	c := &b.charges[b.n]
	b.n++
	c.Set(addr, place, d)
	c.Word, c.Class, c.NewFlows = word, class, 0
}

// flush charges the rows. It is called before the half changes.
func (b *burst) flush(h *traffic.Half) {
	if b.n == 0 {
		return
	}
	charges := b.charges[:b.n]
	h.Prepare(charges, b.addrs[:])
	arena.Prefetch(&b.addrs[0], b.n)
	h.Locate(charges, b.addrs[:])
	arena.Prefetch(&b.addrs[0], b.n)
	h.Add(charges)
	b.n = 0
}
