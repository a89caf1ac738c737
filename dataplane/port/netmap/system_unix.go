//go:build linux || freebsd

package netmap

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
)

const devicePath = "/dev/netmap"

// kernel is the real system.
type kernel struct{}

func init() {
	if strconv.IntSize != 64 {
		port.RegisterNotBuilt("netmap", "its layout is known to this driver for 64-bit machines only")
		return
	}
	port.Register("netmap", driver{kernel{}})
}

func (kernel) open() (int, error) {
	fd, err := unix.Open(devicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("open %s: %w (netmap's kernel module is not loaded)", devicePath, err)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", devicePath, err)
	}
	return fd, nil
}

func (kernel) mmap(fd, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (kernel) munmap(mem []byte) error { return unix.Munmap(mem) }

func (kernel) close(fd int) error { return unix.Close(fd) }

// poll does not use Go's poller: its edge-triggered epoll would not run the sync that the system call poll does.
func (kernel) poll(fds []int, d time.Duration) (bool, error) {
	var set [maxQueues]unix.PollFd
	if len(fds) > len(set) {
		return false, unix.EINVAL
	}
	for i, fd := range fds {
		set[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	_, err := unix.Poll(set[:len(fds)], int(d.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return false, nil // the Go runtime's own signals; the worker comes back
	}
	broken := false
	for _, p := range set[:len(fds)] {
		broken = broken || p.Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) != 0
	}
	return broken, err
}
