package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Conn is a route netlink socket. Its methods are safe from any goroutine.
type Conn struct {
	mu  sync.Mutex // one request at a time
	fd  int
	seq uint32
	buf []byte
}

// Open opens a Conn in the calling thread's network namespace. It needs no rights.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	tv := unix.Timeval{Sec: 2}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), unix.Close(fd))
	}
	return &Conn{fd: fd, buf: make([]byte, 32<<10)}, nil
}

// Close closes the Conn; its other methods fail afterwards.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}

// Find looks a device up by name; ErrNoDevice is wrapped when there is none.
func (c *Conn) Find(name string) (Device, error) {
	if err := CheckName(name); err != nil {
		return Device{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	if err := unix.Sendto(c.fd, request(name, c.seq), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return Device{}, fmt.Errorf("ask for device %s: %w", name, err)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Device{}, fmt.Errorf("ask for device %s: %w", name, err)
		}
		d, mine, err := parse(c.buf[:n], c.seq)
		if !mine {
			continue // a late answer to a request that timed out
		}
		if errors.Is(err, unix.ENODEV) {
			return Device{}, fmt.Errorf("%s: %w", name, ErrNoDevice)
		}
		if err != nil {
			return Device{}, fmt.Errorf("ask for device %s: %w", name, err)
		}
		return d, nil
	}
}

// request builds RTM_GETLINK for one name.
func request(name string, seq uint32) []byte {
	ne := binary.NativeEndian
	attr := (unix.SizeofRtAttr + len(name) + 1 + 3) &^ 3
	b := make([]byte, 0, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg+attr)
	b = ne.AppendUint32(b, uint32(cap(b)))
	b = ne.AppendUint16(b, unix.RTM_GETLINK)
	b = ne.AppendUint16(b, unix.NLM_F_REQUEST)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	b = append(b, make([]byte, unix.SizeofIfInfomsg)...)
	b = ne.AppendUint16(b, uint16(unix.SizeofRtAttr+len(name)+1))
	b = ne.AppendUint16(b, unix.IFLA_IFNAME)
	b = append(b, name...)
	return append(b, make([]byte, cap(b)-len(b))...)
}

// parse reads one answer; mine is false when it answers something else than seq.
func parse(b []byte, seq uint32) (d Device, mine bool, err error) {
	ne := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr || ne.Uint32(b[8:]) != seq {
		return d, false, nil
	}
	kind, size := ne.Uint16(b[4:]), int(ne.Uint32(b))
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return d, true, errors.New("netlink answer is cut short")
	}
	b = b[unix.SizeofNlMsghdr:size]
	if kind == unix.NLMSG_ERROR && len(b) >= 4 {
		return d, true, unix.Errno(-int32(ne.Uint32(b)))
	}
	if kind != unix.RTM_NEWLINK || len(b) < unix.SizeofIfInfomsg {
		return d, true, fmt.Errorf("unexpected netlink answer of type %d", kind)
	}
	d.Type = ne.Uint16(b[2:])
	d.Ethernet = d.Type == unix.ARPHRD_ETHER || d.Type == unix.ARPHRD_LOOPBACK
	d.Index = int(int32(ne.Uint32(b[4:])))
	d.Up = ne.Uint32(b[8:])&unix.IFF_UP != 0
	for b = b[unix.SizeofIfInfomsg:]; len(b) >= unix.SizeofRtAttr; {
		size := int(ne.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		d.attribute(ne.Uint16(b[2:]), b[unix.SizeofRtAttr:size])
		b = b[min((size+3)&^3, len(b)):]
	}
	return d, true, nil
}

// Places in struct rtnl_link_stats64, in 8-byte words.
const (
	statRxDropped = 6
	statRxMissed  = 15
)

func (d *Device) attribute(kind uint16, v []byte) {
	ne := binary.NativeEndian
	switch {
	case kind == unix.IFLA_MTU && len(v) >= 4:
		d.MTU = int(ne.Uint32(v))
	case kind == unix.IFLA_STATS64 && len(v) >= 8*(statRxMissed+1):
		d.Dropped = ne.Uint64(v[8*statRxDropped:])
		d.Missed = ne.Uint64(v[8*statRxMissed:])
	}
}
