//go:build freebsd

package peercred

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pid is cr_pid of struct xucred, in the pointer-sized place behind the groups that x/sys hides; 0 before FreeBSD 13. Sound: the
// place is the last in the struct and inside it.
func pid(_ int, x *unix.Xucred) int {
	const at = unsafe.Sizeof(*x) - unsafe.Sizeof(uintptr(0))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(x), at)))
}
