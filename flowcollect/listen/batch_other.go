//go:build !linux

package listen

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Batch is room for the datagrams of one Recv.
type Batch struct {
	buffers [BatchSize][1][]byte
	sizes   [BatchSize]int
	cut     [BatchSize]bool
	ports   [BatchSize]uint16
	source  [BatchSize][16]byte
	full    bool
}

// NewBatch takes 4 MiB of address space; only what datagrams fill is ever touched.
func NewBatch() *Batch {
	b := &Batch{}
	data := make([]byte, BatchSize*MaxDatagram)
	for i := range b.buffers {
		b.buffers[i][0] = data[i*MaxDatagram : (i+1)*MaxDatagram : (i+1)*MaxDatagram]
	}
	return b
}

// receive calls recvmsg for one datagram after the other: it waits, as long as SO_RCVTIMEO says, for the first only.
func (b *Batch) receive(fd int) (int, syscall.Errno) {
	flags := 0
	b.full = false
	for i := range BatchSize {
		size, _, got, from, err := unix.RecvmsgBuffers(fd, b.buffers[i][:], nil, flags)
		if err != nil {
			var errno syscall.Errno
			if i > 0 || !errors.As(err, &errno) {
				return i, 0 // what came first is not lost; the error comes again
			}
			return 0, errno
		}
		b.sizes[i], b.cut[i] = size, got&unix.MSG_TRUNC != 0
		b.setSource(i, from)
		flags = unix.MSG_DONTWAIT
	}
	b.full = true
	return BatchSize, 0
}

// setSource puts the sender's address, v4-mapped for IPv4, where Source finds it.
func (b *Batch) setSource(i int, from unix.Sockaddr) {
	switch a := from.(type) {
	case *unix.SockaddrInet6:
		b.source[i], b.ports[i] = a.Addr, uint16(a.Port)
	case *unix.SockaddrInet4:
		b.source[i] = [16]byte{10: 0xff, 11: 0xff, 12: a.Addr[0], 13: a.Addr[1], 14: a.Addr[2], 15: a.Addr[3]}
		b.ports[i] = uint16(a.Port)
	default:
		b.source[i], b.ports[i] = [16]byte{}, 0
	}
}

// Full says that the last Recv left no room: more is probably waiting.
func (b *Batch) Full() bool { return b.full }

func (b *Batch) size(i int) int { return b.sizes[i] }

func (b *Batch) truncated(i int) bool { return b.cut[i] }

// Data is the payload of datagram i, valid until the next Recv.
func (b *Batch) Data(i int) []byte { return b.buffers[i][0][:b.sizes[i]] }

// Source is who sent datagram i; IPv4 is v4-mapped. It is valid until the next Recv.
func (b *Batch) Source(i int) *[16]byte { return &b.source[i] }

// SourcePort is the port that datagram i was sent from.
func (b *Batch) SourcePort(i int) uint16 { return b.ports[i] }
