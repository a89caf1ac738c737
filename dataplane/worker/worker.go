package worker

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Deps is what a worker works with.
type Deps struct {
	// Queues are the queues that this worker alone polls.
	Queues []port.Queue
	// Decoder is shared by all workers and read-only.
	Decoder *wire.Decoder
	// Nets is the first prefix table; later ones come through Shard.SetNets.
	Nets *nets.Table
	// Seed keys all hashes; the same for all workers.
	Seed traffic.Seed
	// Evidence makes the worker's probe; nil keeps no packets.
	Evidence *probe.Evidence
	// Clock gives nanoseconds for the start and the stop of epochs: monotonic time, or a replay's virtual time.
	// It must be safe to call from any goroutine.
	Clock func() int64
	// Pin binds the calling thread to the worker's CPU; nil leaves it to the scheduler. An error of Pin is returned by
	// Start, before any packet is read.
	Pin func() error
}

// Worker polls queues and counts what they deliver.
type Worker struct {
	// The worker's thread's.
	shard   *traffic.Shard
	decoder *wire.Decoder
	tracker *flowtrack.Tracker // nil when flows are off
	probe   *probe.Probe       // nil without evidence
	seed    traffic.Seed
	rules   *traffic.Rules
	bytesIP bool
	twice   bool // whether a frame may be charged to two headers
	idle    Idle
	turns   turn.Keeper // kept all the time with a CPU of its own, and else before a sleep
	bell    *bell
	queues  []port.Queue
	links   []wire.LinkType
	headers wire.Headers
	burst   port.Burst
	scratch scratch

	_      [128]byte
	stop   atomic.Bool // Stop writes, the loop reads once a round
	rounds atomic.Uint64
	busy   atomic.Uint64
	times  published
	keeps  atomic.Bool // what turns is

	mu       sync.Mutex // guards running and done
	running  bool
	done     chan struct{}
	pin      func() error
	evidence *probe.Evidence
	queuesN  int
	memory   uint64 // of its tables, as they were made: Stats may come after Free
}

// New checks cfg, reserves the worker's memory and starts nothing.
func New(cfg Config, deps Deps) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Decoder == nil || deps.Nets == nil || deps.Clock == nil {
		return nil, errors.New("worker: decoder, nets and clock must be given")
	}
	w := &Worker{
		decoder: deps.Decoder, seed: deps.Seed, rules: traffic.NewRules(cfg.Internal), bytesIP: cfg.CountBytes == CountIP,
		idle: cfg.Idle, queues: deps.Queues, pin: deps.Pin, evidence: deps.Evidence, queuesN: len(deps.Queues),
	}
	w.twice = slices.Contains(deps.Decoder.Charge[:], wire.ChargeBoth)
	for _, q := range deps.Queues {
		w.links = append(w.links, q.LinkType())
	}
	var err error
	if w.shard, err = traffic.NewShard(cfg.Traffic, deps.Seed, deps.Nets, deps.Clock); err != nil {
		return nil, err
	}
	if w.bell, err = newBell(); err != nil {
		return nil, errors.Join(err, w.Free())
	}
	w.shard.OnRequest(w.bell.ring)
	if cfg.Flows.Flows > 0 {
		if w.tracker, err = flowtrack.New(cfg.Flows); err != nil {
			return nil, errors.Join(err, w.Free())
		}
		w.shard.AttachFlows(w.tracker)
	}
	if deps.Evidence != nil {
		if w.probe, err = deps.Evidence.Probe(); err != nil {
			return nil, errors.Join(err, w.Free())
		}
		w.shard.Attach(w.probe)
	}
	w.memory = w.shard.Size()
	if w.tracker != nil {
		w.memory += w.tracker.Size()
	}
	return w, nil
}

// Shard is where the control plane finds what the worker counts.
func (w *Worker) Shard() *traffic.Shard { return w.shard }

// Start starts the loop and returns once it is on its thread and pinned. The loop ends by Stop or with ctx.
func (w *Worker) Start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		return errors.New("worker: already running")
	}
	w.stop.Store(false)
	w.done = make(chan struct{})
	ready := make(chan error, 1)
	go w.run(ready, w.done)
	if err := <-ready; err != nil {
		return err
	}
	w.running = true
	done := w.done
	go func() {
		select {
		case <-ctx.Done():
			w.end()
		case <-done:
		}
	}()
	return nil
}

// Stop ends the loop and returns when it is gone. What was counted stays in Shard for the control plane.
// It is idempotent.
func (w *Worker) Stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running {
		return nil
	}
	w.end()
	<-w.done
	w.running = false
	return nil
}

// end tells the loop to end.
func (w *Worker) end() {
	w.stop.Store(true)
	w.bell.ring()
}

// Free gives the worker's memory back. It must have stopped, and the control plane must have dropped its Shard.
func (w *Worker) Free() error {
	err := w.shard.Free()
	if err != nil {
		return err
	}
	if w.bell != nil {
		err = w.bell.close()
	}
	if w.tracker != nil {
		err = errors.Join(err, w.tracker.Free())
	}
	if w.probe != nil {
		err = errors.Join(err, w.evidence.Remove(w.probe))
	}
	return err
}

// Stats are a worker's figures. What it counted is in its Shard.
type Stats struct {
	// Rounds is how often the loop has looked at all its queues, and Busy how often it found something.
	Rounds uint64 `json:"rounds"`
	Busy   uint64 `json:"busy"`
	// Time is how long the loop has run, and BusyTime the part of it that went into rounds that found something.
	Time     time.Duration `json:"time"`
	BusyTime time.Duration `json:"busy_time"`
	// LongestGap is the longest time between two polls, and Gaps are all by length, as Gaps says; since the loop began.
	LongestGap time.Duration `json:"longest_gap"`
	Gaps       Gaps          `json:"gaps"`
	// Queues is how many queues it polls.
	Queues int `json:"queues"`
	// Memory is the address space in bytes that its tables reserve.
	Memory uint64 `json:"memory"`
	// KeepsTurn is whether it has a CPU of its own and Go's scheduler does not take it off its thread every 10 ms, since Start.
	KeepsTurn bool `json:"keeps_turn"`
}

// Stats is safe at any time. Rounds and Busy are updated every few thousand rounds and when the worker idles, times and gaps when
// an epoch ends. All of them begin anew with Start.
func (w *Worker) Stats() Stats {
	s := Stats{Rounds: w.rounds.Load(), Busy: w.busy.Load(), Queues: w.queuesN, Memory: w.memory, KeepsTurn: w.keeps.Load()}
	w.times.load(&s)
	return s
}

// run is the worker's goroutine.
func (w *Worker) run(ready chan<- error, done chan<- struct{}) {
	defer close(done)
	runtime.LockOSThread() // never unlocked: a pinned thread ends with its goroutine
	if w.pin != nil {
		if err := w.pin(); err != nil {
			ready <- err
			return
		}
	}
	if w.pin != nil || w.idle == IdleSleep {
		w.turns = turn.Take()
		defer w.turns.Give()
	}
	w.keeps.Store(w.pin != nil && w.turns.On())
	w.touch()
	w.shard.Enter()
	defer w.shard.Leave()
	ready <- nil
	w.loop()
}

// touch takes the memory that the first packets need.
func (w *Worker) touch() {
	w.shard.Touch()
	if w.tracker != nil {
		w.tracker.Touch()
	}
}

// turnRounds is after how many rounds a turn is kept: 64 full bursts of the dearest packets last well under its 10 ms.
const turnRounds = 64

func (w *Worker) loop() {
	var pace pacer
	pace.start = time.Now()
	pace.sleeps = NewSleeper(&w.turns, w.queues...)
	pace.sleeps.bell, pace.sleeps.due = w.bell, w.due
	var rounds, busy uint64
	owner := w.pin != nil
	h := w.shard.Poll()
	defer func() {
		w.rounds.Store(rounds)
		w.busy.Store(busy)
		w.times.store(&pace.times, time.Since(pace.start))
	}()
	for !w.stop.Load() {
		pace.gap(h) // a gap in which an epoch ended belongs to the next
		n := 0
		for i, q := range w.queues {
			if got := q.RxBurst(&w.burst); got > 0 {
				w.count(h, &w.burst, w.links[i])
				q.Release(&w.burst)
				n += got
			}
		}
		rounds++
		if owner && rounds%turnRounds == 0 {
			w.turns.Keep()
		}
		if n > 0 {
			busy++
		}
		if n == 0 || rounds&0xfff == 0 {
			w.rounds.Store(rounds)
			w.busy.Store(busy)
		}
		if pace.mayTurn(n) { // the epoch's handover, once a round
			if now := w.shard.Poll(); now != h {
				h = now
				w.times.store(&pace.times, pace.last)
			}
		}
		pace.idle(w.idle, n)
	}
}

// due reports whether there is something that the loop must not sleep through.
func (w *Worker) due() bool { return w.stop.Load() || w.shard.Due() }

// Process counts one burst at once, in the caller's goroutine: for tests, benchmarks and tools. The worker must not be
// running. The caller owns the burst and releases it.
func (w *Worker) Process(b *port.Burst, lt wire.LinkType) {
	w.count(w.shard.Poll(), b, lt)
}
