//go:build linux

package pfring

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockopt implements system. Sound: the kernel writes at most len(value) bytes, during the call.
func (kernel) getsockopt(fd, option int, value []byte) error {
	size := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), 0, uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	if int(size) != len(value) {
		return unix.EINVAL
	}
	return nil
}

// bind implements system by hand, since x/sys would write another family. Sound: the kernel reads the bytes during the call.
func (kernel) bind(fd int, sockaddr []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(sockaddr))), uintptr(len(sockaddr)))
	if errno != 0 {
		return errno
	}
	return nil
}

// word is the 64-bit word at off that the kernel and we share, for atomic use: what was written before a store is seen after
// the load. Sound: mem is mapped, hence page-aligned; off is one of the constants of layout.go, a multiple of 8 below
// infoSize, and mem is at least that long (newRing). The index checks it all the same.
func word(mem []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&mem[off : off+8 : off+8][0]))
}
