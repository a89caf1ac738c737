package alone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// move is what was changed, and what it was before.
type move struct {
	Moved
	root string // of /proc and /sys
	cpu  int

	masks    []mask
	affinity map[int]unix.CPUSet // by thread
	stuck    map[int]bool
}

// mask is a file with a hexadecimal mask of processors.
type mask struct{ path, old string }

func newMove(root string, cpu int) *move {
	return &move{root: root, cpu: cpu, affinity: make(map[int]unix.CPUSet), stuck: make(map[int]bool)}
}

// files changes the masks of work queues and interrupts.
func (m *move) files() {
	paths, _ := filepath.Glob(filepath.Join(m.root, "proc/irq/*/smp_affinity")) // the pattern is good
	for _, path := range append(paths, filepath.Join(m.root, "proc/irq/default_smp_affinity")) {
		m.Interrupts += m.change(path)
	}
	m.WorkQueues = m.change(filepath.Join(m.root, "sys/devices/virtual/workqueue/cpumask"))
}

// change takes the processor out of a file's mask, and returns 1 when it was in it and could be.
func (m *move) change(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	old := strings.TrimSpace(string(text))
	wanted, ok := without(old, m.cpu)
	if !ok {
		return 0
	}
	if os.WriteFile(path, []byte(wanted), 0) != nil { // an interrupt that belongs to a processor
		m.Fixed++
		return 0
	}
	m.masks = append(m.masks, mask{path, old})
	return 1
}

// without is a mask, 32 bits a word, the highest first, without a processor. ok is false when it was not in it, or alone.
func without(text string, cpu int) (wanted string, ok bool) {
	words := strings.Split(text, ",")
	at, left := len(words)-1-cpu/32, uint64(0)
	for i, w := range words {
		v, err := strconv.ParseUint(w, 16, 32)
		if err != nil {
			return "", false
		}
		if bit := uint64(1) << (cpu % 32); i == at && v&bit != 0 {
			ok = true
			v &^= bit
			words[i] = fmt.Sprintf("%0*x", len(w), v)
		}
		left |= v
	}
	return strings.Join(words, ","), ok && left != 0
}

// threads moves the kernel's threads that may run on the processor and on others.
func (m *move) threads() {
	for _, tid := range kernelThreads(m.root) {
		if _, known := m.affinity[tid]; known || m.stuck[tid] {
			continue
		}
		var set unix.CPUSet
		if unix.SchedGetaffinity(tid, &set) != nil || !set.IsSet(m.cpu) || set.Count() < 2 {
			continue
		}
		old := set
		set.Clear(m.cpu)
		switch err := unix.SchedSetaffinity(tid, &set); {
		case err == nil:
			m.affinity[tid] = old
			m.Threads++
		case !errors.Is(err, unix.ESRCH):
			m.stuck[tid] = true
			m.Fixed++
		}
	}
}

// restore puts back what is still as it was left, the last change first.
func (m *move) restore() error {
	var errs []error
	for i := len(m.masks) - 1; i >= 0; i-- {
		err := os.WriteFile(m.masks[i].path, []byte(m.masks[i].old), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the interrupt is gone
			errs = append(errs, err)
		}
	}
	for tid, old := range m.affinity {
		var now unix.CPUSet
		if unix.SchedGetaffinity(tid, &now) != nil || now.IsSet(m.cpu) { // gone, or another thread by now
			continue
		}
		if err := unix.SchedSetaffinity(tid, &old); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("thread %d: %w", tid, err))
		}
	}
	m.masks, m.affinity = nil, nil
	return errors.Join(errs...)
}

// Flags of a task (linux/sched.h).
const pfKthread = 0x00200000

// kernelThreads are the ids of the kernel's own threads.
func kernelThreads(root string) (tids []int) {
	files, _ := filepath.Glob(filepath.Join(root, "proc/[0-9]*/stat")) // the pattern is good
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		s, ok := parseStat(string(text))
		if ok && s.flags&pfKthread != 0 {
			tids = append(tids, s.tid)
		}
	}
	return tids
}

// stat is the part of a task's /proc/.../stat that is wanted here.
type stat struct {
	tid   int
	name  string
	flags uint64
}

// parseStat reads "tid (name) state ppid pgrp session tty tpgid flags ..."; a name may hold anything.
func parseStat(text string) (s stat, ok bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return s, false
	}
	tid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	rest := strings.Fields(text[end+1:])
	if err != nil || len(rest) < 7 {
		return s, false
	}
	flags, err := strconv.ParseUint(rest[6], 10, 64)
	return stat{tid, text[open+1 : end], flags}, err == nil
}
