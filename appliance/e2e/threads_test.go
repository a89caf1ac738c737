package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/tools/lab"
)

// allowed lists where each thread of the appliance may run, sorted.
func allowed(w *lab.Weir) (list []string, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", w.PID()))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // it ended meanwhile
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if cpus, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
				list = append(list, strings.TrimSpace(cpus))
			}
		}
	}
	slices.Sort(list)
	return list, err
}

// TestThreadsStayOffTheWorkersProcessor: the worker owns its processor, and every other thread of the process stays on the rest,
// also after ports were changed; workers that share processors leave all threads free again.
func TestThreadsStayOffTheWorkersProcessor(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() != 2 {
		t.Skipf("this machine has %d processors; the test knows what to expect of 2", runtime.NumCPU())
	}
	r := newRig(t, 1)
	config := func(port, workers string) string {
		return r.Base() + fmt.Sprintf("ports: [{driver: afpacket, device: w0, options: {%s}}]\nworkers: {%s}\ntick: 100ms\n", port, workers)
	}
	w := r.start(config("", "idle: pause"))
	pinned := func(what string) {
		t.Helper()
		r.wait(what, func() (bool, error) {
			list, err := allowed(w)
			if err != nil || len(list) < 4 {
				return false, fmt.Errorf("threads may run on %v: %w", list, err)
			}
			if list[len(list)-1] != "1" || slices.ContainsFunc(list[:len(list)-1], func(s string) bool { return s != "0" }) {
				return false, fmt.Errorf("threads may run on %v", list)
			}
			return true, nil
		})
	}
	pinned("one thread on processor 1 and all others on 0")
	commit(t, w, config("block_size: 262144", "idle: pause, cpus: [1]"))
	pinned("the same after a change of ports")
	var ports []api.Port
	r.wait("the worker's place in show interfaces", func() (bool, error) {
		err := w.Get("interfaces", &ports)
		return err == nil && len(ports) == 1 && len(ports[0].Workers) == 1 && ports[0].Workers[0].CPU == 1 &&
			ports[0].Workers[0].Idle == "pause" && ports[0].Link != nil && ports[0].Link.State == "up", fmt.Errorf("%+v: %w", ports, err)
	})
	commit(t, w, config("", "idle: sleep"))
	r.wait("threads that may run anywhere", func() (bool, error) {
		list, err := allowed(w)
		return err == nil && len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return s != "0-1" }), fmt.Errorf("threads may run on %v: %w", list, err)
	})
	for _, want := range []string{
		"cpu 1, node 0: a core without another worker", "cpu 1, node 0: configured", "not pinned: workers that sleep share", "housekeeping            cpu 0,",
	} {
		r.wait("word of the log: "+want, func() (bool, error) { return strings.Contains(w.Log(), want), nil })
	}
}
