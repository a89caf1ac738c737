package versus

import (
	"slices"
	"time"
)

// Run is one measurement of one side.
type Run struct {
	// Nanoseconds of CPU a packet: everything that the process used while there was traffic.
	Nanoseconds float64 `json:"ns"`
	// Net is Nanoseconds without what the process uses when there is no traffic.
	Net float64 `json:"net_ns"`
	// Idle is the share of a processor that the process uses without traffic.
	Idle float64 `json:"idle"`
	// Offered is the rate at which packets came through the cable, in packets a second.
	Offered float64 `json:"offered"`
	// Delivered is how many packets came through the cable, Counted how many of them the side says it has received.
	Delivered uint64 `json:"delivered"`
	Counted   uint64 `json:"counted"`
	// Elapsed is how long they were sent.
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Missed is the share of the packets that the side has not counted.
func (r Run) Missed() float64 {
	if r.Delivered == 0 {
		return 0
	}
	return float64(r.Delivered-min(r.Counted, r.Delivered)) / float64(r.Delivered)
}

// Result is what the repetitions of one side in one scenario gave.
type Result struct {
	Scenario Scenario `json:"-"`
	Side     Side     `json:"-"`
	// Rate is what was asked for, in packets a second; 0 is as fast as the cable takes them.
	Rate int
	// Runs are the repetitions in their order.
	Runs []Run
	// Missing says why there are none.
	Missing string
}

// pick sorts what f says of each run.
func (r Result) pick(f func(Run) float64) (values []float64) {
	for _, x := range r.Runs {
		values = append(values, f(x))
	}
	slices.Sort(values)
	return values
}

// median of the sorted values, the upper one of two.
func (r Result) median(f func(Run) float64) float64 {
	values := r.pick(f)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}

// Nanoseconds are those of all runs, sorted.
func (r Result) Nanoseconds() []float64 {
	return r.pick(func(x Run) float64 { return x.Nanoseconds })
}

// Median is the median of Run.Nanoseconds, and 0 without a run.
func (r Result) Median() float64 { return r.median(func(x Run) float64 { return x.Nanoseconds }) }

// Against divides each run's figure by what f says of the other's run of the same turn, and returns the least and the greatest of these.
// ok is false without two turns.
func (r Result) Against(x Result, f func(Run) float64) (least, most float64, ok bool) {
	n := min(len(r.Runs), len(x.Runs))
	for i := range n {
		v := f(x.Runs[i])
		if v == 0 {
			return 0, 0, false
		}
		v = r.Runs[i].Nanoseconds / v
		if i == 0 {
			least, most = v, v
		}
		least, most = min(least, v), max(most, v)
	}
	return least, most, n > 1
}

// Net is the median of Run.Net.
func (r Result) Net() float64 { return r.median(func(x Run) float64 { return x.Net }) }

// Offered is the median of Run.Offered.
func (r Result) Offered() float64 { return r.median(func(x Run) float64 { return x.Offered }) }

// Missed is the median of Run.Missed.
func (r Result) Missed() float64 { return r.median(Run.Missed) }

// Best is the least of Run.Missed.
func (r Result) Best() float64 {
	if values := r.pick(Run.Missed); len(values) > 0 {
		return values[0]
	}
	return 0
}

// Loses reports whether what is missing was lost: where a side cannot parse some packets, its count does not tell.
func (r Result) Loses() bool { return r.Missed() > 0 && (!r.Scenario.Odd || r.Side.Kind != Peer) }
