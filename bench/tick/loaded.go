package tick

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/weir-ddos/weir/bench/feed"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// LineRate is how many of the shortest frames 10-gigabit Ethernet carries in a second.
const LineRate = 14_880_952

// LoadedCase is a tick beside a worker that has no time to spare.
type LoadedCase struct {
	feed.Config
	// Ticks is how many are measured, one each Every.
	Ticks int
	Every time.Duration
}

// Stretch is what a worker did for some time.
type Stretch struct {
	// Rate is packets a second, by the clock; Offered is what came, when it was paced.
	Rate, Offered float64
	// Lost is the part of what came that found a ring of feed.ShortDepth full, and LostDeep one of feed.Depth.
	Lost, LostDeep float64
	// Longest is the longest gap between two polls, and Long how many were of 5 ms or more.
	Longest time.Duration
	Long    uint64
}

// LoadedResult is what a LoadedCase gave.
type LoadedResult struct {
	LoadedCase
	// Times and CPU are the ticks beside a worker at full rate, sorted, as in Result.
	Times, CPU []time.Duration
	// Fewest is how many hosts were active in the tick with the fewest, and Late how many ticks the worker did not answer.
	Fewest, Late int
	// Alone is a worker at full rate without ticks, Ticked one with them.
	Alone, Ticked Stretch
	// PacedAlone and Paced are the same at LineRate, or at 80 percent of the rate of Ticked if that is less, and Polled is a loop that only
	// polls: each figure the median of pacedTurns stretches. Added and AddedDeep are the medians of what Paced lost more than the PacedAlone of the
	// same turn, below zero when it lost less.
	PacedAlone, Paced, Polled Stretch
	Added, AddedDeep          float64
}

// loaded is a world whose shard a real worker fills.
type loaded struct {
	*world
	queue  *feed.Queue
	worker *worker.Worker
	sum    uint64 // packets counted
	fewest int    // hosts in a tick
	late   int
}

// RunLoaded measures a case: the worker on the second processor, the tick on the first. Every packet that the worker took is
// counted in exactly one tick, or that is an error.
func RunLoaded(c LoadedCase) (r LoadedResult, err error) {
	r.LoadedCase = c
	if runtime.NumCPU() < 2 {
		return r, errors.New("the worker and the tick need a processor each")
	}
	l, err := newLoaded(c)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	release, err := confine(0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	runtime.LockOSThread() // for the run time of the tick
	defer runtime.UnlockOSThread()
	if err := l.worker.Start(context.Background()); err != nil {
		return r, err
	}
	for range 3 { // the pages of both halves and of the snapshots
		if err := l.round(c.Every, nil); err != nil {
			return r, err
		}
	}
	if err := l.stretches(c, &r); err != nil {
		return r, err
	}
	return r, l.settle()
}

// stretches makes the four, the two of a pair in turn.
func (l *loaded) stretches(c LoadedCase, r *LoadedResult) error {
	var err error
	if r.Alone, err = l.stretch(c, nil); err != nil {
		return err
	}
	l.fewest, l.late = c.Hosts, 0
	if r.Ticked, err = l.stretch(c, r); err != nil {
		return err
	}
	r.Fewest, r.Late = l.fewest, l.late
	l.queue.SetRate(uint64(min(LineRate, r.Ticked.Rate*0.8)))
	if err = l.round(c.Every, nil); err != nil {
		return err
	}
	return l.paced(c.Every, r)
}

// pacedTurns is how often those at a given rate take turns. It is odd.
const pacedTurns = 11

// paced makes the turns at a given rate.
func (l *loaded) paced(every time.Duration, r *LoadedResult) error {
	wait := func() error { time.Sleep(every); return nil }
	ticked := func() error {
		if err := l.round(every/8, nil); err != nil {
			return err
		}
		time.Sleep(every - every/8) // in which the worker starts every host's row anew
		return nil
	}
	var polled, alone, beside turns
	for range pacedTurns {
		l.queue.SetUnseen(true)
		err := l.turn(&polled, wait)
		l.queue.SetUnseen(false)
		if err == nil {
			err = errors.Join(l.turn(&alone, wait), l.turn(&beside, ticked))
		}
		if err != nil {
			return err
		}
	}
	r.Polled, r.PacedAlone, r.Paced = polled.median(), alone.median(), beside.median()
	r.Added = median(beside.lost, alone.lost)
	r.AddedDeep = median(beside.deep, alone.deep)
	return nil
}

// turns are what several short stretches gave.
type turns struct{ offered, rates, lost, deep []float64 }

func (t *turns) median() Stretch {
	return Stretch{Rate: median(t.rates, nil), Offered: median(t.offered, nil), Lost: median(t.lost, nil), LostDeep: median(t.deep, nil)}
}

// median is that of a, or of what a has more than b.
func median(a, b []float64) float64 {
	list := slices.Clone(a)
	for i := range b {
		list[i] -= b[i]
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// turn adds what comes while f runs.
func (l *loaded) turn(t *turns, f func() error) error {
	s, err := l.during(f)
	t.offered, t.rates, t.lost, t.deep = append(t.offered, s.Offered), append(t.rates, s.Rate), append(t.lost, s.Lost), append(t.deep, s.LostDeep)
	return err
}

func newLoaded(c LoadedCase) (*loaded, error) {
	set, err := settings()
	if err != nil {
		return nil, err
	}
	q, err := feed.New(c.Config)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	seed := traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64)
	cfg := worker.DefaultConfig()
	cfg.Idle, cfg.Traffic.Hosts, cfg.Flows.Flows = worker.IdleSpin, c.Hosts, feed.Flows*c.Hosts*5/4+1024
	w, err := worker.New(cfg, worker.Deps{
		Queues: []port.Queue{q}, Decoder: new(wire.Decoder), Nets: set.Nets, Seed: seed, Clock: clock,
		Pin: func() error { return cpu.Pin(1) },
	})
	if err != nil {
		return nil, err
	}
	l := &loaded{world: &world{shard: w.Shard(), now: time.Now()}, queue: q, worker: w}
	if err := l.build(set, seed, clock); err != nil {
		return nil, errors.Join(err, w.Free())
	}
	l.source.each = l.see
	return l, nil
}

// see notes what a tick has counted.
func (l *loaded) see(counted uint64, hosts int) {
	l.sum += counted
	if hosts == 0 { // the next tick has them
		l.late++
		return
	}
	l.fewest = min(l.fewest, hosts)
}

// round waits, makes a tick, and notes its times in r unless that is nil.
func (l *loaded) round(every time.Duration, r *LoadedResult) error {
	time.Sleep(every)
	l.now = time.Now()
	used, began := threadCPU(), time.Now()
	l.engine.Tick(l.now)
	if r != nil {
		r.Times, r.CPU = append(r.Times, time.Since(began)), append(r.CPU, threadCPU()-used)
	}
	return l.source.err
}

// stretch is so many ticks, or the same time without any.
func (l *loaded) stretch(c LoadedCase, ticked *LoadedResult) (s Stretch, err error) {
	gaps := l.worker.Stats()
	l.source.longest = 0
	s, err = l.during(func() error {
		if ticked == nil {
			time.Sleep(time.Duration(c.Ticks) * c.Every)
			return nil
		}
		for range c.Ticks {
			if err := l.round(c.Every, ticked); err != nil {
				return err
			}
		}
		slices.Sort(ticked.Times)
		slices.Sort(ticked.CPU)
		return nil
	})
	if err != nil {
		return s, err
	}
	// The worker tells its gaps when an epoch ends.
	if err := l.round(0, nil); err != nil {
		return s, err
	}
	s.Longest = l.source.longest
	now := l.worker.Stats()
	s.Long = now.Gaps.Over(5*time.Millisecond) - gaps.Gaps.Over(5*time.Millisecond)
	return s, nil
}

// during is what comes while f runs.
func (l *loaded) during(f func() error) (s Stretch, err error) {
	before, err := l.queue.SampleAfter(time.Now())
	if err != nil {
		return s, err
	}
	if err := f(); err != nil {
		return s, err
	}
	after, err := l.queue.SampleAfter(time.Now())
	if err != nil {
		return s, err
	}
	elapsed := after.Time.Sub(before.Time).Seconds()
	taken, lost := float64(after.Packets-before.Packets), float64(after.Lost-before.Lost)
	came := taken + lost + float64(after.Unseen-before.Unseen)
	s.Rate, s.Offered = taken/elapsed, came/elapsed
	s.Lost, s.LostDeep = float64(after.LostShort-before.LostShort)/came, lost/came
	return s, nil
}

// settle stops the worker and holds what was counted against what it took.
func (l *loaded) settle() error {
	if err := l.worker.Stop(); err != nil {
		return err
	}
	for range 4 { // a request under way, and both halves
		if err := l.round(0, nil); err != nil {
			return err
		}
	}
	if taken, _ := l.queue.Taken(); l.sum != taken {
		return fmt.Errorf("%d packets counted of %d", l.sum, taken)
	}
	return nil
}

func (l *loaded) close() error {
	return errors.Join(l.worker.Stop(), l.merger.Free(), l.worker.Free())
}

// gcPercent lets about as much garbage gather as the appliance's memory.headroom does.
const gcPercent = 2000

// confine keeps every thread of the process but the worker's on one processor, as the appliance does, until the function that it
// returns is called.
func confine(id int) (func() error, error) {
	all, err := cpu.Affinity()
	if err == nil {
		err = cpu.SetProcess([]int{id})
	}
	if err != nil {
		return nil, err
	}
	procs := runtime.GOMAXPROCS(3) // cpu.Plan's advice for one worker
	return func() error {
		runtime.GOMAXPROCS(procs)
		return cpu.SetProcess(all)
	}, nil
}

// LoadedCases are both families.
func LoadedCases(hosts, ticks int) []LoadedCase {
	return []LoadedCase{
		{Config: feed.Config{Hosts: hosts}, Ticks: ticks, Every: time.Second},
		{Config: feed.Config{Hosts: hosts, IPv6: true}, Ticks: ticks, Every: time.Second},
	}
}
