//go:build linux

package netdev

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolChannels is struct ethtool_channels.
type ethtoolChannels struct {
	cmd                                       uint32
	maxRx, maxTx, maxOther, maxCombined       uint32
	rxCount, txCount, otherCount, combinedCnt uint32
}

// ifreqData is struct ifreq with its pointer member.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Queues returns how many receive queues the device uses now; 1 for a device that does not say.
func Queues(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the queues of %s: %w", name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	ch := &ethtoolChannels{cmd: unix.ETHTOOL_GCHANNELS}
	req := &ifreqData{data: unsafe.Pointer(ch)}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	// Sound: the kernel reads and writes only the two structs, whose layout is the kernel's, and both are pinned for
	// the length of the call (req as its argument, ch because req's memory holds the only other pointer to it).
	var pin runtime.Pinner
	pin.Pin(ch)
	defer pin.Unpin()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	switch {
	case errno == 0:
		return max(int(ch.rxCount+ch.combinedCnt), 1), nil
	case errors.Is(errno, unix.EOPNOTSUPP):
		return 1, nil
	case errors.Is(errno, unix.ENODEV):
		return 0, fmt.Errorf("%s: %w", name, ErrNoDevice)
	}
	return 0, fmt.Errorf("ask for the queues of %s: %w", name, errno)
}
