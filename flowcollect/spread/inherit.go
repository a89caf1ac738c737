package spread

import (
	"runtime"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Inherit takes over what o was still to charge; o is not changed and must not be used meanwhile. What is left of an entry is spread
// evenly over the time that is left to it: the shape within that time is lost, no packet is. It is called after Begin.
func (s *Spreader) Inherit(h *traffic.Half, o *Spreader) {
	for i := range o.table.entries {
		e := &o.table.entries[i]
		if e.left == (traffic.Counter{}) {
			continue
		}
		p, k := s.rest(&e.ring, e.size), e.key
		var i int
		if e.scope == host {
			i = s.find(h, &k, s.table.hash(&k))
		} else {
			i = s.coarse(k)
		}
		s.join(h, &s.table.entries[i], &p)
	}
	s.burst.Flush(h)
	runtime.KeepAlive(o) // its entries are in memory of its own
	for f := range o.totals {
		for d := range o.totals[f] {
			for c := range o.totals[f][d] {
				for size := range o.totals[f][d][c] {
					s.inheritTotal(&s.totals[f][d][c][size], &o.totals[f][d][c][size], uint8(size))
				}
			}
		}
	}
}

func (s *Spreader) inheritTotal(to, from *ring, size uint8) {
	if from.left == (traffic.Counter{}) {
		return
	}
	p := s.rest(from, size)
	if to.left == (traffic.Counter{}) {
		*to = ring{paid: s.due}
	}
	to.put(&p)
	s.stats.Pending.Add(p.rest)
}

// rest is a plan for all that is left in a ring.
func (s *Spreader) rest(r *ring, size uint8) plan {
	shift := minShift + uint(size)
	first := r.paid >> shift
	end := r.paid + 1
	for b := first; b < first+numBins; b++ {
		if x := &r.bins[b&(numBins-1)]; x.tail != (traffic.Counter{}) {
			end = max(end, x.end)
		}
	}
	if r.now != (traffic.Counter{}) {
		end = max(end, (first+1)<<shift)
	}
	p := plan{rest: r.left, begin: s.due, end: s.due + min(end-r.paid, fitBins<<shift), size: size}
	p.cut()
	return p
}
