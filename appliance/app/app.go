package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/journal"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/collector"
)

// Options are what an App is made of besides its configuration.
type Options struct {
	// Config is what to run, Text the file that it was read from, and Path that file's name; commits go there.
	Config *config.Config
	Text   []byte
	Path   string
	// Log is where everything is logged, and Level its level, which a commit may change.
	Log   *slog.Logger
	Level *slog.LevelVar
	// Speaker is the command that starts a BGP speaker; empty means this binary.
	Speaker []string
}

// App is the running appliance.
type App struct {
	opts Options
	log  *slog.Logger

	shared   shared
	evidence evidence
	source   *source
	engine   *engine.Engine
	journal  *journal.Journal
	speaker  *speaker
	notify   *notifiers
	server   *api.Server
	past     ring[incident.Incident]
	meters   portMeters
	heap     *heap

	confined bool // whether threads are kept off workers' processors; as cancel, under mu
	cancel   context.CancelFunc
	done     sync.WaitGroup // the engine's loop, the port meters, the heap

	current atomic.Pointer[config.Config]
	plane   atomic.Pointer[dataplane]
	flows   atomic.Pointer[collector.Collector] // nil without listeners
	mu      sync.Mutex                          // held while the configuration is applied, and by Start and Stop
}

// pastIncidents is how many incidents that are over are remembered for `show incidents all`.
const pastIncidents = 1000

// New builds the appliance: it opens ports, the journal and memory, and starts nothing. On an error nothing stays open.
func New(o Options) (*App, error) {
	cfg := o.Config
	a := &App{opts: o, log: o.Log, heap: newHeap(o.Log)}
	a.current.Store(cfg)
	a.past.size = pastIncidents
	set, err := Settings(cfg)
	if err != nil {
		return nil, err
	}
	store, err := probe.NewEvidence(probe.DefaultConfig())
	if err != nil {
		return nil, err
	}
	topology, err := cpu.Host()
	if err != nil {
		return nil, fmt.Errorf("processors: %w", err)
	}
	a.shared = shared{seed: newSeed(), clock: monotonic(), nets: set.Nets, evidence: store, topology: topology}
	a.evidence.store = store
	a.evidence.decode(cfg)
	a.evidence.table.Store(set.Nets)
	merger, err := merge.New(mergeConfig(cfg), a.shared.seed, set.Nets, a.shared.clock)
	if err != nil {
		return nil, err
	}
	a.source = &source{merger: merger}
	a.speaker = &speaker{socket: speakerSocket(cfg), command: o.Speaker, log: o.Log}
	a.notify = newNotifiers(o.Log)
	if a.journal, err = journal.New(cfg.Journal, journal.Deps{Log: o.Log, Now: time.Now}); err != nil {
		return nil, err
	}
	if a.engine, err = a.newEngine(set); err != nil {
		return nil, err
	}
	plane, err := newDataplane(cfg, a.shared)
	if err != nil {
		return nil, err
	}
	a.plane.Store(plane)
	flows, err := a.newFlows(cfg, nil)
	if err != nil {
		return nil, errors.Join(err, plane.stop())
	}
	a.flows.Store(flows)
	a.server, err = api.New(api.Deps{
		Config: cfg, Text: o.Text, Path: o.Path, Runtime: running{a}, Applier: a, Audit: a.audit, Log: o.Log, Now: time.Now,
	})
	if err != nil {
		return nil, errors.Join(err, plane.stop(), a.stopFlows())
	}
	return a, nil
}

func (a *App) newEngine(set engine.Settings) (*engine.Engine, error) {
	return engine.New(set, engine.Deps{
		Source: a.source, NewID: uuid.NewString, Clock: time.Now, Mitigators: []mitigate.Mitigator{a.speaker},
		Notifiers: a.notify.list(), Journal: a.journal, Evidence: &a.evidence, Observer: a.observe, Log: a.log,
	})
}

// newSeed keys the hashes of this process: nobody outside can know it and choose addresses that collide.
func newSeed() traffic.Seed {
	return traffic.NewSeed(func() uint64 {
		var b [8]byte
		rand.Read(b[:]) // never fails: it ends the process instead
		return binary.LittleEndian.Uint64(b[:])
	})
}

// speakerSocket lies beside the API's, in a directory that only we can write to.
func speakerSocket(cfg *config.Config) string {
	dir := filepath.Dir(cfg.Journal.Path)
	if cfg.API.Socket != "" {
		dir = filepath.Dir(cfg.API.Socket)
	}
	return filepath.Join(dir, "speaker.sock")
}

// restore takes up what an earlier run left. A journal that cannot be read is no reason not to detect.
func (a *App) restore() {
	s, err := a.journal.Load()
	if err != nil {
		a.log.Error("the journal cannot be read: starting without what an earlier run knew", "err", err)
		return
	}
	if !s.Saved.IsZero() { // a new journal knows nothing
		a.engine.Restore(time.Now(), s)
	}
}

// Start brings everything up. Routes of an earlier run are taken up before the first packet is counted, so that a restart
// in the middle of an attack uncovers nobody. On an error what was started is stopped.
func (a *App) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg := a.config()
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	if err := a.start(run, cfg); err != nil {
		return errors.Join(err, a.stop(false))
	}
	plane := a.plane.Load()
	a.log.Info("weir is running", "ports", len(plane.ports), "workers", len(plane.workers), "networks", len(cfg.Networks),
		"hostgroups", len(cfg.Hostgroups), "tick", cfg.Tick, "bgp_peers", len(cfg.BGP.Peers))
	return nil
}

func (a *App) start(ctx context.Context, cfg *config.Config) error {
	if err := a.notify.configure(cfg.Notify); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	a.restore()
	if err := a.speaker.configure(ctx, cfg.BGP); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	if err := a.engine.Start(ctx); err != nil {
		return err
	}
	a.heap.headroom.Store(uint64(cfg.Memory.Headroom))
	a.done.Go(func() { a.heap.run(ctx) })
	plane := a.plane.Load()
	a.settle(plane)
	if err := plane.start(ctx, a.source); err != nil {
		return err
	}
	if err := a.startFlows(ctx, a.flows.Load()); err != nil {
		return err
	}
	a.done.Go(func() {
		if err := a.engine.Run(ctx); err != nil {
			a.log.Error("the tick has ended", "err", err)
		}
	})
	a.done.Go(func() { a.meters.run(ctx, a.plane.Load) })
	a.done.Go(func() { a.revive(ctx) })
	return a.server.Start(ctx)
}

// settle keeps every other thread of the process off the processors that workers own. Without pinned workers they run anywhere.
func (a *App) settle(p *dataplane) {
	for _, line := range p.describe() {
		a.log.Info("placement", "plan", line)
	}
	if err := turn.Check(); err != nil && p.pinned() {
		a.log.Warn("every 10 ms Go's scheduler takes workers off their threads for a moment", "err", err)
	}
	cpus, procs := p.plan.Housekeeping, p.plan.MaxProcs
	if !p.pinned() {
		if !a.confined {
			return
		}
		cpus, procs = a.shared.topology.IDs(), len(a.shared.topology.CPUs)
	}
	if err := cpu.SetProcess(cpus); err != nil {
		a.log.Warn("other threads were not moved off the workers' processors", "err", err)
	}
	runtime.GOMAXPROCS(procs)
	a.confined = p.pinned()
}

// Stop ends everything in reverse. The routes stay or go as bgp.on_exit says. It is idempotent.
func (a *App) Stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stop(a.config().BGP.OnExit == bgp.Withdraw)
}

// stopWait bounds how long the journal and the routers are waited for.
const stopWait = 10 * time.Second

func (a *App) stop(withdraw bool) error {
	if a.cancel == nil {
		return nil
	}
	errs := []error{a.server.Stop()}
	a.cancel()
	a.cancel = nil
	a.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	errs = append(errs, a.engine.Stop(ctx, withdraw), a.speaker.stop(!withdraw))
	a.notify.stop()
	plane := a.plane.Load()
	errs = append(errs, plane.stop(), a.stopFlows())
	a.source.end(plane.shards())
	errs = append(errs, a.endFlows(), plane.free(), a.shared.evidence.Free(), a.journal.Close())
	return errors.Join(errs...)
}

// config is what runs.
func (a *App) config() *config.Config { return a.current.Load() }

// observe remembers incidents that are over.
func (a *App) observe(t incident.Transition) {
	if t.To == incident.Clear && t.From != incident.Suspect {
		a.past.put(t.Incident)
	}
}

// audit keeps who changed what.
func (a *App) audit(r api.Record) {
	who := fmt.Sprintf("%s (uid %d, pid %d)", actor(r.Actor), r.UID, r.PID)
	if err := a.journal.Audit(journal.Entry{Time: r.Time, Who: who, What: r.Action, Detail: r.Error}); err != nil {
		a.log.Error("audit was not written", "action", r.Action, "by", who, "err", err)
	}
}

func (a *App) speakerStatus() mitigate.Status { return a.speaker.Status() }
