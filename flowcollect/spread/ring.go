package spread

import (
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// plan is how a record is charged: first at once, the rest evenly from begin to end.
type plan struct {
	first, rest traffic.Counter
	begin, end  int64
	size        uint8

	// What cut made of it: the bins that begin and end lie in, what falls into the first, into each of those between, and into the last.
	from, to         int64
	head, each, tail traffic.Counter
}

// cut cuts the rest into what falls into bins. Every ring that the record is put into takes the same pieces.
func (p *plan) cut() {
	shift := minShift + uint(p.size)
	p.from, p.to = p.begin>>shift, (p.end-1)>>shift
	p.tail = p.rest
	if p.from >= p.to {
		return
	}
	p.head = share(p.tail, (p.from+1)<<shift-p.begin, p.end-p.begin)
	subtract(&p.tail, p.head)
	if inner := p.to - p.from - 1; inner > 0 {
		p.each = share(p.tail, 1<<shift, p.end-(p.from+1)<<shift)
		subtract(&p.tail, traffic.Counter{Packets: p.each.Packets * uint64(inner), Bytes: p.each.Bytes * uint64(inner)})
	}
}

// sizeOf is the size of the narrowest bins of which fitBins hold d.
func sizeOf(d int64) uint8 {
	n := (d - 1) / fitBins >> minShift
	return uint8(min(bits.Len64(uint64(n)), numSizes-1))
}

// ring is amounts that are due in time: a bin for each stretch of 2^(minShift+size) ns.
type ring struct {
	// left is all that is due.
	left traffic.Counter
	// paid is until when the ring has been charged, in the Spreader's time.
	paid int64
	// now is what is due until the end of the bin that paid lies in, its tail aside; level is how much each bin begins with,
	// as of that bin.
	now, level traffic.Counter
	bins       [numBins]bin
}

// bin is what is special in one stretch of time. A record in the middle of which it lies has changed nothing here: only
// where it begins (step up) and where it ends (step down, and its tail), so that a long record costs no more than a short one.
// Were tails charged until the bin's end, a flow that goes on would be charged twice for a moment: for the end of one record
// and for the beginning of the next. The tails of several records share the mean of their ends, by bytes.
type bin struct {
	step traffic.Counter // what the level changes by; wraps when it falls
	tail traffic.Counter // due until end, which lies in this bin
	end  int64
}

// put adds the rest of a record. It begins where the ring has been charged until.
func (r *ring) put(p *plan) {
	r.left.Add(p.rest)
	r.now.Add(p.head)
	if p.to-p.from > 1 {
		r.bins[(p.from+1)&(numBins-1)].step.Add(p.each)
		subtract(&r.bins[p.to&(numBins-1)].step, p.each)
	}
	r.bins[p.to&(numBins-1)].addTail(p.tail, p.end)
}

// addTail adds the end of a record.
func (b *bin) addTail(n traffic.Counter, end int64) {
	if old := b.tail.Bytes + b.tail.Packets; old != 0 {
		weight := float64(n.Bytes+n.Packets) / float64(old+n.Bytes+n.Packets)
		end = b.end + int64(weight*float64(end-b.end))
	}
	b.tail.Add(n)
	b.end = end
}

// pay takes out what is due until then.
func (r *ring) pay(size uint8, until int64) (n traffic.Counter) {
	shift := minShift + uint(size)
	for r.paid < until && r.left != (traffic.Counter{}) {
		i := r.paid >> shift
		end := (i + 1) << shift
		part := r.take(&r.bins[i&(numBins-1)], min(end, until), end)
		subtract(&r.left, part)
		n.Add(part)
		if r.paid = min(end, until); r.paid == end {
			r.enter(&r.bins[(i+1)&(numBins-1)])
		}
	}
	r.paid = max(r.paid, until)
	return n
}

// take takes out what is due until then of the bin that paid lies in, which ends at end.
func (r *ring) take(b *bin, until, end int64) traffic.Counter {
	n := share(r.now, until-r.paid, end-r.paid)
	subtract(&r.now, n)
	t := b.tail
	if until < b.end {
		t = share(t, until-r.paid, b.end-r.paid)
	}
	subtract(&b.tail, t)
	n.Add(t)
	return n
}

// enter begins with the next bin.
func (r *ring) enter(b *bin) {
	r.level.Add(b.step)
	b.step = traffic.Counter{}
	r.now = r.level
}

func subtract(n *traffic.Counter, part traffic.Counter) {
	n.Packets -= part.Packets
	n.Bytes -= part.Bytes
}

// share is n*part/whole of both counts, rounded down, with 0 <= part.
func share(n traffic.Counter, part, whole int64) traffic.Counter {
	if part >= whole {
		return n
	}
	return traffic.Counter{Packets: mulDiv(n.Packets, part, whole), Bytes: mulDiv(n.Bytes, part, whole)}
}

// mulDiv is n*part/whole for part < whole: the quotient is below n, so that Div64 cannot overflow.
func mulDiv(n uint64, part, whole int64) uint64 {
	hi, lo := bits.Mul64(n, uint64(part))
	if hi == 0 {
		return lo / uint64(whole)
	}
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return q
}
