//go:build linux || freebsd

package netmap

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ctrl implements system. Sound: header is a struct nmreq_header of full length and body as long as its request type
// says; both are pinned for the call, and the kernel keeps neither address.
func (kernel) ctrl(fd int, header, body []byte) error {
	if len(header) != hdrSize || len(body) == 0 {
		return unix.EINVAL
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&header[0])
	pin.Pin(&body[0])
	binary.LittleEndian.PutUint64(header[hdrBody:], uint64(uintptr(unsafe.Pointer(&body[0]))))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), nioCtrl, uintptr(unsafe.Pointer(&header[0])))
	binary.LittleEndian.PutUint64(header[hdrBody:], 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// rxsync implements system.
func (kernel) rxsync(fd int) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), nioRxSync, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
