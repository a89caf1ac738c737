package dpdk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// used is the run time of all threads of a process, as the scheduler knows it.
func used(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(fmt.Errorf("process %d has no threads", pid), err)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread may end meanwhile
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

const pagesKey = "/proc/sys/vm/nr_hugepages"

// reserve makes the kernel keep n more huge pages, and returns what undoes it, and whether they were there to be had.
func reserve(n int) (restore func(), ok bool) {
	read := func() (int, string) {
		text, err := os.ReadFile(pagesKey)
		if err != nil {
			return 0, ""
		}
		v, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return 0, ""
		}
		return v, string(text)
	}
	write := func(text string) { _ = os.WriteFile(pagesKey, []byte(text), 0) } // what was written is read back
	before, text := read()
	if text == "" {
		return func() {}, false
	}
	write(strconv.Itoa(before + n))
	after, _ := read()
	if after < before+n {
		write(text)
		return func() {}, false
	}
	return func() { write(text) }, true
}
