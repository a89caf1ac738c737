//go:build linux

package afpacket

import (
	"time"

	"golang.org/x/sys/unix"
)

// away is the longest that Wait sleeps while there is no ring: nothing ends it.
const away = 10 * time.Millisecond

// Wait implements port.Waiter.
func (q *queue) Wait(d time.Duration, bell int) {
	if !q.gate.Enter() {
		time.Sleep(min(d, away))
		return
	}
	defer q.gate.Leave()
	if q.ring == nil {
		time.Sleep(min(d, away))
		return
	}
	q.ring.wait(d, bell)
}

// Batched implements port.Waiter: the kernel wakes the worker for a block. One that takes a dozen frames is none of that.
func (q *queue) Batched() bool { return q.block >= 128<<10 }

// Room implements port.Waiter.
func (q *queue) Room() int { return q.room }

// noBell is a descriptor that poll passes over.
const noBell = -1

// wait sleeps until a block is ready, the socket has an error, bell can be read, or d is over. A signal ends it early, which is
// harmless. Without taking the error (the device is down) every later call would return at once.
func (r *ring) wait(d time.Duration, bell int) {
	fds := [2]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN | unix.POLLERR}, {Fd: int32(bell), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(d))
	if n, err := unix.Ppoll(fds[:], &ts, nil); err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0 {
		_, _ = unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
}
