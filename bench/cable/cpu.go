package cable

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// SenderCPU is the generator's processor.
func SenderCPU() int { return 0 }

// ReceiverCPU is the processor of what is measured: another one, when there are two.
func ReceiverCPU() int { return min(1, runtime.NumCPU()-1) }

// CPUTime is the run time of all threads of a process that are alive, as the scheduler knows it.
func CPUTime(pid int) time.Duration {
	run, _ := Usage(pid)
	return run
}

// Usage is CPUTime, and for how long those threads have waited for a processor in all.
func Usage(pid int) (run, wait time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
	for _, f := range files {
		var a, b time.Duration
		if text, err := os.ReadFile(f); err == nil { // a thread may end meanwhile
			_, _ = fmt.Sscan(string(text), &a, &b)
		}
		run, wait = run+a, wait+b
	}
	return run, wait
}
