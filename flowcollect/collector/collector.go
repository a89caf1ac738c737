package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/listen"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/spread"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// Deps is what a collector is built upon.
type Deps struct {
	// Nets, Seed and Clock are the shards', as for packet workers. Traffic sizes each shard.
	Nets    *nets.Table
	Seed    traffic.Seed
	Clock   func() int64
	Traffic traffic.Config
	// Internal says which rows traffic between two of our own hosts is charged to.
	Internal traffic.InternalPolicy
	// Tick is the nominal length of an epoch; see SetTick.
	Tick time.Duration
	// Wire says which header of a tunnel is charged, in packet heads that exporters send.
	Wire wire.Decoder
	// Now is the time of day, for what people see and for the exporters' clocks.
	Now func() time.Time
	Log *slog.Logger
	// After is a collector that has been stopped: what its exporters announced, what was counted of them and what is still to be
	// charged is taken over. It may be nil.
	After *Collector
}

// Collector is the sockets, workers and shared state of flow collection.
type Collector struct {
	cfg  Config
	deps Deps

	begin     time.Time
	allow     *listen.Allow
	registry  *registry
	templates *template.Registry
	sampling  *sampling.Table
	totals    *dataset.Totals
	groups    []*listen.Group
	workers   []*worker
	filters   atomic.Pointer[filters]
	tick      atomic.Int64
	stop      atomic.Bool

	mu      sync.Mutex // guards all below
	alarms  []string
	dropped uint64 // by the kernel, at the last look
	begun   bool
	ended   bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// New opens the sockets and takes the memory; nothing is received yet. On an error nothing stays open.
func New(cfg Config, deps Deps) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Collector{cfg: cfg, deps: deps, begin: deps.Now(), allow: listen.NewAllow(cfg.Allow)}
	c.tick.Store(int64(deps.Tick))
	c.registry = newRegistry(cfg.MaxExporters, newRules(&cfg), c.allow.Ok)
	if err := c.SetFilter(cfg.Filter); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if err := c.remember(); err != nil {
		return nil, err
	}
	for _, l := range cfg.Listeners {
		for _, port := range l.ports() {
			if err := c.listen(l, port); err != nil {
				return nil, errors.Join(err, c.close())
			}
		}
	}
	if deps.After != nil {
		c.inherit(deps.After)
	}
	c.deps.After = nil
	return c, nil
}

// totalFlows is how many flows of exporters that only send totals are remembered, 34 bytes each.
const totalFlows = 1 << 18

// remember makes the tables of what exporters announce, from a predecessor or from the files of an earlier run.
func (c *Collector) remember() (err error) {
	if c.sampling, err = sampling.New(samplingConfig(&c.cfg)); err != nil {
		return err
	}
	if a := c.deps.After; a != nil {
		c.totals = a.totals
	} else {
		c.totals = dataset.NewTotals(totalFlows, c.deps.Seed[0])
	}
	if a := c.deps.After; a != nil && a.cfg.Templates == c.cfg.Templates {
		c.templates = a.templates
		announce(c.sampling, a.sampling.All())
		return nil
	}
	t := template.Default()
	t.PerExporter, t.Expiry = c.cfg.Templates.MaxPerExporter, c.cfg.Templates.MaxAge
	t.Total = max(t.Total, t.PerExporter)
	if c.templates, err = template.New(t); err != nil {
		return err
	}
	c.load()
	return nil
}

// load reads what an earlier run knew. Files that cannot be read cost the minutes until exporters repeat themselves.
func (c *Collector) load() {
	path := c.cfg.Templates.Path
	if path == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		c.deps.Log.Warn("templates will not be kept", "err", err)
	}
	n, err := c.templates.Load(path, c.deps.Now().UnixNano())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.deps.Log.Warn("the templates of an earlier run cannot be read", "err", err)
	}
	rates, err := loadRates(ratesPath(path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.deps.Log.Warn("the sampling rates of an earlier run cannot be read", "err", err)
	}
	announce(c.sampling, rates)
	if n > 0 {
		c.deps.Log.Info("templates of an earlier run are in force", "templates", n, "sampling_rates", len(rates))
	}
}

// save writes what is known, for the next run.
func (c *Collector) save() error {
	path := c.cfg.Templates.Path
	if path == "" {
		return nil
	}
	return errors.Join(c.templates.Save(path), saveRates(ratesPath(path), c.sampling.All()))
}

// samplingConfig translates the exporters' settings. A rule that says nothing of a default has the general one.
func samplingConfig(cfg *Config) sampling.Config {
	s := sampling.Default()
	s.OtherDomains = cfg.OtherDomains
	s.Exporters = max(s.Exporters, 2*cfg.MaxExporters)
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		s.Rules = append(s.Rules, sampling.Rule{Exporters: netip.MustParsePrefix(all), Default: cfg.DefaultSamplingRate})
	}
	for _, e := range cfg.Exporters {
		r := sampling.Rule{Exporters: e.Prefix}
		switch {
		case e.Sampling == "override":
			r.Override = e.SamplingRate
		case e.Sampling == "ignore":
			r.Prescaled = true
		case e.SamplingRate > 0:
			r.Default = e.SamplingRate
		default:
			r.Default = cfg.DefaultSamplingRate
		}
		if e.Prefix.Bits() == 0 { // takes the place of the general one
			for i := range s.Rules[:2] {
				if s.Rules[i].Exporters == e.Prefix {
					s.Rules[i] = r
				}
			}
			continue
		}
		s.Rules = append(s.Rules, r)
	}
	return s
}

// listen opens one port and makes its workers.
func (c *Collector) listen(l Listener, port uint16) error {
	g, err := listen.Open(l.open(port))
	if err != nil {
		return err
	}
	c.groups = append(c.groups, g)
	if err := g.Steering(); err != nil {
		c.deps.Log.Warn("datagrams of one exporter stay on one socket: the kernel refused to deal them out", "address", g.Addr(), "err", err)
	}
	for _, s := range g.Sockets() {
		w, err := c.newWorker(s, accepts[l.Protocol])
		if err != nil {
			return fmt.Errorf("flows at %s: %w", g.Addr(), err)
		}
		c.workers = append(c.workers, w)
	}
	return nil
}

func (c *Collector) newWorker(s *listen.Socket, a accept) (*worker, error) {
	shard, err := traffic.NewShard(c.deps.Traffic, c.deps.Seed, c.deps.Nets, c.deps.Clock)
	if err != nil {
		return nil, err
	}
	w := &worker{c: c, socket: s, accept: a, batch: listen.NewBatch(), shard: shard, exporters: make(map[[16]byte]*local)}
	w.spread, err = spread.New(spread.Config{Entries: c.cfg.SpreadHosts, Tick: c.deps.Tick, Internal: c.deps.Internal})
	if err != nil {
		return nil, errors.Join(err, shard.Free())
	}
	deps := dataset.Deps{Templates: c.templates, Sampling: c.sampling, Wire: &c.deps.Wire, Totals: c.totals}
	w.netflow, w.ipfix = netflow.New(deps), ipfix.New(deps)
	bytes := sflow.FrameWithoutFCS
	if c.cfg.Bytes == "ip" {
		bytes = sflow.IPLength
	}
	w.sflow = sflow.New(sflow.Config{Wire: c.deps.Wire, Bytes: bytes}, w)
	return w, nil
}

// Size is the memory in bytes that the counters of cfg may take, with shards of that size.
func (c Config) Size(t traffic.Config) uint64 {
	return uint64(c.Sockets()) * (t.Size() + uint64(c.SpreadHosts)*spread.EntrySize)
}

// Shards are the workers' counters. They are valid until Free.
func (c *Collector) Shards() (list []*traffic.Shard) {
	for _, w := range c.workers {
		list = append(list, w.shard)
	}
	return list
}

// SetTick tells how long epochs are from now on.
func (c *Collector) SetTick(d time.Duration) { c.tick.Store(int64(d)) }

// Start begins to receive. The shards must be known to the merger by then.
func (c *Collector) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return errors.New("flows: already started")
	}
	c.begun = true
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range c.workers {
		c.done.Go(w.run)
	}
	c.done.Go(func() { c.housekeep(ctx) })
	for _, g := range c.groups {
		c.deps.Log.Info("flows are collected", "address", g.Addr(), "sockets", len(g.Sockets()), "buffer", g.Sockets()[0].Stats().Buffer)
	}
	return nil
}

// Stop ends reception and keeps what exporters announced. What was counted stays in the shards for a last tick; what long records
// were still to be charged with is left to a successor (Deps.After). It is idempotent.
func (c *Collector) Stop() error {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil
	}
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
	c.mu.Unlock()
	c.stop.Store(true)
	c.done.Wait()
	var errs []error
	for _, g := range c.groups {
		errs = append(errs, g.Close())
	}
	return errors.Join(append(errs, c.save())...)
}

// Free gives the counters' memory back; the merger must have dropped the shards, and Stop have returned.
func (c *Collector) Free() error {
	var errs []error
	for _, w := range c.workers {
		errs = append(errs, w.shard.Free())
	}
	return errors.Join(errs...)
}

// close undoes New.
func (c *Collector) close() error {
	var errs []error
	for _, g := range c.groups {
		errs = append(errs, g.Close())
	}
	return errors.Join(append(errs, c.Free())...)
}

// Addresses are what is bound, a port each.
func (c *Collector) Addresses() (list []netip.AddrPort) {
	for _, g := range c.groups {
		list = append(list, g.Addr())
	}
	return list
}
