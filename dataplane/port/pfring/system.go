//go:build linux

package pfring

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
)

// system is the part of the operating system that the driver uses: the real one, or an emulated module in tests.
type system interface {
	socket() (fd int, err error)
	setsockopt(fd, option int, value []byte) error
	// getsockopt fills value; the option must have exactly its length.
	getsockopt(fd, option int, value []byte) error
	bind(fd int, sockaddr []byte) error
	mmap(fd, size int) ([]byte, error)
	munmap(mem []byte) error
	// poll waits for at most d until the ring has packets.
	poll(fd int, d time.Duration)
	// ifindex identifies an interface; an error when there is none of the name.
	ifindex(name string) (int, error)
	close(fd int) error
}

// kernel is the real system.
type kernel struct{}

func init() {
	if strconv.IntSize != 64 {
		port.RegisterNotBuilt("pfring", "the module's layout is known to this driver for 64-bit machines only")
		return
	}
	port.Register("pfring", driver{kernel{}})
}

func (kernel) socket() (int, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // network order
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return -1, fmt.Errorf("socket: %w (the kernel module pf_ring is not loaded)", err)
	case errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("socket: %w (CAP_NET_ADMIN and CAP_NET_RAW are needed)", err)
	case err != nil:
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

// setsockopt goes through the string form, which hands over exactly the bytes.
func (kernel) setsockopt(fd, option int, value []byte) error {
	return unix.SetsockoptString(fd, 0, option, string(value))
}

func (kernel) mmap(fd, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (kernel) munmap(mem []byte) error { return unix.Munmap(mem) }

func (kernel) poll(fd int, d time.Duration) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(d))
	_, _ = unix.Ppoll(fds[:], &ts, nil) // a signal ends it early, which is harmless; a lost device is the keeper's business
}

func (kernel) ifindex(name string) (int, error) {
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return dev.Index, nil
}

func (kernel) close(fd int) error { return unix.Close(fd) }
