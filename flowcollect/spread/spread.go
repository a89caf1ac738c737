package spread

import (
	"errors"
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Bounds.
const (
	numBins  = 16
	fitBins  = numBins - 2 // a record that begins and ends inside a bin touches one bin more than it is long
	minShift = 27          // the narrowest bin: 2^27 ns, 134 ms
	numSizes = 11          // the widest: 137 s

	// Longest is the longest duration that a record is spread over: half an hour, the longest active timeout in use.
	Longest = 30 * time.Minute

	// MinEntries and MaxEntries bound Config.Entries.
	MinEntries = 1 << 10
	MaxEntries = 1 << 26
)

// EntrySize is the memory in bytes that an entry takes, its part of the index included.
const EntrySize = 688 + 8

// Config sizes a Spreader.
type Config struct {
	// Entries is how many hosts, directions, classes and lengths can be spread at a time. Each takes EntrySize bytes when used.
	Entries int
	// Tick is the nominal length of an epoch.
	Tick time.Duration
	// Internal says which rows traffic between two of our own hosts is charged to.
	Internal traffic.InternalPolicy
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.Entries < MinEntries || c.Entries > MaxEntries {
		errs = append(errs, errors.New("entries: must be 1024..67108864"))
	}
	if c.Tick <= 0 {
		errs = append(errs, errors.New("tick: must be above zero"))
	}
	return errors.Join(errs...)
}

// Stats is what a Spreader has done and keeps.
type Stats struct {
	// Entries is how many are in use, Capacity how many there are.
	Entries  int `json:"entries"`
	Capacity int `json:"capacity"`
	// Pending is what has been announced and is still to be charged.
	Pending traffic.Counter `json:"pending"`
	// Spread counts records that were charged over time, AtOnce those that were not longer than a tick.
	Spread uint64 `json:"spread"`
	AtOnce uint64 `json:"at_once"`
	// Coarse counts rows of records that had to be spread for their network, or for everything, since all entries were in use.
	Coarse uint64 `json:"coarse"`
}

// level is what an entry stands for.
type level uint8

const (
	host       level = iota
	network          // counted in the overflow row of the network that the address begins
	everything       // counted in the overflow row of what is outside
)

// key tells entries apart.
type key struct {
	addr  [16]byte
	dir   traffic.Direction
	class traffic.Class
	size  uint8 // bins are 2^(minShift+size) ns wide
	level level
}

// ring is amounts that are due in time.
type ring struct {
	// left is the sum of bins.
	left traffic.Counter
	// paid is until when, in the Spreader's time, the ring has been charged: a bin holds what is due in it after paid.
	paid int64
	bins [numBins]bin
}

// bin is what is due in one stretch of time: whole evenly until its end, tail until end, which lies in it. Tails are the ends
// of records. Were they charged until the bin's end, a flow that goes on would be charged twice for a moment: the end
// of one record and the beginning of the next. The tails of several records share the mean of their ends, by bytes.
type bin struct {
	whole, tail traffic.Counter
	end         int64
}

type entry struct {
	key
	hash uint32
	ring
}

// Spreader keeps what one shard is still to be charged with.
type Spreader struct {
	cfg   Config
	table table
	// totals are counted once a record, beside its rows.
	totals [traffic.NumFamilies][traffic.NumDirections][traffic.NumClasses][numSizes]ring

	begun bool
	began int64 // when this epoch began, in the clock's time
	now   int64 // the same, in the Spreader's time
	due   int64 // until when this epoch is charged, in the Spreader's time
	next  int   // entries before it have been charged until due
	stats Stats
}

// New takes the memory for all entries; what is never used costs address space only.
func New(cfg Config) (*Spreader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Spreader{cfg: cfg}
	s.table.init(cfg.Entries, maphash.MakeSeed())
	return s, nil
}

// SetTick changes the nominal length of epochs.
func (s *Spreader) SetTick(d time.Duration) {
	if d > 0 {
		s.cfg.Tick = d
	}
}

// Stats is what has happened until now. It belongs to the owner like everything else.
func (s *Spreader) Stats() Stats {
	st := s.stats
	st.Entries, st.Capacity = len(s.table.entries), cap(s.table.entries)
	return st
}

// Begin notes that an epoch of the shard began at start, in the shard's clock, and that h counts it. The rest of an
// unfinished epoch is charged to it as well.
func (s *Spreader) Begin(h *traffic.Half, start int64) {
	tick := int64(s.cfg.Tick)
	if s.begun {
		s.now += min(max(start-s.began, 0), tick+tick/4)
	}
	s.begun, s.began = true, start
	if due := s.now + tick; due > s.due {
		s.due = due
	}
	s.next = 0
	s.workTotals(h)
}

// workTotals charges the totals of the epoch: they are few.
func (s *Spreader) workTotals(h *traffic.Half) {
	for f := range s.totals {
		for d := range s.totals[f] {
			for c := range s.totals[f][d] {
				for size := range s.totals[f][d][c] {
					r := &s.totals[f][d][c][size]
					if r.left == (traffic.Counter{}) {
						continue
					}
					if n := r.pay(uint(size), s.due); n != (traffic.Counter{}) {
						h.AddTotal(traffic.Family(f), traffic.Direction(d), traffic.Class(c), n)
						subtract(&s.stats.Pending, n)
					}
				}
			}
		}
	}
}

// Work charges up to budget entries with their part of the epoch, and says whether all have been. The owner calls it
// between bursts, so that no socket waits for a long table.
func (s *Spreader) Work(h *traffic.Half, budget int) bool {
	for s.next < len(s.table.entries) {
		if budget--; budget < 0 {
			return false
		}
		e := &s.table.entries[s.next]
		s.charge(h, e)
		if e.left == (traffic.Counter{}) {
			s.table.remove(s.next) // another entry takes its place
			continue
		}
		s.next++
	}
	return true
}

// charge brings one entry up to date.
func (s *Spreader) charge(h *traffic.Half, e *entry) {
	n := e.pay(uint(e.size), s.due)
	if n == (traffic.Counter{}) {
		return
	}
	if e.level == host {
		h.AddRow(&e.addr, e.dir, e.class, n)
		return
	}
	h.AddOverflow(&e.addr, e.dir, e.class, n)
}

// Add charges a record that arrived at now, in the shard's clock, and reports the given duration. What is not longer than a
// tick is charged at once. It returns the record's direction.
func (s *Spreader) Add(h *traffic.Half, r *traffic.Record, now int64, duration time.Duration) traffic.Direction {
	if duration <= s.cfg.Tick || r.Class >= traffic.NumClasses || !s.begun {
		s.stats.AtOnce++
		return h.AddRecord(s.cfg.Internal, r)
	}
	d := int64(min(duration, Longest))
	s.stats.Spread++
	p := plan{total: r.Counter, length: d, size: sizeOf(d)}
	at := s.now + min(max(now-s.began, 0), int64(s.cfg.Tick))
	p.begin, p.end = max(at, s.due), s.due
	if at < s.due { // its part of the running epoch
		p.first = share(r.Counter, s.due-at, d)
	}
	p.end = at + d

	src, dst := h.Nets().Lookup(&r.Src), h.Nets().Lookup(&r.Dst)
	dir := traffic.DirectionOf(src, dst)
	f := traffic.FamilyOf(&r.Dst)
	h.AddTotal(f, dir, r.Class, p.first)
	total := &s.totals[f][dir][r.Class][p.size]
	if total.left == (traffic.Counter{}) {
		total.paid = s.due
	}
	total.put(&p)
	s.stats.Pending.Packets += r.Packets - p.first.Packets
	s.stats.Pending.Bytes += r.Bytes - p.first.Bytes
	in, out := s.cfg.Internal.Rows(dir)
	if in {
		s.addRow(h, &r.Dst, traffic.Incoming, r.Class, &p)
	}
	if out {
		s.addRow(h, &r.Src, traffic.Outgoing, r.Class, &p)
	}
	return dir
}

// addRow charges the first part to one row and puts the rest into its entry.
func (s *Spreader) addRow(h *traffic.Half, addr *[16]byte, d traffic.Direction, class traffic.Class, p *plan) {
	i := s.find(h, addr, d, class, p.size)
	e := &s.table.entries[i]
	if e.left == (traffic.Counter{}) {
		e.paid = s.due
	} else {
		s.charge(h, e) // when its turn in this epoch has not come yet
	}
	if p.first != (traffic.Counter{}) {
		if e.level == host {
			h.AddRow(addr, d, class, p.first)
		} else {
			h.AddOverflow(&e.addr, d, class, p.first)
		}
	}
	e.put(p)
}

// find returns the entry of a row, or of what stands for it when there is no room.
func (s *Spreader) find(h *traffic.Half, addr *[16]byte, d traffic.Direction, class traffic.Class, size uint8) int {
	k := key{addr: *addr, dir: d, class: class, size: size}
	if i := s.table.get(&k, s.table.forHosts()); i >= 0 {
		return i
	}
	s.stats.Coarse++
	k.level = network
	if n := h.Nets().Place(h.Nets().Lookup(addr)).Network; n >= 0 {
		k.addr = h.Nets().Networks()[n].Addr().As16()
		if i := s.table.get(&k, s.table.forNetworks()); i >= 0 {
			return i
		}
	}
	k.addr, k.level = [16]byte{}, everything
	return s.table.get(&k, cap(s.table.entries)) // room is kept for every such key
}

// plan is how a record is charged: first at once, the rest evenly from begin to end.
type plan struct {
	total, first       traffic.Counter
	begin, end, length int64
	size               uint8
}

// sizeOf is the narrowest bin of which fitBins hold d.
func sizeOf(d int64) uint8 {
	n := (d - 1) / fitBins >> minShift
	return uint8(min(bits.Len64(uint64(n)), numSizes-1))
}

// put adds the rest of a record to the bins. Rounding carries over from bin to bin, and the last takes what is left.
func (r *ring) put(p *plan) {
	shift := minShift + uint(p.size)
	first, last := p.begin>>shift, (p.end-1)>>shift
	rest := traffic.Counter{Packets: p.total.Packets - p.first.Packets, Bytes: p.total.Bytes - p.first.Bytes}
	r.left.Add(rest)
	if first >= last || p.end <= p.begin {
		r.bins[first&(numBins-1)].addTail(rest, p.end)
		return
	}
	length := p.end - p.begin
	head := share(rest, (first+1)<<shift-p.begin, length)
	r.bins[first&(numBins-1)].whole.Add(head)
	subtract(&rest, head)
	inner := p.end - (first+1)<<shift // what is left of the time
	packets, bytes := step(rest.Packets, 1<<shift, inner), step(rest.Bytes, 1<<shift, inner)
	for b := first + 1; b < last; b++ {
		n := traffic.Counter{Packets: packets.next(), Bytes: bytes.next()}
		subtract(&rest, n)
		r.bins[b&(numBins-1)].whole.Add(n)
	}
	r.bins[last&(numBins-1)].addTail(rest, p.end)
}

func subtract(n *traffic.Counter, part traffic.Counter) {
	n.Packets -= part.Packets
	n.Bytes -= part.Bytes
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

// take takes out what is due from one time until another, both in the bin that ends at end.
func (b *bin) take(from, until, end int64) (n traffic.Counter) {
	n = share(b.whole, until-from, end-from)
	subtract(&b.whole, n)
	t := b.tail
	if until < b.end {
		t = share(t, until-from, b.end-from)
	}
	subtract(&b.tail, t)
	n.Add(t)
	return n
}

// pay takes out what is due until then.
func (r *ring) pay(size uint, until int64) (n traffic.Counter) {
	shift := minShift + size
	for r.paid < until && r.left != (traffic.Counter{}) {
		i := r.paid >> shift
		end := (i + 1) << shift
		part := r.bins[i&(numBins-1)].take(r.paid, min(until, end), end)
		subtract(&r.left, part)
		n.Add(part)
		r.paid = min(end, until)
	}
	r.paid = max(r.paid, until)
	return n
}

// share is n*part/whole of both counts, rounded down, with 0 <= part <= whole.
func share(n traffic.Counter, part, whole int64) traffic.Counter {
	if part >= whole {
		return n
	}
	return traffic.Counter{Packets: mulDiv(n.Packets, part, whole), Bytes: mulDiv(n.Bytes, part, whole)}
}

// mulDiv is n*part/whole for part < whole: the quotient is at most n.
func mulDiv(n uint64, part, whole int64) uint64 {
	hi, lo := bits.Mul64(n, uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return q
}

// stepper deals n out in equal parts, part of whole each, so that what is dealt never lags by more than one.
type stepper struct {
	quotient, remainder, sum, whole uint64
}

func step(n uint64, part, whole int64) stepper {
	if part >= whole {
		return stepper{quotient: n, whole: 1}
	}
	hi, lo := bits.Mul64(n, uint64(part))
	q, rem := bits.Div64(hi, lo, uint64(whole))
	return stepper{quotient: q, remainder: rem, whole: uint64(whole)}
}

func (s *stepper) next() uint64 {
	s.sum += s.remainder
	if s.sum >= s.whole {
		s.sum -= s.whole
		return s.quotient + 1
	}
	return s.quotient
}
