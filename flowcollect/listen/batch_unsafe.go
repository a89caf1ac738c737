//go:build linux

package listen

import (
	"encoding/binary"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// Batch is room for the datagrams of one Recv. It must not be copied: its parts point into each other.
//
// A message is one datagram, or a run of datagrams of one size from one sender that the kernel hands over together (UDP_GRO).
type Batch struct {
	headers  [BatchSize]mmsghdr
	vectors  [BatchSize]unix.Iovec
	names    [BatchSize]unix.RawSockaddrInet6
	controls [BatchSize]control
	source   [BatchSize][16]byte
	data     []byte
	parts    []part // the datagrams
	room     int    // how many messages the next call takes
	full     bool
	few      bool // so little came that it pays to wait for more
}

// part is one datagram: where it lies in data, and of which message it is.
type part struct {
	at, size uint32
	message  uint16
}

// control is the one control message that is asked for: cmsghdr and an int, as CMSG_SPACE pads it.
type control struct {
	header unix.Cmsghdr
	value  int32
	_      [4]byte
}

// udpGRO is UDP_GRO in linux/udp.h.
const udpGRO = 104

const (
	// runsAtOnce is how many messages a call takes while datagrams come in runs: half a megabyte, which the cache holds.
	runsAtOnce = 8
	// gather is how long is waited after a call that brought little: waking up for each datagram costs more than reading it. A call that
	// brings a quarter of what there is room for is followed by the next at once, so that small buffers do not overflow meanwhile.
	gather = 200 * time.Microsecond
	// maxRun is how many datagrams the kernel joins at most (UDP_MAX_SEGMENTS).
	maxRun = 128
)

// NewBatch takes 4 MiB of address space; only what datagrams fill is ever touched.
func NewBatch() *Batch {
	b := &Batch{data: make([]byte, BatchSize*MaxDatagram), parts: make([]part, 0, BatchSize*maxRun), room: BatchSize}
	for i := range b.headers {
		b.vectors[i].Base = &b.data[i*MaxDatagram]
		b.vectors[i].SetLen(MaxDatagram)
		h := &b.headers[i].header
		// Sound: sockaddr_in is shorter than sockaddr_in6, and the kernel writes no more than Namelen and Controllen bytes.
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
	}
	return b
}

// receive is recvmmsg with MSG_WAITFORONE: it waits, as long as SO_RCVTIMEO says, for the first message only. It returns the number of
// datagrams. Sound: all pointers lead into b, which stays alive and in place during the call.
func (b *Batch) receive(fd int) (int, syscall.Errno) {
	b.parts, b.full = b.parts[:0], false
	if b.few {
		wait := unix.NsecToTimespec(gather.Nanoseconds())
		_ = unix.Nanosleep(&wait, nil) // cut short by a signal, it was long enough
		b.few = false
	}
	for i := range b.headers[:b.room] {
		h := &b.headers[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(control{})))
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(b.room),
		unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	b.full, b.few, b.room = int(n) == b.room, int(n) < b.room/4, BatchSize
	for i := range int(n) {
		b.setSource(i)
		b.split(i)
	}
	if len(b.parts) > int(n) {
		b.room = runsAtOnce
	}
	return len(b.parts), 0
}

// split notes the datagrams of message i: all have the size that the control message says, but for the last.
func (b *Batch) split(i int) {
	size := min(int(b.headers[i].length), MaxDatagram)
	each := size
	if c := &b.controls[i]; b.headers[i].header.Controllen >= unix.SizeofCmsghdr+4 && c.header.Level == unix.SOL_UDP && c.header.Type == udpGRO && c.value > 0 {
		each = int(c.value)
	}
	at, end := i*MaxDatagram, i*MaxDatagram+size
	for end-at > each {
		b.parts = append(b.parts, part{uint32(at), uint32(each), uint16(i)})
		at += each
	}
	b.parts = append(b.parts, part{uint32(at), uint32(end - at), uint16(i)}) // an empty datagram is one too
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

// Full says that the last Recv left no room: more is probably waiting.
func (b *Batch) Full() bool { return b.full }

func (b *Batch) size(i int) int { return int(b.parts[i].size) }

func (b *Batch) truncated(i int) bool {
	return b.headers[b.parts[i].message].header.Flags&unix.MSG_TRUNC != 0
}

// Data is the payload of datagram i, valid until the next Recv.
func (b *Batch) Data(i int) []byte {
	p := b.parts[i]
	return b.data[p.at : p.at+p.size : p.at+p.size]
}

// Source is who sent datagram i; IPv4 is v4-mapped. It is valid until the next Recv.
func (b *Batch) Source(i int) *[16]byte { return &b.source[b.parts[i].message%BatchSize] }

// SourcePort is the port that datagram i was sent from.
func (b *Batch) SourcePort(i int) uint16 {
	// Sound: the port is the second 16-bit field of both kinds of address, in network order.
	raw := (*[4]byte)(unsafe.Pointer(&b.names[b.parts[i].message]))
	return binary.BigEndian.Uint16(raw[2:])
}
