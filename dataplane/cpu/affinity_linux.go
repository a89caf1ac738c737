package cpu

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Host is the topology of this machine, restricted to the processors on which this thread may run
// (a container's cpuset, taskset). Call it before the process changes its own affinity.
func Host() (Topology, error) {
	t, err := Read(os.DirFS("/sys"))
	if err != nil {
		return Topology{}, err
	}
	allowed, err := Affinity()
	if err != nil {
		return Topology{}, err
	}
	// Isolated processors are usually outside the default mask of a process, yet free for whoever asks.
	for _, c := range t.CPUs {
		if c.Isolated && grants(c.ID) {
			allowed = append(allowed, c.ID)
		}
	}
	return t.Restrict(allowed), nil
}

// grants tries whether a thread may run on a processor: a container's cpuset may leave it out.
func grants(id int) bool {
	ok := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		ok <- setAffinity(0, []int{id}) == nil
	}()
	return <-ok
}

// Affinity lists the processors on which the calling thread may run.
func Affinity() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var ids []int
	for id := range len(set) * 64 {
		if set.IsSet(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Pin binds the calling thread to one processor. The caller must have called runtime.LockOSThread.
// Threads that Go starts later do not inherit it, since the runtime starts them from an unlocked thread.
func Pin(id int) error { return setAffinity(0, []int{id}) }

// SetProcess binds every thread that the process has now to the processors, and with them those that the runtime starts later.
// Call it before the workers pin themselves.
func SetProcess(ids []int) error {
	done := make(map[int]bool)
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		added := false
		for _, th := range threads {
			tid, err := strconv.Atoi(th.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid], added = true, true
			if err := setAffinity(tid, ids); err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it ended meanwhile
				return err
			}
		}
		if !added { // a thread started while we looked: once more
			return nil
		}
	}
}

func setAffinity(tid int, ids []int) error {
	var set unix.CPUSet
	for _, id := range ids {
		if id < 0 || id >= len(set)*64 {
			return fmt.Errorf("sched_setaffinity: processor %d is out of range", id)
		}
		set.Set(id)
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("sched_setaffinity to processors %s: %w", FormatList(ids), err)
	}
	return nil
}
