//go:build linux && !race

package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// touchBelow is the size in bytes up to which Touch touches.
const touchBelow = 256 << 20

// Touch is Populate for what is used all over from the first moment on, but leaves alone what is very large: that may be room that nobody
// will ever need.
func Touch[T any](s []T) {
	if uint64(len(s))*uint64(unsafe.Sizeof(*new(T))) <= touchBelow {
		Populate(s)
	}
}

// Populate touches the pages of a part of what Make returned, so that whoever uses it next does not wait for the system. What it
// holds stays as it is, and it may be in use. Where the system cannot do that the pages come when they are first used.
func Populate[T any](s []T) {
	size := uintptr(len(s)) * unsafe.Sizeof(*new(T))
	if size == 0 {
		return
	}
	// Sound: pages that hold a part of s belong to its mapping, as a whole; the call reads and changes nothing in them.
	at := unsafe.Pointer(unsafe.SliceData(s))
	before := uintptr(at) % uintptr(unix.Getpagesize())
	b := unsafe.Slice((*byte)(unsafe.Add(at, -int(before))), size+before)
	_ = unix.Madvise(b, unix.MADV_POPULATE_WRITE)
}
