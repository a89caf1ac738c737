//go:build linux

package send

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsg is the argument of sendmmsg(2), which x/sys/unix does not wrap.
type mmsg struct {
	msgs [maxBatch]mmsghdr
	iovs [maxBatch]unix.Iovec
}

// mmsghdr is padded to 8 bytes by its pointers on 64-bit systems, as in C.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// send hands frames to the kernel and returns how many it took; an error only when it took none.
//
// Sound because every pointer that the kernel reads, the two arrays and the frames' bytes, is reachable from m and batch until
// KeepAlive, and the heap does not move; the kernel keeps none of them after the call.
func (m *mmsg) send(fd int, batch []pending) (int, error) {
	for i := range batch {
		data := batch[i].frame.Data
		m.iovs[i].Base = unsafe.SliceData(data)
		m.iovs[i].SetLen(len(data))
		m.msgs[i] = mmsghdr{hdr: unix.Msghdr{Iov: &m.iovs[i]}}
		m.msgs[i].hdr.SetIovlen(1)
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.msgs[0])), uintptr(len(batch)), 0, 0, 0)
	runtime.KeepAlive(m)
	runtime.KeepAlive(batch)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
