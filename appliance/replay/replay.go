package replay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/appliance/app"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/port/replay"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// Options say what to play and how.
type Options struct {
	Config *config.Config
	Files  []string
	Speed  replay.Speed
	// Workers is how many workers count, at least 1. The result does not depend on it.
	Workers int
	// Observe, when set, is called after every tick with its virtual time and what the engine published, for a live display.
	Observe func(at time.Time, v *engine.View)
	// Deps are further parts for the engine: mitigators, notifiers. Source, NewID and Evidence are filled in here.
	// Mitigators are fed while the replay runs, in real time, and get an empty set at its end; times in what they get are the capture's.
	Deps engine.Deps
}

// maxIdleTicks bounds how many ticks a silence in a capture may take: a gap of years must not run for years.
// restTicks is the same while there is neither an attack nor a mitigation whose end the ticks would have to bring.
const (
	maxIdleTicks = 7200
	restTicks    = 120
)

// mitigatorWait bounds how long mitigators may take to withdraw at the end.
const mitigatorWait = 10 * time.Second

// Play runs the captures through the pipeline and returns what was seen. It fails when a file cannot be opened or
// ctx ends; a damaged file is played up to the damage, and the report says so.
func Play(ctx context.Context, o Options) (*Report, error) {
	p, err := newPlayer(o)
	if err != nil {
		return nil, err
	}
	err = p.run(ctx)
	var r *Report
	if err == nil {
		r = p.report()
	}
	return r, errors.Join(err, p.close())
}

// player is one run.
type player struct {
	opts    Options
	port    *replay.Port
	workers []*worker.Worker
	merger  *merge.Merger
	engine  *engine.Engine
	sums    *sums
	now     atomic.Int64 // virtual time, nanoseconds since the epoch
	tick    time.Duration
}

func newPlayer(o Options) (*player, error) {
	o.Workers = max(1, o.Workers)
	set, err := app.Settings(o.Config)
	if err != nil {
		return nil, err
	}
	wc, err := app.WorkerConfig(o.Config)
	if err != nil {
		return nil, err
	}
	wc.Idle = worker.IdlePause // a replay waits for its workers at every tick
	decoder := &wire.Decoder{Charge: o.Config.Decode.Charges()}
	p := &player{opts: o, tick: set.Tick}
	p.port, err = replay.New(replay.Config{
		Files: o.Files, Queues: o.Workers, Speed: o.Speed, Hold: true, Decoder: decoder,
	})
	if err != nil {
		return nil, err
	}
	start, _ := p.port.Next()
	p.now.Store(start)
	// Replays repeat themselves bit for bit, so the hash seed and the ids are no secrets.
	rng := rand.New(rand.NewPCG(1, 2))
	seed := traffic.NewSeed(rng.Uint64)
	mc := merge.DefaultConfig()
	mc.Wait = time.Minute // virtual time waits for everybody: a late worker would make the result depend on the machine
	if p.merger, err = merge.New(mc, seed, set.Nets, p.now.Load); err != nil {
		return nil, errors.Join(err, p.port.Close())
	}
	for i := range o.Workers {
		deps := worker.Deps{Decoder: decoder, Nets: set.Nets, Seed: seed, Clock: p.now.Load}
		for k, q := range p.port.Queues() {
			if k%o.Workers == i {
				deps.Queues = append(deps.Queues, q)
			}
		}
		w, err := worker.New(wc, deps)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker %d: %w", i, err), p.close())
		}
		p.workers = append(p.workers, w)
		if err := p.merger.Add(w.Shard()); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	p.sums = newSums(p.merger)
	deps := o.Deps
	deps.Source, deps.Observer = p.sums, p.sums.transition
	deps.NewID = idSource(rng)
	if p.engine, err = engine.New(set, deps); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// idSource makes version-4 UUIDs that are the same in every run.
func idSource(rng *rand.Rand) func() string {
	return func() string {
		a, b := rng.Uint64(), rng.Uint64()
		return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
	}
}

func (p *player) run(ctx context.Context) (err error) {
	if len(p.opts.Deps.Mitigators) > 0 {
		if err := p.engine.Start(ctx); err != nil {
			return err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), mitigatorWait)
			defer cancel()
			err = errors.Join(err, p.engine.Stop(end, true))
		}()
	}
	for _, w := range p.workers {
		if err := w.Start(ctx); err != nil {
			return err
		}
	}
	_, more := p.port.Next()
	for end := p.now.Load(); more; {
		var next int64
		end += int64(p.tick)
		p.port.Advance(end)
		if err := p.port.Wait(ctx); err != nil {
			return err
		}
		p.now.Store(end)
		p.turn(end)
		if next, more = p.port.Next(); more {
			end = p.skip(end, next)
		}
	}
	return p.engineStop()
}

// skip leaves a long silence out, by whole ticks, so that epochs keep their beat.
func (p *player) skip(end, next int64) int64 {
	idle, most := (next-end)/int64(p.tick), int64(maxIdleTicks)
	if v := p.engine.View(); len(v.Incidents) == 0 && len(v.Mitigations) == 0 {
		most = restTicks
	}
	if idle <= most {
		return end
	}
	end += (idle - most) * int64(p.tick)
	p.now.Store(end)
	p.turn(end) // one long empty epoch, so that bans end in it and the next one has its usual length
	return end
}

// turn ends one tick.
func (p *player) turn(end int64) {
	at := time.Unix(0, end).UTC()
	p.engine.Tick(at)
	if p.opts.Observe != nil {
		p.opts.Observe(at, p.engine.View())
	}
}

func (p *player) engineStop() error {
	for _, w := range p.workers {
		if err := w.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) close() error {
	errs := []error{p.engineStop(), p.port.Close()}
	for _, w := range p.workers {
		p.merger.Remove(w.Shard())
		errs = append(errs, w.Free())
	}
	return errors.Join(errs...)
}

// Run is `weir replay -c FILE [--speed max|real|N] [--workers N] [--json] PCAP...`.
// It returns the exit status: 0 done, 1 failed or a capture is damaged, 2 wrong usage.
func Run(args []string, stdout, stderr io.Writer) int {
	fl := flag.NewFlagSet("weir replay", flag.ContinueOnError)
	fl.SetOutput(stderr)
	path := fl.String("c", config.DefaultPath, "the configuration `FILE`; its ports are not opened")
	speed := fl.String("speed", "max", "max, real, or a number `N` for N times as fast as recorded")
	workers := fl.Int("workers", 1, "how many workers count; the result does not depend on it")
	asJSON := fl.Bool("json", false, "one JSON object instead of a text")
	fl.Usage = func() {
		fmt.Fprintln(stderr, "usage: weir replay -c FILE [--speed max|real|N] [--workers N] [--json] PCAP...")
		fl.PrintDefaults()
	}
	if err := fl.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	sp, err := replay.ParseSpeed(*speed)
	if err != nil || fl.NArg() == 0 || *workers < 1 || *workers > 64 {
		if err != nil {
			fmt.Fprintln(stderr, "weir replay:", err)
		}
		fl.Usage()
		return 2
	}
	cfg, err := config.Load(*path, config.WithoutPorts())
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	r, err := Play(context.Background(), Options{Config: cfg, Files: fl.Args(), Speed: sp, Workers: *workers})
	if err != nil {
		fmt.Fprintln(stderr, "weir replay:", err)
		return 1
	}
	if *asJSON {
		err = r.writeJSON(stdout)
	} else {
		err = r.writeText(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "weir replay:", err)
		return 1
	}
	for _, f := range r.Faults {
		fmt.Fprintln(stderr, "weir replay:", f)
	}
	if len(r.Faults) > 0 {
		return 1
	}
	return 0
}
