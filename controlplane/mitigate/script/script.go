package script

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rule"
)

// Deps are what a Runner needs from outside.
type Deps struct {
	Log *slog.Logger
	// Location is the time zone of the packets' times in the report; FastNetMon uses the local one.
	Location *time.Location
	// Env is the script's environment, as os.Environ returns it; WEIR_* variables about the incident are added.
	Env []string
}

// Stats are a Runner's figures since it was made.
type Stats struct {
	Calls    uint64 `json:"calls"`     // begun
	OK       uint64 `json:"ok"`        // ended with exit code 0
	Failed   uint64 `json:"failed"`    // ended with another exit code, or by a signal
	TimedOut uint64 `json:"timed_out"` // killed
	NotRun   uint64 `json:"not_run"`   // could not be started: missing, not executable, no memory
	Dropped  uint64 `json:"dropped"`   // not queued: the queue was full, or the runner stopped
	Queued   int    `json:"queued"`
	Running  int    `json:"running"`
	// Err says why the script cannot run now, or how the last call failed; empty after a good call.
	Err string `json:"err,omitempty"`
}

// Runner queues and runs the calls of one script.
type Runner struct {
	cfg  notify.Config
	deps Deps

	ctx    context.Context // ended by Stop when its patience is over: kills what still runs
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards all below
	wake     *sync.Cond // a target became ready, or the runner stops
	pending  map[rule.Target][]notify.Event
	ready    []rule.Target // have calls pending and none running, in order of arrival
	queued   int
	stopping bool
	stats    Stats
}

// New makes a runner of cfg.Script; Start starts its workers. A script that is missing is not an error here: it may come,
// and until it does every call counts as not run.
func New(cfg notify.Config, deps Deps) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Script == "" {
		return nil, errors.New("notify script: no path")
	}
	if deps.Log == nil || deps.Location == nil {
		return nil, errors.New("notify script: needs a log and a time zone")
	}
	r := &Runner{cfg: cfg, deps: deps, pending: make(map[rule.Target][]notify.Event)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.wake = sync.NewCond(&r.mu)
	return r, nil
}

// Start looks at the script, so that a fault shows before the first attack, and starts the workers.
func (r *Runner) Start() {
	if err := check(r.cfg.Script); err != nil {
		r.deps.Log.Error("notify script cannot run; attacks are detected and mitigated without it", "script", r.cfg.Script, "err", err)
		r.mu.Lock()
		r.stats.Err = "notify script: " + err.Error()
		r.mu.Unlock()
	}
	for range r.cfg.ScriptParallel {
		r.wg.Go(r.work)
	}
}

// Stop takes no new events, waits for what is queued until ctx ends, then kills what runs and drops the rest. It returns
// when all workers and processes are gone.
func (r *Runner) Stop(ctx context.Context) {
	r.mu.Lock()
	r.stopping = true
	r.wake.Broadcast()
	r.mu.Unlock()
	end := context.AfterFunc(ctx, r.cancel)
	defer end()
	r.wg.Wait()
	r.cancel()
}

// Name implements notify.Notifier.
func (r *Runner) Name() string { return "notify script" }

// Notify implements notify.Notifier. In a full queue a ban or an unban takes the place of the latest attack_details that
// waits: a lost unban would leave a router rule for ever, lost details cost nothing but words.
func (r *Runner) Notify(e notify.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.queued >= r.cfg.ScriptQueue
	if r.stopping || full && (e.Action == notify.AttackDetails || !r.evictDetails()) {
		r.drop("event dropped, the notify script is behind", e)
		return false
	}
	target := e.Incident.Target
	list, busy := r.pending[target]
	r.pending[target] = append(list, e)
	r.queued++
	if !busy {
		r.ready = append(r.ready, target)
		r.wake.Signal()
	}
	return true
}

// Stats is safe at any time.
func (r *Runner) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Queued = r.queued
	return s
}

// drop counts, and logs the first of each hundred: a flood of incidents must not become a flood of lines.
func (r *Runner) drop(why string, e notify.Event) {
	if r.stats.Dropped++; r.stats.Dropped%100 == 1 {
		r.deps.Log.Error(why, "action", e.Action, "target", e.Incident.Target, "dropped", r.stats.Dropped)
	}
}

// evictDetails drops one attack_details that waits, and reports whether there was one.
func (r *Runner) evictDetails() bool {
	for target, list := range r.pending {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].Action != notify.AttackDetails {
				continue
			}
			r.drop("attack_details dropped, the notify script is behind", list[i])
			// A target whose list runs empty stays in pending: it is in ready, or a worker has it.
			r.pending[target] = append(list[:i:i], list[i+1:]...)
			r.queued--
			return true
		}
	}
	return false
}

// work runs calls until the runner stops.
func (r *Runner) work() {
	for {
		e, ok := r.next()
		if !ok {
			return
		}
		res := r.call(e)
		r.finish(e, res)
	}
}

// next waits for an event whose target has no call running. It says false when the runner stops and nothing is left,
// or when Stop's patience is over.
func (r *Runner) next() (notify.Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.ctx.Err() != nil {
			r.dropAll()
		}
		if len(r.ready) > 0 {
			target := r.ready[0]
			r.ready = r.ready[1:]
			list := r.pending[target]
			if len(list) == 0 { // its only event was evicted
				delete(r.pending, target)
				continue
			}
			r.pending[target] = list[1:]
			r.queued--
			r.stats.Running++
			return list[0], true
		}
		if r.stopping && r.queued == 0 {
			r.wake.Broadcast()
			return notify.Event{}, false
		}
		r.wake.Wait()
	}
}

// dropAll drops what is queued when there is no time left to run it.
func (r *Runner) dropAll() {
	for target, list := range r.pending {
		for _, e := range list {
			r.drop("event dropped, the appliance stops", e)
		}
		delete(r.pending, target)
	}
	r.queued, r.ready = 0, nil
}

// finish accounts for a call and makes its target ready again.
func (r *Runner) finish(e notify.Event, res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	target := e.Incident.Target
	switch {
	case len(r.pending[target]) > 0:
		r.ready = append(r.ready, target)
		r.wake.Signal()
	default:
		delete(r.pending, target)
	}
	if r.stopping {
		r.wake.Broadcast()
	}
	r.stats.Running--
	if res.started {
		r.stats.Calls++
	}
	r.stats.Err = ""
	switch {
	case res.err == nil:
		r.stats.OK++
		return
	case !res.started:
		r.stats.NotRun++
	case res.timedOut:
		r.stats.TimedOut++
	default:
		r.stats.Failed++
	}
	r.stats.Err = res.err.Error()
}
