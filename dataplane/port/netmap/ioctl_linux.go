package netmap

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// ioctl numbers: _IOWR('i', 151, struct nmreq_header) and _IO('i', 149).
const (
	nioCtrl   = 0xc0586997
	nioRxSync = 0x6995
)

// promiscuous implements system by a membership of a packet socket, which the kernel ends when the process does.
func (kernel) promiscuous(device string) (func() error, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("promiscuous mode: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("promiscuous mode: %w", err)
	}
	m := unix.PacketMreq{Ifindex: int32(dev.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
		return nil, errors.Join(fmt.Errorf("promiscuous mode: %w", err), unix.Close(fd))
	}
	return func() error { return unix.Close(fd) }, nil
}
