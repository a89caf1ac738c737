package worker

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps in the calling thread, which is the goroutine's own: time.Sleep would hand the thread's turn over and back, at more
// than twice the cost, and could not sleep for less than a millisecond. A signal ends it early, which is harmless.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
}
