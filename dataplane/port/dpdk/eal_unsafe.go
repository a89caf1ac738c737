//go:build dpdk && cgo

package dpdk

// #include <stdlib.h>
// #include "bind_dpdk.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/cpu"
)

// environment is DPDK's EAL. Its main thread is a goroutine locked to a thread that never ends and runs every cold call,
// one at a time.
type environment struct {
	mu      sync.Mutex // guards the rest
	started bool
	args    []string // of the port that started it, without what we add
	err     error    // why it did not start: it cannot be tried twice
	calls   chan func()
}

var eal environment

// start starts the EAL, or checks that it runs with what the port wants.
func (e *environment) start(o Options) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	wish := append([]string{fmt.Sprint("huge_pages=", o.HugePages), fmt.Sprint("memory=", o.Memory)}, o.EAL...)
	if e.started {
		set := len(o.EAL) > 0 || o.Memory != 0 || !o.HugePages
		if e.err == nil && set && !slices.Equal(wish, e.args) {
			return fmt.Errorf("DPDK's environment runs in this process with %v: it cannot be started again with %v (options eal, huge_pages and memory "+
				"must be alike in all ports; another choice takes a restart)", e.args, wish)
		}
		return e.err
	}
	ids, err := cpu.Affinity()
	if err != nil {
		return err
	}
	e.started, e.args, e.calls = true, wish, make(chan func())
	go func() {
		runtime.LockOSThread() // for good: this is the EAL's main thread
		for f := range e.calls {
			f()
		}
	}()
	args := o.ealArgs(cpu.FormatList(ids))
	e.do(func() {
		if e.err = ealInit(args); e.err == nil {
			return
		}
		hint := ""
		if !errors.Is(e.err, syscall.EINVAL) { // which is what it says of arguments
			hint = hugeHint(o, "/sys/kernel/mm/hugepages")
		}
		e.err = fmt.Errorf("start DPDK's environment with %q: %w%s", strings.Join(args[1:], " "), e.err, hint)
	})
	return e.err
}

// do runs f on the EAL's main thread and returns when it is done. The EAL must have been started.
func (e *environment) do(f func()) {
	done := make(chan struct{})
	e.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// ealInit calls rte_eal_init. The arguments stay in C memory for good: DPDK keeps pointers to them.
func ealInit(args []string) error {
	argv := unsafe.Slice((**C.char)(C.calloc(C.size_t(len(args)+1), C.size_t(unsafe.Sizeof(uintptr(0))))), len(args)+1)
	for i, a := range args {
		argv[i] = C.CString(a)
	}
	return failure("rte_eal_init", C.weir_init(C.int(len(args)), &argv[0]))
}

// failure turns a negative errno into an error with what DPDK logged about it.
func failure(what string, rc C.int) error {
	if rc >= 0 {
		return nil
	}
	err := fmt.Errorf("%s: %w", what, syscall.Errno(-rc))
	if rc == -1 { // what many drivers say of everything
		err = errors.New(what + " failed")
	}
	if text := logTail(); text != "" {
		err = errors.Join(err, errors.New(text))
	}
	return err
}

// logTail returns what DPDK said since the last call, its last lines.
func logTail() string {
	var buf [1024]byte
	n := C.weir_log_tail((*C.char)(unsafe.Pointer(&buf[0])), C.int(len(buf)))
	return strings.TrimSpace(string(buf[:n]))
}
