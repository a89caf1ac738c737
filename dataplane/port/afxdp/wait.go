//go:build linux

package afxdp

import (
	"time"

	"golang.org/x/sys/unix"
)

// away is the longest that Wait sleeps while there is no source: nothing ends it.
const away = 10 * time.Millisecond

// Wait implements port.Waiter.
func (q *queue) Wait(d time.Duration, bell int) {
	if !q.gate.Enter() {
		time.Sleep(min(d, away))
		return
	}
	defer q.gate.Leave()
	if q.source == nil {
		time.Sleep(min(d, away))
		return
	}
	q.source.wait(d, bell)
}

// Batched implements port.Waiter: the kernel wakes the worker for the first frame.
func (q *queue) Batched() bool { return false }

// Room implements port.Waiter.
func (q *queue) Room() int { return q.room }

// noBell is a descriptor that poll passes over.
const noBell = -1

// wait sleeps until a frame comes, bell can be read, or d is over.
func (s *socket) wait(d time.Duration, bell int) { waitReadable(s.fd, bell, d) }

// blind is the longest that a tap sleeps when no frame can end it.
const blind = time.Millisecond

// wait sleeps until a frame comes, if the program wakes, bell can be read, or d is over.
func (t *tap) wait(d time.Duration, bell int) {
	if !t.wakes {
		d = min(d, blind)
	}
	waitReadable(t.ring.FD(), bell, d)
}

// waitReadable sleeps until there is something to read or d is over. A signal ends it early, which is harmless.
func waitReadable(fd, bell int, d time.Duration) {
	fds := [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(bell), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(d))
	_, _ = unix.Ppoll(fds[:], &ts, nil)
}
