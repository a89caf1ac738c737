package charge

import (
	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// A word of a row holds no more than this at once; see package traffic. What is larger goes to its row directly.
const (
	maxPackets = 1 << 26
	maxBytes   = 1 << 34
)

// size is how many rows a Burst holds.
const size = 128

// Burst collects rows to charge and charges them together. The zero value is ready.
type Burst struct {
	n       int
	charges [size]traffic.Charge
	addrs   [size]uintptr
}

// Add charges a record, already multiplied by its sampling rate: its totals now, its rows with the next Flush. Internal traffic goes to
// the rows that policy says.
func (b *Burst) Add(h *traffic.Half, policy traffic.InternalPolicy, src, dst *[16]byte, class traffic.Class, n traffic.Counter) {
	table := h.Nets()
	from, to := table.Lookup(src), table.Lookup(dst)
	d := traffic.DirectionOf(from, to)
	h.AddTotal(traffic.FamilyOf(dst), d, class, n)
	in, out := policy.Rows(d)
	if in {
		b.Row(h, dst, to, traffic.Incoming, class, n)
	}
	if out {
		b.Row(h, src, from, traffic.Outgoing, class, n)
	}
}

// Row charges the row of a host, which lies at place in the half's prefix table, in direction d (Incoming or Outgoing): with the next
// Flush. Outside the networks nothing has a row.
func (b *Burst) Row(h *traffic.Half, addr *[16]byte, place nets.ID, d traffic.Direction, class traffic.Class, n traffic.Counter) {
	if n.Packets >= maxPackets || n.Bytes >= maxBytes {
		h.AddRow(addr, d, class, n)
		return
	}
	if place == nets.Outside {
		return
	}
	if b.n == size {
		b.Flush(h)
	}
	c := &b.charges[b.n]
	b.n++
	c.Set(addr, place, d)
	c.Word, c.Class, c.NewFlows = n.Packets*traffic.OnePacket+n.Bytes, class, 0
}

// Flush charges the rows. It is called before the half changes.
func (b *Burst) Flush(h *traffic.Half) {
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
