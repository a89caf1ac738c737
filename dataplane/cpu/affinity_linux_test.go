package cpu

import (
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"testing"
)

func TestHostAndPin(t *testing.T) {
	topo, err := Host()
	if err != nil {
		t.Fatal(err)
	}
	before, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1]
	if _, ok := topo.find(last); !ok {
		t.Errorf("processor %d, on which we may run, is not in %+v", last, topo)
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, pinned as it is
		err := Pin(last)
		if got, _ := Affinity(); err == nil && !reflect.DeepEqual(got, []int{last}) {
			t.Errorf("after Pin(%d) the thread may run on %v", last, got)
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	for _, id := range []int{-1, 1 << 20} {
		if Pin(id) == nil {
			t.Errorf("Pin(%d): no error", id)
		}
	}
}

// TestSetProcess runs in a child, since it changes the whole process.
func TestSetProcess(t *testing.T) {
	if os.Getenv("WEIR_CPU_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSetProcess$", "-test.v")
		cmd.Env = append(os.Environ(), "WEIR_CPU_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	all, err := Affinity()
	if err != nil {
		t.Fatal(err)
	}
	if err := SetProcess(all[:1]); err != nil {
		t.Fatal(err)
	}
	for range 20 { // new threads inherit it
		got := make(chan []int)
		go func() {
			runtime.LockOSThread()
			ids, _ := Affinity()
			got <- ids
		}()
		if ids := <-got; !reflect.DeepEqual(ids, all[:1]) {
			t.Errorf("a thread may run on %v, want %v", ids, all[:1])
		}
	}
}
