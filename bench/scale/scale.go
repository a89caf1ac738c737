// Package scale measures what a second worker adds: real workers, each spinning on a processor of its own with its own queue of
// packets from memory, one alone and two at a time, in turns.
//
// A rate is packets by the run time of the worker's own thread, so that time stolen by others on the machine is not in it;
// what two workers take from each other (caches, memory, a line that both write) is. The rate by the clock is given next to it.
package scale

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/weir-ddos/weir/bench/feed"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// Case is one measurement.
type Case struct {
	feed.Config
	// Time is how long each run is measured, and Repeat how many there are of each number of workers.
	Time   time.Duration
	Repeat int
}

// Rates are packets a second of all workers of a run together: by their threads' run time, and by the clock.
type Rates struct{ CPU, Clock float64 }

// Result is what a Case gave: the rates of each run.
type Result struct {
	Case
	One, Two []Rates
}

// Ratios are each run of two workers by the mean of the runs of one before and after it.
func (r *Result) Ratios() (byCPU, byClock []float64) {
	for i, two := range r.Two {
		a, b := r.One[i], r.One[i+1]
		byCPU = append(byCPU, 2*two.CPU/(a.CPU+b.CPU))
		byClock = append(byClock, 2*two.Clock/(a.Clock+b.Clock))
	}
	slices.Sort(byCPU)
	slices.Sort(byClock)
	return byCPU, byClock
}

// team is workers that count for one merger.
type team struct {
	queues  []*feed.Queue
	workers []*worker.Worker
	merger  *merge.Merger
	counted uint64
}

// Run measures a case. It needs two processors.
func Run(ctx context.Context, c Case) (r Result, err error) {
	r.Case = c
	if runtime.NumCPU() < 2 {
		return r, errors.New("two workers need two processors")
	}
	for i := range 2*c.Repeat + 1 {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		cpus := []int{0, 1}
		if i%2 == 0 {
			cpus = []int{i / 2 % 2}
		}
		rates, err := measure(c, cpus)
		if err != nil {
			return r, fmt.Errorf("%d workers: %w", len(cpus), err)
		}
		if len(cpus) == 1 {
			r.One = append(r.One, rates)
		} else {
			r.Two = append(r.Two, rates)
		}
	}
	return r, nil
}

func measure(c Case, cpus []int) (r Rates, err error) {
	t, err := newTeam(c, cpus)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, t.free()) }()
	for _, w := range t.workers {
		if err := w.Start(context.Background()); err != nil {
			return r, err
		}
	}
	for range 4 { // both halves' pages, twice
		time.Sleep(c.Time / 8)
		if err := t.tick(); err != nil {
			return r, err
		}
	}
	before, err := t.samples()
	if err != nil {
		return r, err
	}
	time.Sleep(c.Time)
	list, err := t.samples()
	if err != nil {
		return r, err
	}
	for i, after := range list {
		packets := float64(after.Packets - before[i].Packets)
		r.CPU += packets / (after.CPU - before[i].CPU).Seconds()
		r.Clock += packets / after.Time.Sub(before[i].Time).Seconds()
	}
	return r, t.finish()
}

func newTeam(c Case, cpus []int) (*team, error) {
	table, err := feed.Networks()
	if err != nil {
		return nil, err
	}
	cfg := worker.DefaultConfig()
	cfg.Idle, cfg.Traffic.Hosts, cfg.Flows.Flows = worker.IdleSpin, c.Hosts, feed.Flows*c.Hosts*5/4+1024
	seed := traffic.NewSeed(rand.New(rand.NewPCG(7, 7)).Uint64)
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) }
	t := new(team)
	if t.merger, err = merge.New(merge.DefaultConfig(), seed, table, clock); err != nil {
		return nil, err
	}
	for _, id := range cpus {
		if err := t.add(c, cfg, table, seed, clock, id); err != nil {
			return nil, errors.Join(err, t.free())
		}
	}
	return t, nil
}

func (t *team) add(c Case, cfg worker.Config, table *nets.Table, seed traffic.Seed, clock func() int64, id int) error {
	q, err := feed.New(c.Config)
	if err != nil {
		return err
	}
	w, err := worker.New(cfg, worker.Deps{
		Queues: []port.Queue{q}, Decoder: new(wire.Decoder), Nets: table, Seed: seed, Clock: clock,
		Pin: func() error { return cpu.Pin(id) },
	})
	if err != nil {
		return err
	}
	t.queues, t.workers = append(t.queues, q), append(t.workers, w)
	return t.merger.Add(w.Shard())
}

// samples are how far the workers are now.
func (t *team) samples() (list []feed.Sample, err error) {
	now := time.Now()
	for _, q := range t.queues {
		s, err := q.SampleAfter(now)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (t *team) tick() error {
	s, err := t.merger.Tick(time.Now())
	if err != nil {
		return err
	}
	defer s.Release()
	t.counted += s.Codes[wire.OK]
	if s.Overflowed.Packets > 0 {
		return fmt.Errorf("%d packets overflowed", s.Overflowed.Packets)
	}
	return s.Conservation
}

// finish stops the workers and holds what was counted against what they took.
func (t *team) finish() error {
	var taken uint64
	for i, w := range t.workers {
		if err := w.Stop(); err != nil {
			return err
		}
		n, _ := t.queues[i].Taken()
		taken += n
	}
	for range 4 { // a request under way, and both halves of each
		if err := t.tick(); err != nil {
			return err
		}
	}
	if t.counted != taken {
		return fmt.Errorf("%d packets counted of %d", t.counted, taken)
	}
	return nil
}

func (t *team) free() error {
	var errs []error
	for _, w := range t.workers {
		errs = append(errs, w.Stop())
	}
	errs = append(errs, t.merger.Free())
	for _, w := range t.workers {
		errs = append(errs, w.Free())
	}
	return errors.Join(errs...)
}
