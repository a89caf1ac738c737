//go:build !linux

package listen

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket takes the fork lock, since there is a moment before the descriptor is marked.
func socket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// setBuffer asks for a receive buffer and returns what the kernel gave. Above kern.ipc.maxsockbuf the BSDs refuse instead of giving
// what they can: less is asked for then.
func setBuffer(fd, size int) (int, error) {
	for {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOBUFS) || size <= MinBuffer {
			return 0, os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
		size = max(size/2, MinBuffer)
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return got, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

func steer(int, int) error { return errors.New("dealing datagrams out evenly needs Linux") }

func memDrops(int) (uint32, bool) { return 0, false }

func joinRuns(int) {}
