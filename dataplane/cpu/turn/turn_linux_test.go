//go:build amd64 || arm64

package turn

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCheck fails when a new version of Go has its counter elsewhere: look at locate then, and at what runtime.retake reads.
func TestCheck(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
}

// TestTake: one P is always left to the others.
func TestTake(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var keepers [4]Keeper
	for i := range keepers {
		keepers[i] = Take()
		if on := keepers[i].On(); on != (i < 2) {
			t.Errorf("keeper %d of 3 P's: on is %t", i, on)
		}
	}
	keepers[3].Give()
	keepers[0].Give()
	keepers[0].Give()
	if k := Take(); !k.On() {
		t.Error("what was given back cannot be taken")
	} else {
		k.Give()
	}
	keepers[1].Give()
	if n := kept.Load(); n != 0 {
		t.Errorf("%d are kept after all were given back", n)
	}
}

// waits is how often the calling thread has given up its CPU by itself, as it does when its goroutine loses its turn.
func waits(t *testing.T) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/status", unix.Gettid()))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "voluntary_ctxt_switches:"); ok {
			n := 0
			_, err = fmt.Sscan(rest, &n)
			if err != nil {
				t.Error(err)
			}
			return n
		}
	}
	t.Error("no voluntary_ctxt_switches")
	return 0
}

// first puts the calling thread before all others on its CPU: a kernel that lets it wait for 10 ms costs it its turn too.
func first(t *testing.T) bool {
	t.Helper()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		t.Logf("SCHED_FIFO: %v (needs CAP_SYS_NICE)", err)
		return false
	}
	return true
}

// turnTime is how long Go's scheduler leaves a goroutine its turn (forcePreemptNS).
const turnTime = 10 * time.Millisecond

// spin polls on a thread of its own until it was taken off it so often or the time is over. It returns how often it was, how often the
// machine held it up for a turn and longer, which costs the turn however often it is kept, and how long it polled, which is 0 where the
// thread cannot be put before others.
func spin(t *testing.T, keep bool, often int, limit time.Duration) (taken, stalls int, polled time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if !first(t) {
			return
		}
		var k Keeper
		if keep {
			k = Take()
			defer k.Give()
		}
		before, begin := waits(t), time.Now()
		for next := time.Millisecond; taken < often && polled < limit; {
			k.Keep()
			now := time.Since(begin)
			if now-polled >= turnTime {
				stalls++
			}
			polled = now
			if polled >= next { // to look makes system calls, and lasts
				taken, next = waits(t)-before, polled+10*time.Millisecond
			}
		}
	}()
	<-done
	return taken, stalls, polled
}

// TestKeep polls until the thread has lost its turn five times, and as long again with Keep.
func TestKeep(t *testing.T) {
	if err := Check(); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.NumCPU())))
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection takes turns, and may
	const (
		often = 5
		limit = 900 * time.Millisecond // of a second, the kernel leaves others a twentieth
	)
	var list []string
	judged := false
	for range 5 {
		without, _, lasted := spin(t, false, often, limit)
		if lasted == 0 {
			t.Skip("needs CAP_SYS_NICE")
		}
		with, stalls, _ := spin(t, true, often, lasted)
		list = append(list, fmt.Sprintf("%d and with Keep %d in %v, with %d stalls", without, with, lasted, stalls))
		judged = judged || without >= often
		if without >= often && with <= often/5+stalls {
			return
		}
	}
	if !judged {
		t.Skipf("the machine is too busy for Go's scheduler to take anybody off: %v", list)
	}
	t.Errorf("taken off %v", list)
}

// TestStops: the world can be stopped beside a goroutine that keeps its turn.
func TestStops(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.NumCPU())))
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread()
		k := Take()
		defer k.Give()
		for {
			k.Keep()
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	var m runtime.MemStats
	for range 20 {
		runtime.GC()
		runtime.ReadMemStats(&m)
	}
	close(stop)
	<-gone
}

func BenchmarkKeep(b *testing.B) {
	k := Take()
	defer k.Give()
	for b.Loop() {
		k.Keep()
	}
}
