//go:build freebsd

package netmap

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqFlags is struct ifreq with its flags.
type ifreqFlags struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	high  uint16
	_     [12]byte
}

const promiscHigh = 0x20000 >> 16 // IFF_PPROMISC, which unlike IFF_PROMISC a process may set

// promiscuous implements system. The flag stays when the process dies before undo.
func (kernel) promiscuous(device string) (func() error, error) {
	before, err := changeFlags(device, func(f *ifreqFlags) { f.high |= promiscHigh })
	if err != nil {
		return nil, fmt.Errorf("promiscuous mode: %w", err)
	}
	return func() error {
		if before.high&promiscHigh != 0 {
			return nil
		}
		_, err := changeFlags(device, func(f *ifreqFlags) { f.high &^= promiscHigh })
		return err
	}, nil
}

// changeFlags reads, changes and writes an interface's flags and returns what they were. Sound: ifreqFlags has the layout and
// length of struct ifreq, and the kernel uses it during the calls only.
func changeFlags(device string, change func(*ifreqFlags)) (before ifreqFlags, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return before, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	var req ifreqFlags
	copy(req.name[:unix.IFNAMSIZ-1], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return before, errno
	}
	before = req
	change(&req)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return before, errno
	}
	return before, nil
}
