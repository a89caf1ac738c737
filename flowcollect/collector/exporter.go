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
	gone    atomic.Bool  // forgotten: workers drop it too
	seen    atomic.Int64 // when the last datagram arrived, ns since the Unix epoch
	proven  atomic.Bool  // a datagram of it was understood
	first   int64

	mu        sync.Mutex // guards all below; a worker takes it once a datagram
	sequences map[sequenceKey]*sequence
	skew      time.Duration
	loss      lossMeter
	silent    bool
}

// lossMeter compares losses between two looks.
type lossMeter struct {
	lost, got uint64
	lossy     bool
}

// see takes the header of a datagram that was decoded.
func (e *exporter) see(h *record.Header, agent [16]byte, arrived int64) {
	if h.Protocol == record.UnknownProtocol {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if h.Exported != 0 {
		e.skew = time.Duration(h.Exported - arrived)
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

// registry is the exporters that are accounted for. It is bounded: senders of anything are not believed to be exporters.
type registry struct {
	max   int
	rules *rules
	allow func(netip.Addr) bool

	mu        sync.Mutex // guards all below; taken for new exporters and by readers
	list      map[[16]byte]*exporter
	forgotten uint64
}

func newRegistry(limit int, r *rules, allow func(netip.Addr) bool) *registry {
	return &registry{max: limit, rules: r, allow: allow, list: make(map[[16]byte]*exporter)}
}

// get finds an exporter or begins one.
func (g *registry) get(key [16]byte, now int64) *exporter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.list[key]; e != nil {
		return e
	}
	if len(g.list) >= g.max {
		g.forget()
	}
	a := netip.AddrFrom16(key).Unmap()
	e := &exporter{
		addr: a, key: key, rule: g.rules.of(a), allowed: g.allow(a), first: now, sequences: make(map[sequenceKey]*sequence),
	}
	e.seen.Store(now)
	g.list[key] = e
	return e
}

// find returns an exporter that is known, else nil.
func (g *registry) find(key [16]byte) *exporter {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list[key]
}

// candidates is how many exporters forget looks at.
const candidates = 32

// forget makes room: of some exporters, taken at random as maps are walked, the one that was never understood and is the longest
// silent. So a flood of forged senders displaces itself, and hardly ever a router.
func (g *registry) forget() {
	var worst *exporter
	n := 0
	for _, e := range g.list {
		if worst == nil || worse(e, worst) {
			worst = e
		}
		if n++; n == candidates {
			break
		}
	}
	worst.gone.Store(true)
	delete(g.list, worst.key)
	g.forgotten++
}

func worse(a, b *exporter) bool {
	if x, y := a.proven.Load(), b.proven.Load(); x != y {
		return !x
	}
	return a.seen.Load() < b.seen.Load()
}

// all are the exporters in no order.
func (g *registry) all() (list []*exporter, forgotten uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.list {
		list = append(list, e)
	}
	return list, g.forgotten
}
