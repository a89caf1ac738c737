package flows

import (
	"time"

	"golang.org/x/sys/unix"
)

func threadID() int { return unix.Gettid() }

// threadTime is the CPU time of a thread of this process: a clock's number is made of the thread's (clock_getcpuclockid(3)).
func threadTime(tid int) time.Duration {
	const perThread = 4 | 2
	return cpuTime(^int32(tid)<<3 | perThread)
}
