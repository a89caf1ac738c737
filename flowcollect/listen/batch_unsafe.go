//go:build linux

package listen

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// Batch is room for the datagrams of one Recv. It must not be copied: its parts point into each other.
type Batch struct {
	headers [BatchSize]mmsghdr
	vectors [BatchSize]unix.Iovec
	names   [BatchSize]unix.RawSockaddrInet6
	source  [BatchSize][16]byte
	data    []byte
}

// NewBatch takes 4 MiB of address space; only what datagrams fill is ever touched.
func NewBatch() *Batch {
	b := &Batch{data: make([]byte, BatchSize*MaxDatagram)}
	for i := range b.headers {
		b.vectors[i].Base = &b.data[i*MaxDatagram]
		b.vectors[i].SetLen(MaxDatagram)
		h := &b.headers[i].header
		// Sound: sockaddr_in is shorter than sockaddr_in6, and the kernel writes no more than Namelen bytes.
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
	}
	return b
}

// receive is recvmmsg with MSG_WAITFORONE: it waits, as long as SO_RCVTIMEO says, for the first datagram only.
// Sound: all pointers lead into b, which stays alive and in place during the call.
func (b *Batch) receive(fd int) (int, syscall.Errno) {
	for i := range b.headers {
		b.headers[i].header.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), BatchSize,
		unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range int(n) {
		b.setSource(i)
	}
	return int(n), 0
}

// setSource puts the sender's address, v4-mapped for IPv4, where Source finds it.
func (b *Batch) setSource(i int) {
	name := &b.names[i]
	switch name.Family {
	case unix.AF_INET6:
		b.source[i] = name.Addr
	case unix.AF_INET:
		// Sound: the kernel wrote a sockaddr_in, whose fields lie within the longer struct.
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		b.source[i] = [16]byte{10: 0xff, 11: 0xff, 12: v4.Addr[0], 13: v4.Addr[1], 14: v4.Addr[2], 15: v4.Addr[3]}
	default:
		b.source[i] = [16]byte{}
	}
}

func (b *Batch) size(i int) int { return min(int(b.headers[i].length), MaxDatagram) }

func (b *Batch) truncated(i int) bool { return b.headers[i].header.Flags&unix.MSG_TRUNC != 0 }

// Data is the payload of datagram i, valid until the next Recv.
func (b *Batch) Data(i int) []byte {
	at := i * MaxDatagram
	return b.data[at : at+b.size(i) : at+MaxDatagram]
}

// Source is who sent datagram i; IPv4 is v4-mapped. It is valid until the next Recv.
func (b *Batch) Source(i int) *[16]byte { return &b.source[i] }

// SourcePort is the port that datagram i was sent from.
func (b *Batch) SourcePort(i int) uint16 {
	// Sound: the port is the second 16-bit field of both kinds of address, in network order.
	raw := (*[4]byte)(unsafe.Pointer(&b.names[i]))
	return binary.BigEndian.Uint16(raw[2:])
}
