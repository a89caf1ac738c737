package worker

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// newCord makes what a bell is rung with.
func newCord() (fd int, err error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// pull makes fd readable.
func pull(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(fd, one[:]) // it fails only when it is readable already
}

// release makes fd unreadable, and reports whether it was readable.
func release(fd int) bool {
	var n [8]byte
	_, err := unix.Read(fd, n[:])
	return err == nil
}

func closeCord(fd int) error { return unix.Close(fd) }

// nap sleeps in the calling thread, which is the goroutine's own, or until fd, unless negative, can be read: time.Sleep would hand the
// thread's turn over and back, at more than twice the cost, and could not sleep for less than a millisecond. A signal ends it early,
// which is harmless.
func nap(d time.Duration, fd int) {
	ts := unix.NsecToTimespec(int64(d))
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, _ = unix.Ppoll(fds[:], &ts, nil)
}
