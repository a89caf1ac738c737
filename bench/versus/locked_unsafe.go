//go:build linux && (amd64 || arm64)

package versus

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lockedKey marks the environment of a process that Child turns into the program of its arguments.
const lockedKey = "WEIR_BENCH_LOCKED"

// Child becomes the program of its arguments when this process was started for that, and then never returns: one that gives up where it
// may not raise RLIMIT_MEMLOCK, as in a container, and is told here that it may. Since Linux 5.11 the limit says nothing of BPF, and that of
// AF_XDP's memory does not bind whoever has CAP_IPC_LOCK.
func Child() {
	if os.Getenv(lockedKey) == "" || len(os.Args) < 2 {
		return
	}
	runtime.LockOSThread() // the thread with the filter is the one that executes
	path, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = os.Unsetenv(lockedKey)
	}
	if err == nil {
		err = pretend()
	}
	if err == nil {
		err = syscall.Exec(path, os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "versus:", err)
	os.Exit(1)
}

// Offsets in struct seccomp_data: the call, and the low half of its second argument.
const (
	dataCall   = 0
	dataSecond = 16 + 8
)

// pretend has every prlimit of RLIMIT_MEMLOCK succeed without an effect, for this thread and what it executes.
func pretend() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: dataCall},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PRLIMIT64, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: dataSecond},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.RLIMIT_MEMLOCK, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: seccompErrno}, // of no error
		{Code: unix.BPF_RET | unix.BPF_K, K: seccompAllow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	// The kernel copies the filter during the call, for which program keeps it alive.
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	runtime.KeepAlive(&program)
	return nil
}

// What a filter returns (linux/seccomp.h).
const (
	seccompErrno = 0x00050000
	seccompAllow = 0x7fff0000
)
