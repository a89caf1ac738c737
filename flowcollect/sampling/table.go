package sampling

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// Rule is what the configuration says of the exporters of one prefix.
type Rule struct {
	// Exporters are the addresses that the rule is for; of several rules the longest prefix wins.
	Exporters netip.Prefix `json:"exporters"`
	// Default is the rate to take when an exporter announces none; 0 leaves it unknown.
	Default uint32 `json:"default"`
	// Override is the rate to take whatever the exporter announces; 0 is no override.
	Override uint32 `json:"override"`
	// Prescaled says that the exporter multiplies its counts itself: nothing is scaled. Open vSwitch does so in IPFIX.
	Prescaled bool `json:"prescaled"`
}

// Config is the configuration of a Table.
type Config struct {
	// Rules are the exporters' rules. Exporters without one have the zero Rule.
	Rules []Rule `json:"rules"`
	// OtherDomains permits rates that the same exporter announced in another observation domain, when all of those agree.
	OtherDomains bool `json:"other_domains"`
	// Exporters is the most exporters whose announcements are kept, Rates the most rates of each.
	Exporters int `json:"exporters"`
	Rates     int `json:"rates"`
}

// Default keeps 8 k exporters of 1024 rates.
func Default() Config { return Config{OtherDomains: true, Exporters: 8192, Rates: 1024} }

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	for i, r := range c.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		if !r.Exporters.IsValid() || r.Exporters != r.Exporters.Masked() {
			errs = append(errs, fmt.Errorf("%s.exporters: %v is not a prefix", key, r.Exporters))
		}
		if r.Default > MaxRate || r.Override > MaxRate {
			errs = append(errs, fmt.Errorf("%s: a rate is above %d", key, int64(MaxRate)))
		}
		if r.Prescaled && (r.Override != 0 || r.Default != 0) {
			errs = append(errs, fmt.Errorf("%s: prescaled excludes a rate", key))
		}
	}
	if c.Exporters < 1 || c.Rates < 1 {
		errs = append(errs, errors.New("exporters, rates: must be at least 1"))
	}
	return errors.Join(errs...)
}

// Scope is what an announced rate is for.
type Scope uint8

// The scopes.
const (
	Domain    Scope = iota // a whole observation domain
	Selector               // a selector id (302)
	Sampler                // a sampler id (48)
	Template               // a template id (145)
	Interface              // an interface index
)

// key names one announced rate.
type key struct {
	protocol record.Protocol
	scope    Scope
	domain   uint32
	id       uint64
}

// cell holds one announced number: a rate as float64 bits, or a time. It changes in place, since exporters may change theirs often.
type cell struct{ bits atomic.Uint64 }

func (c *cell) rate() float64 {
	if c == nil {
		return 0
	}
	return math.Float64frombits(c.bits.Load())
}

func (c *cell) setRate(rate float64) { c.bits.Store(math.Float64bits(rate)) }

// rates are the announcements of one exporter. The maps are immutable, their cells are not.
type rates struct {
	all    map[key]*cell
	init   map[key]*cell // SystemInit in ns, by protocol and domain
	any    map[key]*cell // rates without their domains, ambiguous where domains disagree
	scoped [Interface + 1]bool
}

// ambiguous marks an entry of any whose domains disagree.
const ambiguous = -1

// Table holds the rates of all exporters.
type Table struct {
	rules   map[netip.Prefix]Rule
	lengths []int // of the rules' prefixes, longest first
	cfg     Config

	shards  [shardCount]shard
	count   atomic.Int64 // of exporters
	limited atomic.Uint64
}

// shardCount bounds what a new exporter's table costs: a copy of its shard.
const shardCount = 64

// shard holds the exporters whose address hashes to it.
type shard struct {
	exporters atomic.Pointer[map[[16]byte]*entry] // replaced as a whole under mu, when an exporter announces for the first time
	mu        sync.Mutex
}

// shard returns the shard of an exporter.
func (t *Table) shard(exporter *[16]byte) *shard {
	h := (binary.BigEndian.Uint64(exporter[:8]) ^ binary.BigEndian.Uint64(exporter[8:])) * 0x9e3779b97f4a7c15
	return &t.shards[h>>58]
}

// find returns the exporter's entry, nil when it has announced nothing. It takes no lock.
func (t *Table) find(exporter *[16]byte) *entry {
	return (*t.shard(exporter).exporters.Load())[*exporter]
}

// entry is one exporter. A shard's mu is never taken while mu is held.
type entry struct {
	rates atomic.Pointer[rates] // replaced as a whole under mu, when something is announced for the first time
	mu    sync.Mutex
}

// New returns a table without announcements.
func New(cfg Config) (*Table, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	t := &Table{cfg: cfg, rules: make(map[netip.Prefix]Rule)}
	for _, r := range cfg.Rules {
		t.rules[r.Exporters] = r
		t.lengths = append(t.lengths, r.Exporters.Bits())
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return b - a })
	t.lengths = slices.Compact(t.lengths)
	for i := range t.shards {
		t.shards[i].exporters.Store(&map[[16]byte]*entry{})
	}
	return t, nil
}

// rule returns the rule of an exporter.
func (t *Table) rule(exporter *[16]byte) Rule {
	if len(t.lengths) == 0 {
		return Rule{}
	}
	addr := netip.AddrFrom16(*exporter).Unmap()
	for _, bits := range t.lengths {
		if p, err := addr.Prefix(bits); err == nil {
			if r, ok := t.rules[p]; ok {
				return r
			}
		}
	}
	return Rule{}
}

// Announce notes that an exporter samples the scope's id in the domain at rate. A rate of 0 is nothing. It reports false when the table is full.
func (t *Table) Announce(exporter *[16]byte, protocol record.Protocol, domain uint32, scope Scope, id uint64, rate float64) bool {
	if !(rate > 0) {
		return true
	}
	if scope == Domain {
		id = 0
	}
	k := key{protocol, scope, domain, id}
	e := t.find(exporter)
	if e != nil && e.rates.Load().all[k].rate() == rate {
		return true // the usual case: options are repeated every few minutes
	}
	if e == nil {
		if e = t.add(exporter); e == nil {
			return false
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rates.Load()
	if r.all[k] == nil {
		if len(r.all) >= t.cfg.Rates {
			t.limited.Add(1)
			return false
		}
		r = r.with(k)
	}
	r.all[k].setRate(rate)
	r.merge(k)
	e.rates.Store(r)
	return true
}

// SetInit notes the exporter's system init time (IE 160), ns since the Unix epoch.
func (t *Table) SetInit(exporter *[16]byte, protocol record.Protocol, domain uint32, at int64) bool {
	k := key{protocol: protocol, domain: domain}
	e := t.find(exporter)
	if e == nil {
		if e = t.add(exporter); e == nil {
			return false
		}
	}
	if c := e.rates.Load().init[k]; c != nil {
		c.bits.Store(uint64(at))
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	next := *e.rates.Load()
	if len(next.init) >= t.cfg.Rates {
		t.limited.Add(1)
		return false
	}
	next.init = maps.Clone(next.init)
	next.init[k] = &cell{}
	next.init[k].bits.Store(uint64(at))
	e.rates.Store(&next)
	return true
}

// add returns the exporter's entry, a new one when it has none; nil when there are too many exporters.
func (t *Table) add(exporter *[16]byte) *entry {
	s := t.shard(exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.exporters.Load()
	if e := old[*exporter]; e != nil {
		return e
	}
	if t.count.Add(1) > int64(t.cfg.Exporters) {
		t.count.Add(-1)
		t.limited.Add(1)
		return nil
	}
	e := &entry{}
	e.rates.Store(&rates{all: map[key]*cell{}, init: map[key]*cell{}, any: map[key]*cell{}})
	m := maps.Clone(old)
	m[*exporter] = e
	s.exporters.Store(&m)
	return e
}

// with returns a copy with a cell for k, and one for k without its domain.
func (r *rates) with(k key) *rates {
	next := &rates{all: maps.Clone(r.all), init: r.init, any: maps.Clone(r.any), scoped: r.scoped}
	next.all[k] = &cell{}
	next.scoped[k.scope] = true
	k.domain = 0
	if next.any[k] == nil {
		next.any[k] = &cell{}
	}
	return next
}

// merge brings the entry of any up to date with a change of k.
func (r *rates) merge(k key) {
	rate := r.all[k].rate()
	for other, c := range r.all {
		if other.protocol == k.protocol && other.scope == k.scope && other.id == k.id && c.rate() != rate {
			rate = ambiguous
			break
		}
	}
	k.domain = 0
	r.any[k].setRate(rate)
}

// Forget drops what an exporter announced.
func (t *Table) Forget(exporter *[16]byte) {
	if t.find(exporter) == nil {
		return
	}
	s := t.shard(exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := maps.Clone(*s.exporters.Load())
	if m[*exporter] != nil {
		delete(m, *exporter)
		t.count.Add(-1)
		s.exporters.Store(&m)
	}
}

// Known is one announced rate, for people.
type Known struct {
	Exporter netip.Addr
	Protocol record.Protocol
	Domain   uint32
	Scope    Scope
	ID       uint64
	Rate     float64
}

// String returns the scope's name.
func (s Scope) String() string {
	names := [...]string{"domain", "selector", "sampler", "template", "interface"}
	if int(s) < len(names) {
		return names[s]
	}
	return "invalid"
}

// All lists every announced rate, sorted.
func (t *Table) All() []Known {
	var list []Known
	for i := range t.shards {
		for addr, e := range *t.shards[i].exporters.Load() {
			for k, rate := range e.rates.Load().all {
				list = append(list, Known{netip.AddrFrom16(addr).Unmap(), k.protocol, k.domain, k.scope, k.id, rate.rate()})
			}
		}
	}
	slices.SortFunc(list, func(a, b Known) int {
		return cmp.Or(a.Exporter.Compare(b.Exporter), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Domain, b.Domain),
			cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Limited is how many announcements were refused because the table was full.
func (t *Table) Limited() uint64 { return t.limited.Load() }
