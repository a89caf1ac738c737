package dataset

import (
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/weir-ddos/weir/flowcollect/record"
)

var be = binary.BigEndian

// Totals remembers what was already counted of long-lived flows whose exporter only sends totals since their start (IE 85, 86): each
// record of such a flow repeats what the ones before it said. It is shared by all workers, since the records of one flow may reach
// different ones, and is touched only for records with totals. Memory is fixed: of the flows that hash to one place the ones that were
// seen last are kept; a flow that was forgotten counts as a whole again.
type Totals struct {
	seed   uint64
	groups []group
}

// ways is how many flows share one place.
const ways = 4

type group struct {
	mu    sync.Mutex
	flows [ways]total
}

// total is one flow: its hash, and what its last record said, at when.
type total struct {
	hash           uint64
	packets, bytes uint64
	seen           int64
}

// NewTotals returns a table for about so many flows; seed is random, so that nobody can aim at a place.
func NewTotals(flows int, seed uint64) *Totals {
	n := 1 << bits.Len(uint(max(flows, ways)/ways-1))
	return &Totals{seed: seed | 1, groups: make([]group, n)}
}

// prior fills the record's PriorPackets and PriorBytes with what was counted of the same flow before, shortens its duration to the time
// since then, and remembers its totals. start is the flow's start as exported; without one two flows of the same addresses and ports
// cannot be told from one, and the record stands as it is.
func (t *Totals) prior(r *record.Record, start uint64) {
	if start == 0 {
		return
	}
	h := t.hash(r, start)
	g := &t.groups[h>>32&uint64(len(t.groups)-1)]
	g.mu.Lock()
	defer g.mu.Unlock()
	oldest := &g.flows[0]
	for i := range g.flows {
		f := &g.flows[i]
		if f.hash == h {
			if r.Packets >= f.packets && r.Bytes >= f.bytes {
				r.PriorPackets, r.PriorBytes = f.packets, f.bytes
				r.Duration = min(r.Duration, max(r.Arrived-f.seen, 0)) // what is new came since then
			}
			f.packets, f.bytes, f.seen = r.Packets, r.Bytes, r.Arrived
			return
		}
		if f.seen < oldest.seen {
			oldest = f
		}
	}
	*oldest = total{h, r.Packets, r.Bytes, r.Arrived}
}

// hash mixes all that tells the flow from others; it is never 0.
func (t *Totals) hash(r *record.Record, start uint64) uint64 {
	h := t.seed
	mix := func(x uint64) {
		hi, lo := bits.Mul64(h^x, 0x9e3779b97f4a7c15)
		h = hi ^ lo ^ t.seed
	}
	for _, a := range [3]*[16]byte{&r.Src, &r.Dst, &r.Exporter} {
		mix(be.Uint64(a[:8]))
		mix(be.Uint64(a[8:]))
	}
	mix(uint64(r.SrcPort)<<48 | uint64(r.DstPort)<<32 | uint64(r.Proto)<<24 | uint64(r.Direction)<<16 | uint64(r.Template))
	mix(uint64(r.Domain)<<32 | uint64(r.Input))
	mix(start)
	return h | 1
}
