package template

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// Config bounds what exporters may make the registry remember.
type Config struct {
	// PerExporter is the most templates that one exporter address may have, all domains together.
	PerExporter int `json:"per_exporter"`
	// Total is the most templates of all exporters. An eighth of them is kept for those that Trust names.
	Total int `json:"total"`
	// Fields is the most fields of one template.
	Fields int `json:"fields"`
	// Expiry is for how long a template is kept that is neither announced again nor used. Exporters refresh theirs every minute to
	// every half hour; the template of a removed exporter is only memory.
	Expiry time.Duration `json:"expiry"`
	// HoldSets and HoldBytes bound the data sets that are kept for an exporter until their template comes, each with 256 bytes for
	// what is kept around it; 0 keeps none.
	HoldSets  int `json:"hold_sets"`
	HoldBytes int `json:"hold_bytes"`
	// HoldTotal bounds the bytes that are so kept for all exporters.
	HoldTotal int `json:"hold_total"`
	// HoldFor is for how long they are kept.
	HoldFor time.Duration `json:"hold_for"`
}

// Default is a registry of about 64 k templates and 16 MiB of waiting data at most.
func Default() Config {
	return Config{
		PerExporter: 1024, Total: 65536, Fields: 512, Expiry: 24 * time.Hour,
		HoldSets: 64, HoldBytes: 128 << 10, HoldTotal: 16 << 20, HoldFor: 5 * time.Second,
	}
}

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	check := func(key string, n, low, high int) {
		if n < low || n > high {
			errs = append(errs, fmt.Errorf("%s: %d is outside %d..%d", key, n, low, high))
		}
	}
	check("per_exporter", c.PerExporter, 1, 65536)
	check("total", c.Total, c.PerExporter, 1<<24)
	check("fields", c.Fields, 1, 16384)
	check("hold_sets", c.HoldSets, 0, 65536)
	check("hold_bytes", c.HoldBytes, 0, 1<<30)
	check("hold_total", c.HoldTotal, c.HoldBytes, min(1<<32, math.MaxInt))
	if c.Expiry < time.Minute {
		errs = append(errs, fmt.Errorf("expiry: %v is below 1m", c.Expiry))
	}
	if c.HoldFor < 0 || c.HoldFor > 10*time.Minute {
		errs = append(errs, fmt.Errorf("hold_for: %v is outside 0..10m", c.HoldFor))
	}
	return errors.Join(errs...)
}

// Key names a template system. The exporter's port is no part of it: exporters send from several.
type Key struct {
	Exporter [16]byte
	Domain   uint32
	Protocol record.Protocol
}

// System holds the templates of one key. Lookups need no lock.
type System struct {
	key      Key
	exporter *exporter
	programs atomic.Pointer[map[uint16]*Program] // replaced as a whole, under the lock of the exporter's shard
}

// Lookup returns the program of template id, nil when it is not known.
func (s *System) Lookup(id uint16) *Program {
	if s == nil {
		return nil
	}
	return (*s.programs.Load())[id]
}

// exporter is what all systems of one address share. Everything is guarded by the lock of its shard.
type exporter struct {
	templates int
	systems   int
	trusted   bool
	// budget is how many announcements of new or changed templates are left; it is refilled with time. Each costs a copy of the
	// system's table, which an exporter must not make us do as often as it likes.
	budget   int
	refilled int64
}

// Changes of one exporter's templates: a burst above their number, and so many a second from there on.
const (
	changeBurst  = 1024
	changesPerS  = 200
	shardCount   = 64
	savedVersion = 1
)

// shard holds the exporters whose address hashes to it.
type shard struct {
	systems   atomic.Pointer[map[Key]*System] // replaced as a whole, under mu
	mu        sync.Mutex
	exporters map[[16]byte]*exporter // guarded by mu
	held      map[Key][]heldSet      // guarded by mu; see hold.go
	heldBy    map[[16]byte]*heldSum  // guarded by mu
}

// Registry holds the templates of all exporters. All methods may be called from any goroutine.
type Registry struct {
	cfg    Config
	total  atomic.Int64 // templates
	others atomic.Int64 // of them, of exporters that are not trusted
	held   atomic.Int64 // bytes of waiting sets
	shards [shardCount]shard
	counts counts
}

// counts are the registry's own counters; all of them are of rare events.
type counts struct {
	added, changed, refreshed, refused, withdrawn, expired atomic.Uint64
	held, heldDropped, replayed                            atomic.Uint64
}

// Stats are the registry's gauges and counters.
type Stats struct {
	Systems, Templates, HeldBytes                          int64
	Added, Changed, Refreshed, Refused, Withdrawn, Expired uint64
	Held, HeldDropped, Replayed                            uint64
}

// New returns an empty registry.
func New(cfg Config) (*Registry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	g := &Registry{cfg: cfg}
	for i := range g.shards {
		s := &g.shards[i]
		s.systems.Store(&map[Key]*System{})
		s.exporters = make(map[[16]byte]*exporter)
		s.held = make(map[Key][]heldSet)
		s.heldBy = make(map[[16]byte]*heldSum)
	}
	return g, nil
}

// shard returns the shard of an exporter.
func (g *Registry) shard(exporter *[16]byte) *shard {
	h := (be.Uint64(exporter[:8]) ^ be.Uint64(exporter[8:])) * 0x9e3779b97f4a7c15
	return &g.shards[h>>58]
}

// System returns the templates of key, nil when there are none. It takes no lock.
func (g *Registry) System(key *Key) *System {
	return (*g.shard(&key.Exporter).systems.Load())[*key]
}

// Announce takes a template that an exporter sent at now, ns since the Unix epoch. The code is OK for a new or repeated one,
// TemplateChanged when the id had other fields before; with any other code it was refused and what was known stays.
func (g *Registry) Announce(key *Key, d *Definition, now int64) record.Code {
	if p := g.System(key).Lookup(d.ID); p != nil && p.same(d) {
		p.refreshed.Store(now)
		g.counts.refreshed.Add(1)
		return record.OK
	}
	c := g.put(key, d, now)
	switch c {
	case record.OK:
		g.counts.added.Add(1)
	case record.TemplateChanged:
		g.counts.changed.Add(1)
	default:
		g.counts.refused.Add(1)
	}
	return c
}

// same says whether d describes what p was compiled from.
func (p *Program) same(d *Definition) bool {
	return p.Kind == d.Kind && p.Scopes == d.scopes && bytes.Equal(p.def, d.def)
}

// put compiles and stores a template that is new or changed.
func (g *Registry) put(key *Key, d *Definition, now int64) record.Code {
	if len(d.def) > g.cfg.Fields*fieldLen {
		return record.TemplateTooManyFields
	}
	s := g.shard(&key.Exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	sys := (*s.systems.Load())[*key]
	old := sys.Lookup(d.ID)
	exp := s.exporters[key.Exporter]
	if old == nil && !g.room(exp) || !exp.spend(now, g.burst()) {
		return record.TemplateLimit
	}
	p, c := compile(d.Kind, d.ID, d.scopes, d.def)
	if c != record.OK {
		return c
	}
	p.refreshed.Store(now)
	p.used.Store(now)
	if sys == nil {
		sys = s.addSystem(key, now, g.burst())
	}
	m := maps.Clone(*sys.programs.Load())
	m[d.ID] = p
	sys.programs.Store(&m)
	if old != nil {
		return record.TemplateChanged
	}
	sys.exporter.templates++
	g.count(sys.exporter, 1)
	return record.OK
}

// room says whether an exporter, nil for a new one, may have one more template.
func (g *Registry) room(e *exporter) bool {
	switch total := int(g.total.Load()); {
	case e != nil && e.templates >= g.cfg.PerExporter, total >= g.cfg.Total:
		return false
	case e != nil && e.trusted:
		return true
	}
	return int(g.others.Load()) < g.cfg.Total-g.cfg.Total/8
}

// count notes that e has n more templates.
func (g *Registry) count(e *exporter, n int) {
	g.total.Add(int64(n))
	if !e.trusted {
		g.others.Add(int64(n))
	}
}

// Trust says that an exporter is known to be one: a flood of templates from others leaves it room. It may be called again and again,
// and does nothing for an exporter without templates.
func (g *Registry) Trust(addr *[16]byte) {
	s := g.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.exporters[*addr]; e != nil && !e.trusted {
		e.trusted = true
		g.others.Add(int64(-e.templates))
	}
}

// Forget drops the templates of an exporter. What waits for them goes when its time is over.
func (g *Registry) Forget(addr *[16]byte) {
	s := g.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[*addr]
	if e == nil {
		return
	}
	m := maps.Clone(*s.systems.Load())
	maps.DeleteFunc(m, func(key Key, _ *System) bool { return key.Exporter == *addr })
	s.systems.Store(&m)
	g.count(e, -e.templates)
	delete(s.exporters, *addr)
}

// burst is the most changes that an exporter can save up: all of its templates, and some more.
func (g *Registry) burst() int { return g.cfg.PerExporter + changeBurst }

// spend takes one change from the exporter's budget.
func (e *exporter) spend(now int64, burst int) bool {
	if e == nil {
		return true
	}
	if n := (now - e.refilled) / (1e9 / changesPerS); n > 0 {
		e.budget = int(min(int64(e.budget)+n, int64(burst)))
		e.refilled = now
	}
	if e.budget == 0 {
		return false
	}
	e.budget--
	return true
}

// addSystem adds an empty system. The caller holds the lock.
func (s *shard) addSystem(key *Key, now int64, burst int) *System {
	exp := s.exporters[key.Exporter]
	if exp == nil {
		exp = &exporter{budget: burst, refilled: now}
		s.exporters[key.Exporter] = exp
	}
	exp.systems++
	sys := &System{key: *key, exporter: exp}
	sys.programs.Store(&map[uint16]*Program{})
	m := maps.Clone(*s.systems.Load())
	m[*key] = sys
	s.systems.Store(&m)
	return sys
}

// Withdraw obeys a withdrawal: of one template, or of all of a kind when d.ID is the id of a template set. It returns how many went.
func (g *Registry) Withdraw(key *Key, d *Definition) int {
	n := g.remove(key, func(p *Program) bool {
		switch d.ID {
		case SetIPFIXData:
			return p.Kind == Data
		case SetIPFIXOption:
			return p.Kind == Options
		}
		return p.ID == d.ID
	})
	g.counts.withdrawn.Add(uint64(n))
	return n
}

// Expire forgets the templates that were neither announced nor used for Config.Expiry, and the sets that have waited too long for
// theirs. It is called every minute or so.
func (g *Registry) Expire(now int64) int {
	n := 0
	limit := now - g.cfg.Expiry.Nanoseconds()
	for i := range g.shards {
		for key := range *g.shards[i].systems.Load() {
			n += g.remove(&key, func(p *Program) bool { return max(p.refreshed.Load(), p.used.Load()) < limit })
		}
		g.expireHeld(&g.shards[i], now)
	}
	g.counts.expired.Add(uint64(n))
	return n
}

// remove drops the programs of a system that gone names, and the system when it has none left.
func (g *Registry) remove(key *Key, gone func(*Program) bool) int {
	s := g.shard(&key.Exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	sys := (*s.systems.Load())[*key]
	if sys == nil {
		return 0
	}
	old := *sys.programs.Load()
	m := maps.Clone(old)
	maps.DeleteFunc(m, func(_ uint16, p *Program) bool { return gone(p) })
	n := len(old) - len(m)
	if n == 0 {
		return 0
	}
	sys.programs.Store(&m)
	sys.exporter.templates -= n
	g.count(sys.exporter, -n)
	if len(m) == 0 {
		s.dropSystem(sys)
	}
	return n
}

// dropSystem forgets an empty system. The caller holds the lock.
func (s *shard) dropSystem(sys *System) {
	m := maps.Clone(*s.systems.Load())
	delete(m, sys.key)
	s.systems.Store(&m)
	if sys.exporter.systems--; sys.exporter.systems == 0 {
		delete(s.exporters, sys.key.Exporter)
	}
}

// Stats returns the registry's gauges and counters.
func (g *Registry) Stats() Stats {
	c := &g.counts
	st := Stats{
		Templates: g.total.Load(), HeldBytes: g.held.Load(),
		Added: c.added.Load(), Changed: c.changed.Load(), Refreshed: c.refreshed.Load(), Refused: c.refused.Load(),
		Withdrawn: c.withdrawn.Load(), Expired: c.expired.Load(),
		Held: c.held.Load(), HeldDropped: c.heldDropped.Load(), Replayed: c.replayed.Load(),
	}
	for i := range g.shards {
		st.Systems += int64(len(*g.shards[i].systems.Load()))
	}
	return st
}
