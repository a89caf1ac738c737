package alone

import (
	"cmp"
	"slices"
	"time"
)

// Moved is what Clear has moved.
type Moved struct {
	// Threads are the kernel's, Interrupts and WorkQueues masks of processors; Fixed is how many of all of them could not be changed.
	Threads, Interrupts, WorkQueues, Fixed int
}

// Ran is how long somebody ran.
type Ran struct {
	Name string
	Time time.Duration
}

// Usage is what a processor has done until now.
type Usage struct {
	// Threads is the run time of the kernel's threads that are bound to this processor alone, by name.
	Threads map[string]time.Duration
	// Interrupts is the time in interrupts and their soft halves, Stolen that which the machine's host took away; to the hundredth of a second.
	Interrupts, Stolen time.Duration
}

// Since is what was done since an earlier Usage: threads that ran, longest first.
func (u Usage) Since(before Usage) (threads []Ran, interrupts, stolen time.Duration) {
	for name, t := range u.Threads {
		if d := t - before.Threads[name]; d > 0 {
			threads = append(threads, Ran{name, d})
		}
	}
	slices.SortFunc(threads, func(x, y Ran) int {
		return cmp.Or(cmp.Compare(y.Time, x.Time), cmp.Compare(x.Name, y.Name))
	})
	return threads, u.Interrupts - before.Interrupts, u.Stolen - before.Stolen
}
