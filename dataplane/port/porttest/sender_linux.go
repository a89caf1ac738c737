package porttest

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Sender puts whole frames onto a device of the namespace that NewSender was called in. One goroutine uses it.
type Sender struct{ fd int }

// NewSender opens a packet socket on device; it needs CAP_NET_RAW.
func NewSender(device string) (*Sender, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("send on %s: %w", device, err)
	}
	// Protocol 0: the socket sends only.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("send on %s: %w", device, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("send on %s: %w", device, err), unix.Close(fd))
	}
	return &Sender{fd}, nil
}

// Send sends frames in order and returns how many the device took.
func (s *Sender) Send(frames [][]byte) (int, error) {
	for i, f := range frames {
		for {
			_, err := unix.Write(s.fd, f)
			if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return i, fmt.Errorf("send frame %d: %w", i, err)
			}
			break
		}
	}
	return len(frames), nil
}

// Close ends the sender.
func (s *Sender) Close() error { return unix.Close(s.fd) }
