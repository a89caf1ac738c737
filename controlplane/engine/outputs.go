package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// Journal keeps the engine's state on disk. Save is called from one goroutine at a time and may block.
type Journal interface {
	Save(s State) error
}

// job is one wanted set and the state that must be on disk before it is announced.
type job struct {
	state State
	want  []mitigate.Mitigation
}

// outputs are the goroutines behind the tick: one that journals and hands on, and one for each mitigator.
type outputs struct {
	log     *slog.Logger
	journal Journal
	cfg     atomic.Pointer[Config]
	jobs    *mailbox[job]
	runners []*runner
	started bool
	stop    chan struct{} // closed by Stop: finish what is in the mailboxes and end
	done    chan struct{} // closed when the publisher has ended
	cancel  context.CancelFunc

	// dirty is the engine's, under its lock: something changed that must be journalled or announced.
	dirty bool

	mu      sync.Mutex // guards all below
	saved   JournalStatus
	saving  chan error // the Save that is under way; nil when there is none
	unsaved bool       // the last state did not reach the disk
}

// JournalStatus says how the journal does.
type JournalStatus struct {
	// Saves and Failures count; Late counts announcements that did not wait for a slow disk any longer.
	Saves    uint64 `json:"saves"`
	Failures uint64 `json:"failures"`
	Late     uint64 `json:"late"`
	// Err is why the last state is not on disk; empty when it is.
	Err string `json:"err,omitempty"`
}

func newOutputs(deps *Deps, cfg Config, log *slog.Logger) *outputs {
	o := &outputs{
		log: log, journal: deps.Journal, jobs: newMailbox[job](), stop: make(chan struct{}), done: make(chan struct{}), cancel: func() {},
	}
	o.cfg.Store(&cfg)
	for _, m := range deps.Mitigators {
		o.runners = append(o.runners, &runner{
			m: m, log: log, cfg: &o.cfg, box: newMailbox[[]mitigate.Mitigation](), stop: make(chan struct{}), done: make(chan struct{}),
		})
	}
	return o
}

func (o *outputs) configure(cfg Config) { o.cfg.Store(&cfg) }

func (o *outputs) put(j job) { o.jobs.put(j) }

func (o *outputs) start(ctx context.Context) {
	// Reconciles outlive the caller's context: what is announced at the end is decided in Stop.
	ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	o.started = true
	for _, r := range o.runners {
		go r.run(ctx)
	}
	go o.publish()
}

// retrySave is how soon a state that did not reach the disk is tried again.
const retrySave = time.Second

// publish takes wanted sets, journals and hands them on.
func (o *outputs) publish() {
	defer close(o.done)
	var last job
	for {
		var retry <-chan time.Time
		if o.isUnsaved() {
			retry = time.After(retrySave)
		}
		select {
		case <-o.jobs.wake:
			if j, ok := o.jobs.take(); ok {
				last = j
				o.one(j)
			}
		case <-retry:
			o.save(last.state)
		case <-o.stop:
			if j, ok := o.jobs.take(); ok {
				o.one(j)
			}
			return
		}
	}
}

// one brings a state to disk, waiting only so long, and gives the wanted set to the mitigators.
func (o *outputs) one(j job) {
	o.save(j.state)
	for _, r := range o.runners {
		r.box.put(j.want)
	}
}

// save waits for the journal, bounded. A Save that hangs is left behind; until it returns no other is begun.
func (o *outputs) save(s State) {
	if o.journal == nil {
		return
	}
	deadline := time.NewTimer(o.cfg.Load().JournalWait)
	defer deadline.Stop()
	if o.saving != nil { // an earlier one is still under way
		select {
		case err := <-o.saving:
			o.finishSave(err)
		case <-deadline.C:
			o.late()
			return
		}
	}
	result := make(chan error, 1)
	o.saving = result
	go func() { result <- o.journal.Save(s) }()
	select {
	case err := <-result:
		o.finishSave(err)
	case <-deadline.C:
		o.late()
	}
}

// finishSave notes the end of one Save.
func (o *outputs) finishSave(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.saving, o.unsaved = nil, err != nil
	if err == nil {
		o.saved.Saves++
		if o.saved.Err != "" {
			o.log.Info("journal works again")
		}
		o.saved.Err = ""
		return
	}
	o.saved.Failures++
	if o.saved.Err == "" {
		o.log.Error("journal failed; mitigations are announced all the same", "err", err)
	}
	o.saved.Err = err.Error()
}

// late notes that the journal was not waited for any longer.
func (o *outputs) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsaved = true
	o.saved.Late++
	if o.saved.Err == "" {
		o.log.Error("journal is slow; mitigations are announced before they are on disk", "waited", o.cfg.Load().JournalWait)
	}
	o.saved.Err = fmt.Sprintf("not on disk within %v", o.cfg.Load().JournalWait)
}

func (o *outputs) isUnsaved() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unsaved
}

func (o *outputs) journalStatus() JournalStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.saved
}

// end lets all goroutines finish, and withdraws everything when asked to.
func (o *outputs) end(ctx context.Context, withdraw bool) error {
	defer o.cancel()
	close(o.stop)
	if err := wait(ctx, o.done, "the journal"); err != nil {
		return err
	}
	for _, r := range o.runners {
		if withdraw {
			r.box.put(nil)
		}
		close(r.stop)
	}
	var errs []error
	for _, r := range o.runners {
		errs = append(errs, wait(ctx, r.done, "mitigator "+r.m.Name()))
	}
	return errors.Join(errs...)
}

func wait(ctx context.Context, done <-chan struct{}, who string) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not finish: %w", who, ctx.Err())
	}
}

// runner keeps one mitigator up to date.
type runner struct {
	m    mitigate.Mitigator
	log  *slog.Logger
	cfg  *atomic.Pointer[Config]
	box  *mailbox[[]mitigate.Mitigation]
	stop chan struct{}
	done chan struct{}

	mu     sync.Mutex // guards status
	status MitigatorStatus
}

// MitigatorStatus says how a mitigator does.
type MitigatorStatus struct {
	Name string `json:"name"`
	// Reconciles and Failures count calls; Err is the last one's error.
	Reconciles uint64 `json:"reconciles"`
	Failures   uint64 `json:"failures"`
	Err        string `json:"err,omitempty"`
	// Busy is set while a reconcile is under way.
	Busy bool `json:"busy"`
	// Status is what the mitigator says of itself.
	Status mitigate.Status `json:"status"`
}

// run reconciles whenever the wanted set changes, and every so often besides. Before the first set it does nothing: an empty set is
// not the same as none, it would withdraw what an earlier run announced.
func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(r.cfg.Load().ReconcileEvery)
	defer timer.Stop()
	var want []mitigate.Mitigation
	known := false
	for {
		select {
		case <-r.box.wake:
			v, ok := r.box.take()
			if !ok {
				continue
			}
			want, known = v, true
		case <-timer.C:
		case <-r.stop:
			if v, ok := r.box.take(); ok {
				r.reconcile(ctx, v)
			}
			return
		}
		if known {
			r.reconcile(ctx, want)
		}
		timer.Reset(r.cfg.Load().ReconcileEvery)
	}
}

func (r *runner) reconcile(ctx context.Context, want []mitigate.Mitigation) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Load().ReconcileTimeout)
	defer cancel()
	r.note(func(s *MitigatorStatus) { s.Busy = true })
	err := r.m.Reconcile(ctx, want)
	r.note(func(s *MitigatorStatus) {
		s.Busy = false
		s.Reconciles++
		switch err {
		case nil:
			if s.Err != "" {
				r.log.Info("mitigator works again", "mitigator", r.m.Name())
			}
			s.Err = ""
		default:
			s.Failures++
			if s.Err == "" {
				r.log.Error("mitigator failed; it is tried again", "mitigator", r.m.Name(), "err", err)
			}
			s.Err = err.Error()
		}
	})
}

func (r *runner) note(f func(*MitigatorStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.status)
}

func (r *runner) snapshot() MitigatorStatus {
	r.mu.Lock()
	s := r.status
	r.mu.Unlock()
	s.Name, s.Status = r.m.Name(), r.m.Status()
	return s
}
