package oracle

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv makes the test binary a goflow2 decoder instead of running tests.
const childEnv = "WEIR_ORACLE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(m.Run())
}

// Bounds of the child: it ends itself when a datagram takes more processor time, or above the memory, and is killed when it does not
// answer for long. What is bounded is its own time, since a busy machine lets it wait.
const (
	childTime    = time.Second
	childTimeout = time.Minute
	childMemory  = 256 << 20 // bytes of heap
	childAddress = 4 << 30   // bytes of address space, the kernel's bound
)

// request asks for one datagram. Reset forgets all templates and rates before it.
type request struct {
	Reset    bool
	Exporter [16]byte
	Payload  []byte
}

// response is what goflow2 made of a datagram.
type response struct {
	// Error is why it stopped, "" when it did not. Flows before that are there.
	Error string
	// Missing says that a data set without a template was among the sets, which is no reason to stop.
	Missing bool
	Flows   []flow
	// Options and Templates count option records, and template records of both kinds.
	Options, Templates int
}

// child answers requests until its input ends.
func child() {
	limit := unix.Rlimit{Cur: childAddress, Max: childAddress}
	if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
		fmt.Fprintln(os.Stderr, "oracle child:", err)
		os.Exit(3)
	}
	var began atomic.Int64 // the processor time at which the request in hand began
	go watch(&began)
	in, out := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	g := newGoflow()
	for {
		var q request
		if in.Decode(&q) != nil {
			return
		}
		began.Store(int64(spent()))
		if q.Reset {
			g = newGoflow()
		}
		if err := out.Encode(g.decode(&q)); err != nil {
			return
		}
	}
}

// watch ends the process when its heap is too large, or a request takes too much of the processor. The decoder's endless loop allocates,
// so that this goroutine gets its turn.
func watch(began *atomic.Int64) {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for {
		if metrics.Read(s); s[0].Value.Uint64() > childMemory || spent()-time.Duration(began.Load()) > childTime {
			os.Exit(4)
		}
		time.Sleep(time.Millisecond)
	}
}

// spent is the processor time of this process.
func spent() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		fmt.Fprintln(os.Stderr, "oracle child:", err)
		os.Exit(3)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// errHangs is the answer of a child that had to be killed, or that ended itself.
var errHangs = errors.New("goflow2 takes memory or time without end")

// oracle is a child process of this test.
type oracle struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   *gob.Encoder
	out  *gob.Decoder
	dead bool // since the last reset
}

// start starts a child; it ends with the test.
func start(t testing.TB) *oracle {
	t.Helper()
	o := &oracle{t: t}
	o.launch()
	t.Cleanup(func() { o.kill() })
	return o
}

func (o *oracle) launch() {
	exe, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	o.cmd = exec.Command(exe)
	o.cmd.Env = append(os.Environ(), childEnv+"=1", "GOMAXPROCS=2")
	stdin, err := o.cmd.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	stdout, err := o.cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.in, o.out = gob.NewEncoder(stdin), gob.NewDecoder(stdout)
}

func (o *oracle) kill() {
	_ = o.cmd.Process.Kill() // it may have ended itself
	_ = o.cmd.Wait()
}

// ask sends one datagram. When the child hangs, it is replaced, and what follows until the next Reset is not asked.
func (o *oracle) ask(q request) (response, error) {
	if q.Reset {
		o.dead = false
	}
	if o.dead {
		return response{}, errHangs
	}
	var r response
	cmd := o.cmd
	alarm := time.AfterFunc(childTimeout, func() { _ = cmd.Process.Kill() })
	err := errors.Join(o.in.Encode(q), o.out.Decode(&r))
	if alarm.Stop(); err != nil {
		o.kill()
		o.launch()
		o.dead = true
		return response{}, errHangs
	}
	return r, nil
}
