package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// newCounter must be called inside the device's namespace. An invalid address counts all IP packets.
func newCounter(device string, to netip.Addr) (*counter, error) {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("count on %q: %w", device, err)
	}
	// Protocol 0 until the filter is there: nothing that it would refuse gets in before.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("count on %q: packet socket: %w", device, err)
	}
	filter := filterIP()
	if to.IsValid() {
		filter = filterTo(to)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("count on %q: filter: %w", device, err)
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: dev.Index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("count on %q: bind: %w", device, err)
	}
	return &counter{fd: fd}, nil
}

// read adds what has come since the last reading. The kernel's own count starts anew with every reading.
func (c *counter) read() error {
	st, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("packet statistics: %w", err)
	}
	c.total += uint64(st.Packets) // those that found no room, all but the first few, included
	return nil
}

func (c *counter) close() error { return unix.Close(c.fd) }

// Classic BPF, as in linux/filter.h: loads are absolute, jumps relative.
const (
	loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	leave    = unix.BPF_RET | unix.BPF_K

	typeAt = 12 // of the EtherType in a frame
	dst4At = 14 + 16
	dst6At = 14 + 24
)

// filterTo takes frames with an IP packet to one address, and one byte of them.
func filterTo(to netip.Addr) []unix.SockFilter {
	etherType, at, addr := uint32(unix.ETH_P_IP), uint32(dst4At), to.AsSlice()
	if to.Is6() {
		etherType, at = unix.ETH_P_IPV6, dst6At
	}
	tests := [][2]uint32{{etherType, typeAt}}
	for i := 0; i < len(addr); i += 4 {
		tests = append(tests, [2]uint32{binary.BigEndian.Uint32(addr[i:]), at + uint32(i)})
	}
	var f []unix.SockFilter
	for i, t := range tests {
		load := uint16(loadWord)
		if i == 0 {
			load = loadHalf
		}
		f = append(f, unix.SockFilter{Code: load, K: t[1]})
		// A miss jumps over the other tests, two instructions each, and the first return.
		f = append(f, unix.SockFilter{Code: ifEqual, K: t[0], Jf: uint8(2*(len(tests)-1-i) + 1)})
	}
	return append(f, unix.SockFilter{Code: leave, K: 1}, unix.SockFilter{Code: leave, K: 0})
}

// filterIP takes every IP packet.
func filterIP() []unix.SockFilter {
	return []unix.SockFilter{
		{Code: loadHalf, K: typeAt},
		{Code: ifEqual, K: unix.ETH_P_IP, Jt: 1},
		{Code: ifEqual, K: unix.ETH_P_IPV6, Jf: 1},
		{Code: leave, K: 1},
		{Code: leave, K: 0},
	}
}
