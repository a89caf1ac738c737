package alone

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// jiffy is the kernel's unit of time in /proc/stat (a second by USER_HZ, the same on every machine that Go runs on).
const jiffy = time.Second / 100

// Of reads a processor's Usage.
func Of(cpu int) (u Usage, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	if u.Interrupts, u.Stolen, err = parseCPU(string(text), cpu); err != nil {
		return u, err
	}
	u.Threads = make(map[string]time.Duration)
	for _, tid := range kernelThreads("/") {
		var set unix.CPUSet
		if unix.SchedGetaffinity(tid, &set) != nil || !set.IsSet(cpu) || set.Count() != 1 {
			continue
		}
		dir := fmt.Sprintf("/proc/%d", tid)
		name, err1 := os.ReadFile(filepath.Join(dir, "comm"))
		times, err2 := os.ReadFile(filepath.Join(dir, "schedstat"))
		var ran time.Duration
		if err1 != nil || err2 != nil {
			continue // it has ended
		}
		if _, err := fmt.Sscan(string(times), &ran); err != nil {
			return u, fmt.Errorf("%s/schedstat: %w", dir, err)
		}
		u.Threads[threadName(string(name))] += ran
	}
	return u, nil
}

// threadName is a thread's name without the work that one of a queue's threads is at, or was at last.
func threadName(comm string) string {
	name := strings.TrimSpace(comm)
	if at := strings.IndexAny(name, "-+"); at > 0 && strings.HasPrefix(name, "kworker/") {
		name = name[:at]
	}
	return name
}

// parseCPU finds a processor's line in /proc/stat: user nice system idle iowait irq softirq steal.
func parseCPU(text string, cpu int) (interrupts, stolen time.Duration, err error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, fmt.Sprintf("cpu%d ", cpu))
		if !ok {
			continue
		}
		var ticks [8]int64
		for i, word := range strings.Fields(rest) {
			if i < len(ticks) {
				if _, err := fmt.Sscan(word, &ticks[i]); err != nil {
					return 0, 0, fmt.Errorf("/proc/stat: %w", err)
				}
			}
		}
		return time.Duration(ticks[5]+ticks[6]) * jiffy, time.Duration(ticks[7]) * jiffy, nil
	}
	return 0, 0, fmt.Errorf("no processor %d in /proc/stat", cpu)
}
