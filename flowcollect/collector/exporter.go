package collector

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// exporter is what all workers share about one exporter.
type exporter struct {
	addr    netip.Addr
	key     [16]byte
	rule    *rule
	allowed bool
	// unlisted is set when there was no room for it. Each worker has one of its own then.
	unlisted bool
	gone     atomic.Bool  // forgotten: workers drop it too
	seen     atomic.Int64 // when the last datagram arrived, ns since the Unix epoch
	proven   atomic.Bool  // a datagram of it was understood
	trusted  atomic.Bool  // so it was for a while; see look
	first    int64
	learnt   learnt

	mu         sync.Mutex // guards all below; a worker takes it once a datagram
	sequences  map[sequenceKey]*sequence
	interfaces map[interfaceKey]*InterfaceStats
	skew       time.Duration
	loss       lossMeter
	silent     bool
	batches    batchMeter
	looks      int   // at which something had been understood since the one before
	lookedAt   int64 // seen at the last look
}

// lossMeter compares losses between two looks.
type lossMeter struct {
	lost, got uint64
	lossy     bool
}

// see takes what was read of a datagram that was decoded.
func (e *exporter) see(h *record.Header, agent [16]byte, arrived int64) {
	if h.Protocol == record.UnknownProtocol {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.header(h, agent, arrived)
	if h.Data || h.Protocol < record.NetFlow9 && h.Units > 0 {
		// Records of all workers read it: it is written when it changes.
		if b := int64(e.batches.see(arrived)); b != e.learnt.batch.Load() {
			e.learnt.batch.Store(b)
		}
	}
}

// seeAll takes the headers of further messages of the same datagram.
func (e *exporter) seeAll(list []record.Header, arrived int64) {
	if len(list) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range list {
		e.header(&list[i], [16]byte{}, arrived)
	}
}

// header follows clock and sequence. mu is held.
func (e *exporter) header(h *record.Header, agent [16]byte, arrived int64) {
	if h.Exported != 0 {
		e.skew = time.Duration(h.Exported - arrived)
	}
	if h.ActiveTimeout != 0 {
		e.learnt.active.Store(h.ActiveTimeout)
	}
	if h.IdleTimeout != 0 {
		e.learnt.idle.Store(h.IdleTimeout)
	}
	if !h.HasSequence {
		return
	}
	k := sequenceKey{h.Protocol, h.Domain, agent}
	s := e.sequences[k]
	if s == nil {
		if len(e.sequences) >= maxSequences {
			return
		}
		s = &sequence{}
		e.sequences[k] = s
	}
	s.see(h)
}

// registry is the exporters that are accounted for. It is bounded, and senders of anything are not believed to be exporters: what has
// been understood for a while makes room for nobody while it lives.
type registry struct {
	max   int
	rules *rules
	allow func(netip.Addr) bool

	mu        sync.Mutex // guards all below; taken for new exporters and by readers
	list      map[[16]byte]*exporter
	forgotten uint64
	refused   uint64
	full      int64 // until then nobody is looked for to make room
}

func newRegistry(limit int, r *rules, allow func(netip.Addr) bool) *registry {
	return &registry{max: limit, rules: r, allow: allow, list: make(map[[16]byte]*exporter)}
}

// get finds an exporter or begins one. One for which there is no room is gone from the start: its records count, but it is in no list.
func (g *registry) get(key [16]byte, now int64) *exporter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.list[key]; e != nil {
		return e
	}
	a := netip.AddrFrom16(key).Unmap()
	e := &exporter{
		addr: a, key: key, rule: g.rules.of(a), allowed: g.allow(a), first: now, sequences: make(map[sequenceKey]*sequence),
		interfaces: make(map[interfaceKey]*InterfaceStats),
	}
	e.seen.Store(now)
	if len(g.list) >= g.max && !g.forget(now) {
		g.refused++
		e.unlisted = true
		e.gone.Store(true)
		return e
	}
	g.list[key] = e
	return e
}

// room says whether one more exporter could be listed.
func (g *registry) room() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.list) < g.max
}

// find returns an exporter that is known, else nil.
func (g *registry) find(key [16]byte) *exporter {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list[key]
}

const (
	// candidates is how many exporters forget looks at, and more while all of them are trusted.
	candidates = 32
	// abandoned is for how long a trusted exporter must be silent to make room.
	abandoned = 24 * time.Hour
	// fullFor is for how long nobody is looked for after everybody was trusted.
	fullFor = time.Second
)

// forget makes room: of some exporters, taken at random as maps are walked, the one that is trusted least and is the longest silent. So
// a flood of forged senders displaces itself, and no router. It reports false when there are none but trusted ones.
func (g *registry) forget(now int64) bool {
	if now < g.full {
		return false
	}
	var worst *exporter
	n := 0
	for _, e := range g.list {
		if worst == nil || worse(e, worst) {
			worst = e
		}
		if n++; n >= candidates && !worst.trusted.Load() {
			break
		}
	}
	if worst.trusted.Load() && now-worst.seen.Load() < int64(abandoned) {
		g.full = now + int64(fullFor)
		return false
	}
	worst.gone.Store(true)
	delete(g.list, worst.key)
	g.forgotten++
	return true
}

func worse(a, b *exporter) bool {
	if x, y := a.standing(), b.standing(); x != y {
		return x < y
	}
	return a.seen.Load() < b.seen.Load()
}

// standing orders exporters by how much is known in their favour.
func (e *exporter) standing() (n int) {
	if e.proven.Load() {
		n++
	}
	if e.trusted.Load() {
		n += 2
	}
	return n
}

// trustAfter is at how many looks something of an exporter must have been understood to trust it. What the configuration names is
// trusted when it is understood for the first time.
const trustAfter = 3

// trust judges an exporter at a look. mu is held.
func (e *exporter) trust() bool {
	seen := e.seen.Load()
	if e.proven.Load() && seen != e.lookedAt {
		e.looks++
	}
	e.lookedAt = seen
	if e.looks >= trustAfter || e.looks > 0 && e.rule.named {
		e.trusted.Store(true)
	}
	return e.trusted.Load()
}

// all are the exporters in no order.
func (g *registry) all() (list []*exporter, forgotten, refused uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.list {
		list = append(list, e)
	}
	return list, g.forgotten, g.refused
}

// admit begins a worker's view of an exporter. There are never many more of them than there are exporters.
func (w *worker) admit(source *[16]byte) *local {
	if len(w.exporters) >= 2*w.c.registry.max {
		w.dropGone(0)
	}
	e := &local{exporter: w.c.registry.get(*source, w.wall)}
	w.exporters[*source] = e
	return e
}

// unlistedFor is for how long an exporter without room may be quiet before its templates are forgotten.
const unlistedFor = time.Minute

// dropGone drops the exporters that the registry has forgotten, and those that it had no room for when they were heard before the time
// since, in ns since the Unix epoch; all of them when since is 0. mu is held.
func (w *worker) dropGone(since int64) {
	for _, e := range w.exporters {
		if e.gone.Load() && (!e.unlisted || since == 0 || e.seen.Load() < since) {
			w.drop(e)
		}
	}
}

// hasUnlisted says whether there are exporters without room that were understood.
func (w *worker) hasUnlisted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.exporters {
		if e.unlisted && e.proven.Load() {
			return true
		}
	}
	return false
}

// forget drops what an exporter announced that is not accounted for any more.
func (c *Collector) forget(key *[16]byte) {
	if c.registry.find(*key) == nil {
		c.templates.Forget(key)
		c.sampling.Forget(key)
	}
}
