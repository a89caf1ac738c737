package rate

import "time"

// Flows are distinct 5-tuples per second. A snapshot counts the flows that are new in it: to a second that began with the last
// snapshot whose FlowsKept is false, or, where a tick fills a second, to itself.
//
// With such long ticks the counts of the window are added up and divided, like everything else. With shorter ones the rate is
// that of one second, whatever the window is. The count of the second that is not over yet can only grow, so it is judged at
// once, but until it is complete the rate is not less than that of the second before: a flow that lasts is counted as each
// second begins, so the sum over any other second, the last ten ticks for example, can hold it twice when it began less than
// a second ago, and would ban a host whose traffic came back after an interruption.

// fullEpoch is from how long an epoch on its flows can be added to those of the next, as FastNetMon does each second.
const fullEpoch = 900 * time.Millisecond

// ticksPerSecond is how many ticks make up the second that flows are counted over. A fifth of a tick may be missing.
func ticksPerSecond(tick time.Duration) int {
	return max(1, int((time.Second-tick/5+tick-1)/tick))
}

// flowSpan says which snapshots of the ring flows are taken from.
type flowSpan struct {
	// perTick says that a tick fills a second. Then first is where the window begins, span what it is divided by, and add
	// whether its counts can be added up.
	perTick bool
	first   int
	span    time.Duration
	add     bool

	// Otherwise the present second begins at begin and divides by measured; whole says that it is complete.
	begin    int
	measured time.Duration
	whole    bool
	// The last second, wherever it began, is the snapshots from last on, and takes lastSpan.
	last     int
	lastSpan time.Duration
}

// measure looks at a ring with at least one snapshot.
func (f *flowSpan) measure(ring []Snapshot) {
	slack := ring[len(ring)-1].Elapsed() / 5
	f.last, f.lastSpan = len(ring), 0
	for f.last > 0 && f.lastSpan+slack < time.Second {
		f.last--
		f.lastSpan += ring[f.last].Elapsed()
	}
	f.begin, f.measured = len(ring)-1, ring[len(ring)-1].Elapsed()
	for f.begin > 0 && ring[f.begin].FlowsKept() {
		f.begin--
		f.measured += ring[f.begin].Elapsed()
	}
	f.whole = f.measured+slack >= time.Second
	// What was not measured counts as silent.
	if !f.whole {
		f.measured = time.Second
	}
	if f.lastSpan+slack < time.Second {
		f.lastSpan = time.Second
	}
}

// flowCount adds up flows as a flowSpan says.
type flowCount struct {
	sum, largest uint64 // over the window, where a tick fills a second
	begun, last  uint64 // in the present second, and in the last one wherever it began
}

func (c *flowCount) add(f *flowSpan, i int, flows uint64) {
	if f.perTick {
		if i >= f.first {
			c.sum += flows
			c.largest = max(c.largest, flows)
		}
		return
	}
	if i >= f.begin {
		c.begun += flows
	}
	if i >= f.last {
		c.last += flows
	}
}

// begunRate is the rate of the present second: a lower bound until that is complete. Where a tick fills a second it is the rate.
func (c *flowCount) begunRate(f *flowSpan) float64 {
	switch {
	case !f.perTick:
		return float64(c.begun) / f.measured.Seconds()
	case f.add:
		return float64(c.sum) / f.span.Seconds()
	default: // a tick came early; the flows of the next may be the same ones
		return float64(c.largest)
	}
}

// rate is the flows per second where the rate of the second before is known.
func (c *flowCount) rate(f *flowSpan, before float64) float64 {
	if f.perTick || f.whole {
		return c.begunRate(f)
	}
	return max(c.begunRate(f), before)
}

// shown is the flows per second where it is not known: for hosts far below every limit, so that no decision depends on it.
func (c *flowCount) shown(f *flowSpan) float64 {
	if f.perTick || f.whole {
		return c.begunRate(f)
	}
	return max(c.begunRate(f), float64(c.last)/f.lastSpan.Seconds())
}
