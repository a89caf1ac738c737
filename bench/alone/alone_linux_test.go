package alone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Child()
	os.Exit(m.Run())
}

func TestWithout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		cpu  int
		want string
		ok   bool
	}{
		{"3", 1, "1", true},
		{"3", 0, "2", true},
		{"1", 1, "", false},
		{"2", 1, "", false}, // it has no other
		{"ff", 3, "f7", true},
		{"ffffffff,ffffffff", 33, "fffffffd,ffffffff", true},
		{"00000001,00000000", 32, "", false},
		{"00000003,00000000", 32, "00000002,00000000", true},
		{"3", 40, "", false},
		{"none", 1, "", false},
		{"", 0, "", false},
	} {
		if got, ok := without(c.text, c.cpu); ok != c.ok || ok && got != c.want {
			t.Errorf("%q without %d: %q %t, want %q %t", c.text, c.cpu, got, ok, c.want, c.ok)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	s, ok := parseStat("22 (a) b (c) S 2 0 0 0 -1 2129984 0 0")
	if !ok || s != (stat{22, "a) b (c", 2129984}) || s.flags&pfKthread == 0 {
		t.Errorf("%+v %t", s, ok)
	}
	for _, bad := range []string{"", "22 (a", "22 a) S", "x (a) S 2 0 0 0 -1 7", "22 (a) S 2 0", "22 (a) S 2 0 0 0 -1 x", ")1 ("} {
		if s, ok := parseStat(bad); ok {
			t.Errorf("%q is %+v", bad, s)
		}
	}
	for comm, want := range map[string]string{
		"kworker/1:1-mm_percpu_wq\n": "kworker/1:1", "kworker/1:1H+kblockd": "kworker/1:1H", "kworker/1:2": "kworker/1:2", "ksoftirqd/1\n": "ksoftirqd/1",
		"idle_inject/1-x": "idle_inject/1-x",
	} {
		if got := threadName(comm); got != want {
			t.Errorf("%q is %q, want %q", comm, got, want)
		}
	}
	const text = "cpu  9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu10 1 1 1 1 1 1 1 1\ncpu1 0 0 0 0 0 150 50 25 0 0\n"
	if irq, stolen, err := parseCPU(text, 1); irq != 2*time.Second || stolen != time.Second/4 || err != nil {
		t.Error(irq, stolen, err)
	}
	for _, bad := range []string{"", "cpu1 0 0 0 x\n"} {
		if _, _, err := parseCPU(bad, 1); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	a := Usage{Threads: map[string]time.Duration{"a": 1, "b": 5, "c": 7}, Interrupts: 3, Stolen: 1}
	b := Usage{Threads: map[string]time.Duration{"a": 2, "b": 9, "c": 7, "d": 1}, Interrupts: 5, Stolen: 1}
	threads, irq, stolen := b.Since(a)
	if !slices.Equal(threads, []Ran{{"b", 4}, {"a", 1}, {"d", 1}}) || irq != 2 || stolen != 0 {
		t.Error(threads, irq, stolen)
	}
}

// machine is a tree like that of a machine on which only the thread tid is the kernel's.
func machine(t *testing.T, tid int) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/irq/24/smp_affinity":                     "3\n",
		"proc/irq/25/smp_affinity":                     "1\n",
		"proc/irq/default_smp_affinity":                "3\n",
		"sys/devices/virtual/workqueue/cpumask":        "3\n",
		fmt.Sprintf("proc/%d/stat", tid):               fmt.Sprintf("%d (worker) S 2 0 0 0 -1 %d 0", tid, pfKthread),
		fmt.Sprintf("proc/%d/stat", os.Getppid()):      fmt.Sprintf("%d (go) S 2 0 0 0 -1 0 0", os.Getppid()),
		fmt.Sprintf("proc/%d/stat", 1<<22+os.Getpid()): fmt.Sprintf("%d (gone) S 2 0 0 0 -1 %d 0", 1<<22+os.Getpid(), pfKthread),
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// masks are the contents of a machine's files.
func masks(t *testing.T, root string) (all string) {
	t.Helper()
	for _, name := range []string{"proc/irq/24/smp_affinity", "proc/irq/25/smp_affinity", "proc/irq/default_smp_affinity", "sys/devices/virtual/workqueue/cpumask"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all += string(bytes.TrimSpace(text)) + " "
	}
	return all
}

// TestHold: what can be moved is moved, and is put back when the asker is gone; a thread of this process stands for the kernel's.
func TestHold(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() < 2 {
		t.Skip("there is no other processor to move to")
	}
	type threadState struct {
		tid int
		set unix.CPUSet
	}
	started, stop := make(chan threadState), make(chan struct{})
	defer close(stop)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		s := threadState{tid: unix.Gettid()}
		_ = unix.SchedGetaffinity(0, &s.set) // an empty set skips below
		started <- s
		<-stop
	}()
	thread := <-started
	if !thread.set.IsSet(1) || !thread.set.IsSet(0) {
		t.Skip("this process may not run on processors 0 and 1")
	}
	root := machine(t, thread.tid)
	in, asker := io.Pipe()
	answer, out := io.Pipe()
	done := make(chan error)
	go func() { done <- hold(newMove(root, 1), in, out, time.Millisecond) }()
	var moved Moved
	if err := json.NewDecoder(answer).Decode(&moved); err != nil {
		t.Fatal(err)
	}
	if moved != (Moved{Threads: 1, Interrupts: 2, WorkQueues: 1}) {
		t.Errorf("%+v", moved)
	}
	if got := masks(t, root); got != "1 1 1 1 " {
		t.Error(got)
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(thread.tid, &now); err != nil || now.IsSet(1) || !now.IsSet(0) {
		t.Error(now, err)
	}
	if err := asker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := masks(t, root); got != "3 1 3 3 " {
		t.Error(got)
	}
	if err := unix.SchedGetaffinity(thread.tid, &now); err != nil || now != thread.set {
		t.Error(now, err)
	}
}

// TestOf: the processor's own threads have run.
func TestOf(t *testing.T) {
	t.Parallel()
	u, err := Of(0)
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Threads) == 0 {
		t.Skip("a container shows no threads of the kernel")
	}
	if u.Threads["ksoftirqd/0"] == 0 {
		t.Errorf("%+v", u)
	}
	if _, err := Of(1 << 20); err == nil {
		t.Error("a processor that is not there has a usage")
	}
}
