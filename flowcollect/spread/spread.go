package spread

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/charge"
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
const EntrySize = 768 + 16

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

// scope is what an entry stands for.
type scope uint8

const (
	host       scope = iota
	network          // counted in the overflow row of the network that the address begins
	everything       // counted in the overflow row of what is outside
)

// key tells entries apart.
type key struct {
	addr  [16]byte
	dir   traffic.Direction
	class traffic.Class
	size  uint8 // bins are 2^(minShift+size) ns wide
	scope scope
}

type entry struct {
	key
	hash uint32
	ring
	_ [48]byte // to a line
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

	queue queue
	burst charge.Burst // what entries are charged with
}

// New takes the memory for all entries; what is never used costs address space only.
func New(cfg Config) (*Spreader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Spreader{cfg: cfg}
	if err := s.table.init(cfg.Entries); err != nil {
		return nil, fmt.Errorf("spread: %w", err)
	}
	// A successor may still read what is left after the owner has gone (Inherit), so the memory goes when nobody can any more.
	runtime.AddCleanup(s, func(a *arena.Arena) { _ = a.Free() }, s.table.memory)
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
					if n := r.pay(uint8(size), s.due); n != (traffic.Counter{}) {
						h.AddTotal(traffic.Family(f), traffic.Direction(d), traffic.Class(c), n)
						subtract(&s.stats.Pending, n)
					}
				}
			}
		}
	}
}

// Work charges up to budget entries with their part of the epoch, and says whether all have been. The owner calls it
// between bursts, so that no socket waits for a long table. What is queued is charged first.
func (s *Spreader) Work(h *traffic.Half, budget int) bool {
	s.Flush(h)
	done := s.work(h, budget)
	s.burst.Flush(h)
	return done
}

func (s *Spreader) work(h *traffic.Half, budget int) bool {
	fetched := s.next
	for s.next < len(s.table.entries) {
		if budget--; budget < 0 {
			return false
		}
		if s.next >= fetched {
			fetched = s.prefetch(s.next)
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
	n := e.pay(e.size, s.due)
	if n == (traffic.Counter{}) {
		return
	}
	s.row(h, e, n)
}

// row charges what an entry stands for.
func (s *Spreader) row(h *traffic.Half, e *entry, n traffic.Counter) {
	if e.scope == host {
		s.burst.Row(h, &e.addr, h.Nets().Lookup(&e.addr), e.dir, e.class, n)
		return
	}
	h.AddOverflow(&e.addr, e.dir, e.class, n)
}

// Add charges a record that arrived at now, in the shard's clock, and reports the given duration: its totals now, its rows with the next
// Flush or Work, one of which the owner calls before the half changes. What is not longer than a tick is charged at once. It returns the
// record's direction.
func (s *Spreader) Add(h *traffic.Half, r *traffic.Record, now int64, duration time.Duration) traffic.Direction {
	if duration <= s.cfg.Tick || r.Class >= traffic.NumClasses || !s.begun {
		s.stats.AtOnce++
		return h.AddRecord(s.cfg.Internal, r)
	}
	d := int64(min(duration, Longest))
	s.stats.Spread++
	at := min(s.now+min(max(now-s.began, 0), int64(s.cfg.Tick)), s.due)
	p := s.queue.plan()
	if p == nil {
		s.Flush(h)
		p = s.queue.plan()
	}
	*p = plan{first: share(r.Counter, s.due-at, d), rest: r.Counter, begin: s.due, end: at + d, size: sizeOf(d)}
	subtract(&p.rest, p.first)
	p.cut()

	src, dst := h.Nets().Lookup(&r.Src), h.Nets().Lookup(&r.Dst)
	dir := traffic.DirectionOf(src, dst)
	f := traffic.FamilyOf(&r.Dst)
	h.AddTotal(f, dir, r.Class, p.first)
	total := &s.totals[f][dir][r.Class][p.size]
	if total.left == (traffic.Counter{}) {
		*total = ring{paid: s.due}
	}
	total.put(p)
	s.stats.Pending.Add(p.rest)
	in, out := s.cfg.Internal.Rows(dir)
	if in {
		s.queue.row(key{addr: r.Dst, dir: traffic.Incoming, class: r.Class, size: p.size})
	}
	if out {
		s.queue.row(key{addr: r.Src, dir: traffic.Outgoing, class: r.Class, size: p.size})
	}
	return dir
}

// join puts the rest of a plan into an entry.
func (s *Spreader) join(h *traffic.Half, e *entry, p *plan) {
	if e.left == (traffic.Counter{}) {
		e.ring = ring{paid: s.due}
	} else {
		s.charge(h, e) // when its turn in this epoch has not come yet
	}
	e.put(p)
}

// find returns the entry of a host's key, whose hash is given, or of what stands for it when there is no room.
func (s *Spreader) find(h *traffic.Half, host *key, hash uint32) int {
	if i := s.table.get(host, hash, s.table.forHosts()); i >= 0 {
		return i
	}
	s.stats.Coarse++
	k := *host
	k.scope = network
	if n := h.Nets().Place(h.Nets().Lookup(&k.addr)).Network; n >= 0 {
		k.addr = h.Nets().Networks()[n].Addr().As16()
	} else {
		k.addr, k.scope = [16]byte{}, everything
	}
	return s.coarse(k)
}

// coarse returns the entry of a key that is no host's.
func (s *Spreader) coarse(k key) int {
	if k.scope == network {
		if i := s.table.get(&k, s.table.hash(&k), s.table.forNetworks()); i >= 0 {
			return i
		}
	}
	k.addr, k.scope = [16]byte{}, everything
	return s.table.get(&k, s.table.hash(&k), cap(s.table.entries)) // room is kept for every such key
}
