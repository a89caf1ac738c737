package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Group is the sockets of one port.
type Group struct {
	addr    netip.AddrPort
	sockets []*Socket
	steer   error
}

// Open opens the sockets of one port. Every error names the address; on an error nothing stays open.
func Open(c Config) (*Group, error) {
	g := &Group{addr: netip.AddrPortFrom(c.Address.Unmap(), c.Port)}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("listen %s: %w", g.addr, err)
	}
	n := c.Count()
	for i := range n {
		s, err := open(g.addr, c.Buffer, n > 1)
		if errors.Is(err, unix.EAFNOSUPPORT) && i == 0 && g.addr.Addr() == netip.IPv6Unspecified() {
			g.addr = netip.AddrPortFrom(netip.IPv4Unspecified(), g.addr.Port())
			s, err = open(g.addr, c.Buffer, n > 1)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen %s: %w", g.addr, err), g.Close())
		}
		s.index = i
		g.sockets = append(g.sockets, s)
		if g.addr.Port() == 0 { // the kernel's choice is what the others share
			if g.addr, err = s.bound(); err != nil {
				return nil, errors.Join(fmt.Errorf("listen: %w", err), g.Close())
			}
		}
	}
	for _, s := range g.sockets {
		s.addr = g.addr
	}
	if n > 1 {
		g.steer = steer(g.sockets[0].fd, n)
	}
	return g, nil
}

// Addr is what is bound, with the port that the kernel chose if it did.
func (g *Group) Addr() netip.AddrPort { return g.addr }

// Sockets are the group's, in the order of Open.
func (g *Group) Sockets() []*Socket { return g.sockets }

// Steering is nil when datagrams are dealt out evenly (or there is one socket), and why not otherwise: the kernel then
// chooses by exporter.
func (g *Group) Steering() error { return g.steer }

// Close closes every socket. Their workers must have ended.
func (g *Group) Close() error {
	var errs []error
	for _, s := range g.sockets {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Socket is one receive queue. Recv belongs to one goroutine, the rest to any.
type Socket struct {
	addr   netip.AddrPort
	index  int
	buffer int // what the kernel gave, in bytes

	received, bytes, truncated, failures atomic.Uint64 // the worker adds once a batch

	mu      sync.Mutex // guards fd against Close; Recv needs none, it ends before Close
	fd      int        // -1 when closed
	dropped uint64     // as last read
}

// SocketStats is what one socket has seen since it was opened.
type SocketStats struct {
	Address netip.AddrPort `json:"address"`
	// Index tells the sockets of one port apart.
	Index int `json:"index"`
	// Datagrams and Bytes (UDP payload) were received.
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"`
	// Dropped is what the kernel threw away here: its buffer was full, or a checksum was wrong. Only Linux tells.
	Dropped uint64 `json:"dropped"`
	// Truncated datagrams were longer than MaxDatagram; there are none unless the kernel is odd.
	Truncated uint64 `json:"truncated,omitempty"`
	// Failures are system calls that went wrong.
	Failures uint64 `json:"failures,omitempty"`
	// Buffer is the receive buffer in bytes that the kernel gave.
	Buffer int `json:"buffer"`
}

func open(addr netip.AddrPort, buffer int, shared bool) (*Socket, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := socket(family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &Socket{fd: fd, addr: addr}
	if err := s.prepare(family, shared, buffer); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), s.Close())
	}
	return s, nil
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

func (s *Socket) prepare(family int, shared bool, buffer int) error {
	set := func(name string, level, opt, value int) error {
		return os.NewSyscallError("setsockopt "+name, unix.SetsockoptInt(s.fd, level, opt, value))
	}
	if family == unix.AF_INET6 {
		only := 1
		if s.addr.Addr().IsUnspecified() {
			only = 0
		}
		if err := set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	if shared {
		if err := set("SO_REUSEPORT", unix.SOL_SOCKET, reusePort, 1); err != nil {
			return err
		}
	}
	joinRuns(s.fd)
	var err error
	if s.buffer, err = setBuffer(s.fd, buffer); err != nil {
		return err
	}
	// The wait of a blocking receive. recvmmsg has an argument for it, which is only looked at when a datagram arrives.
	tv := unix.NsecToTimeval(Wake.Nanoseconds())
	return os.NewSyscallError("setsockopt SO_RCVTIMEO", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

func (s *Socket) bound() (netip.AddrPort, error) {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("getsockname: %T", sa)
}

// Recv fills b with the datagrams that are there, waiting up to Wake for the first. It returns how many, which may be
// none, and an error when the socket is of no more use.
func (s *Socket) Recv(b *Batch) (int, error) {
	n, errno := b.receive(s.fd)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	case unix.EBADF, unix.ENOTSOCK:
		return 0, fmt.Errorf("listen %s: %w", s.addr, errno)
	default: // an ICMP error that came back, a shortage of memory: the next call is another matter
		s.failures.Add(1)
		return 0, nil
	}
	var bytes, cut uint64
	for i := range n {
		bytes += uint64(b.size(i))
		if b.truncated(i) {
			cut++
		}
	}
	s.received.Add(uint64(n))
	s.bytes.Add(bytes)
	if cut > 0 {
		s.truncated.Add(cut)
	}
	return n, nil
}

// Addr is what the socket is bound to.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// Index tells the sockets of one port apart.
func (s *Socket) Index() int { return s.index }

// Stats is safe at any time.
func (s *Socket) Stats() SocketStats {
	return SocketStats{
		Address: s.addr, Index: s.index, Datagrams: s.received.Load(), Bytes: s.bytes.Load(), Dropped: s.drops(),
		Truncated: s.truncated.Load(), Failures: s.failures.Load(), Buffer: s.buffer,
	}
}

// drops adds what the kernel's counter grew by. The counter has 32 bits; between two readings it moves less.
func (s *Socket) drops() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		if n, ok := memDrops(s.fd); ok {
			s.dropped += uint64(n - uint32(s.dropped))
		}
	}
	return s.dropped
}

// Close closes the socket; its worker must have ended. It is idempotent.
func (s *Socket) Close() error {
	s.drops()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return os.NewSyscallError("close", err)
}
