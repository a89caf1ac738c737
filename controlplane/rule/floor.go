package rule

import (
	"math"
	"time"
)

// Floor is the prefilter: no host whose totals stay at or below it can exceed any per-host limit of any group.
// With it, a quiet host costs three comparisons a tick. It is indexed as Directions is.
type Floor [2]rateFloor

// rateFloor holds the smallest limits of one direction: packets/s, bytes/s and flows/s.
type rateFloor struct{ packets, bytes, flows float64 }

// lower takes one limit into account. A class never exceeds the total, so the smallest limit of any class bounds the total.
func (f *rateFloor) lower(m Metric, limit float64) {
	switch {
	case m == Flows:
		f.flows = min(f.flows, limit)
	case m.Bandwidth():
		f.bytes = min(f.bytes, limit*1e6/8)
	default:
		f.packets = min(f.packets, limit)
	}
}

// Floor returns the prefilter of all groups' limits on hosts.
func (s *Set) Floor() Floor { return s.floor }

// Bounds is a Floor turned into counts for one epoch, indexed as Directions is.
type Bounds [2]Bound

// Bound holds the largest counts that are certainly not a breach.
type Bound struct{ Packets, Bytes, Flows uint64 }

// Bounds turns the floor into counts for an epoch of the given length. A fraction below 1 lowers it: 0.1 gives a tenth.
func (f Floor) Bounds(elapsed time.Duration, fraction float64) (b Bounds) {
	s := elapsed.Seconds() * fraction
	for d := range f {
		b[d] = Bound{Packets: count(f[d].packets * s), Bytes: count(f[d].bytes * s), Flows: count(f[d].flows * s)}
	}
	return b
}

// count rounds down, with a margin so that rounding in the exact comparison can never fire below the bound.
func count(v float64) uint64 {
	v *= 1 - 1e-9
	switch {
	case !(v > 0):
		return 0
	case v >= math.MaxInt64:
		return math.MaxUint64
	default:
		return uint64(v)
	}
}

// Above reports whether counts exceed the bound, so that the row deserves to be judged.
func (b *Bound) Above(packets, bytes, flows uint64) bool {
	return packets > b.Packets || bytes > b.Bytes || flows > b.Flows
}
