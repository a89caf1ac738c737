//go:build linux

package afxdp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
)

// socket is one AF_XDP socket with its memory and its two rings. Every chunk of memory is at any time in exactly one
// place: the fill ring, the kernel or device, the RX ring, or the worker's burst. All rings have room for all chunks, so
// giving one back never waits.
type socket struct {
	fd        int
	umem      []byte
	unaligned bool   // see spread
	chunkMask uint64 // clears the offset of a frame in its chunk
	rx, fill  *ring
	zerocopy  bool

	// given are the chunks whose return the kernel has not been told of; it is told of at least tell at once. See publish.
	given, tell uint32

	base  uintptr // address of umem
	heads [port.MaxBurst]uintptr
}

// spread is how much farther apart than their size chunks lie. At a distance of a power of two the heads of all frames would share
// a few sets of each cache and push one another out. Only the kernel's own copying takes them at any address; devices differ.
const spread = 64

// Where a frame lies in unaligned memory: the address of its chunk, and the distance from there in the upper bits. In aligned memory
// the upper bits are 0.
const (
	offsetShift = 48
	addressMask = 1<<offsetShift - 1
)

// tellParts is which part of all chunks the kernel need not be told of at once.
const tellParts = 32

// newSocket makes a socket on a queue of a device, with all its memory in the fill ring. Without an order the device writes the frames
// if it can, as the kernel itself would choose, and else the kernel copies them.
func newSocket(index, queue int, o Options) (*socket, error) {
	if o.Copy != auto || o.Mode == generic {
		return newSocketOf(index, queue, o)
	}
	o.Copy = zerocopy
	s, err := newSocketOf(index, queue, o)
	if err == nil || errors.Is(err, unix.EBUSY) {
		return s, err
	}
	o.Copy = copying
	return newSocketOf(index, queue, o)
}

func newSocketOf(index, queue int, o Options) (*socket, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("AF_XDP socket: %w (CAP_NET_RAW is needed)", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("AF_XDP socket: %w (this kernel was built without AF_XDP)", err)
	case err != nil:
		return nil, fmt.Errorf("AF_XDP socket: %w", err)
	}
	s := &socket{fd: fd, chunkMask: ^uint64(o.FrameSize - 1), tell: uint32(o.Frames / tellParts)}
	if o.Copy != zerocopy {
		s.unaligned, s.chunkMask = true, addressMask
	}
	if err := s.setUp(index, queue, o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *socket) setUp(index, queue int, o Options) error {
	stride := o.FrameSize
	if s.unaligned {
		stride += spread
	}
	if err := s.reserve(stride, o); err != nil {
		return err
	}
	for _, opt := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		n := o.Frames
		if opt == unix.XDP_UMEM_COMPLETION_RING {
			n = minFrames // we never send; the kernel wants one all the same
		}
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, opt, n); err != nil {
			return fmt.Errorf("ring of %d entries: %w", n, err)
		}
	}
	off, err := getsockopt[unix.XDPMmapOffsets](s.fd, unix.XDP_MMAP_OFFSETS)
	if err != nil {
		return fmt.Errorf("ring offsets: %w", err)
	}
	if s.rx, err = mapRing(s.fd, unix.XDP_PGOFF_RX_RING, off.Rx, o.Frames, true); err != nil {
		return fmt.Errorf("map RX ring: %w", err)
	}
	if s.fill, err = mapRing(s.fd, unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, o.Frames, false); err != nil {
		return fmt.Errorf("map fill ring: %w", err)
	}
	for i := range o.Frames {
		s.fill.addrs[i] = uint64(i * stride)
	}
	s.fill.cached = uint32(o.Frames)
	atomic.StoreUint32(s.fill.producer, s.fill.cached)
	return s.bind(index, queue, o)
}

const hugePage = 2 << 20

// reserve makes the memory for frames, and tells the kernel.
func (s *socket) reserve(stride int, o Options) (err error) {
	size := stride * o.Frames
	if size > hugePage { // else it would begin and end in small pages
		size = (size + hugePage - 1) / hugePage * hugePage
	}
	s.umem, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map %d bytes for frames: %w", size, err)
	}
	s.base = arena.Address(s.umem)
	_ = unix.Madvise(s.umem, unix.MADV_HUGEPAGE) // fewer TLB misses where huge pages exist; nothing is lost where not
	err = registerUmem(s.fd, s.umem, o.FrameSize, s.unaligned)
	if errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("register %d bytes for frames: %w (CAP_IPC_LOCK or a larger memlock limit is needed)", size, err)
	}
	if err != nil {
		return fmt.Errorf("register %d bytes for frames: %w", size, err)
	}
	return nil
}

// The kernel frees the queue of a closed socket, also of a killed process, from a work queue of its own, some time later:
// until then it is busy.
const (
	busyWait = 2 * time.Second
	busyPoll = 5 * time.Millisecond
)

func (s *socket) bind(index, queue int, o Options) error {
	flags := uint16(unix.XDP_USE_NEED_WAKEUP)
	switch o.Copy {
	case zerocopy:
		flags |= unix.XDP_ZEROCOPY
	default:
		flags |= unix.XDP_COPY
	}
	addr := &unix.SockaddrXDP{Flags: flags, Ifindex: uint32(index), QueueID: uint32(queue)}
	err := unix.Bind(s.fd, addr)
	for deadline := time.Now().Add(busyWait); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); err = unix.Bind(s.fd, addr) {
		time.Sleep(busyPoll)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("bind to queue %d: %w (another AF_XDP socket has it)", queue, err)
	case errors.Is(err, unix.EOPNOTSUPP) && o.Copy == zerocopy:
		return fmt.Errorf("bind to queue %d: %w (the driver cannot do zerocopy)", queue, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("bind to queue %d: %w (the device may not have this queue)", queue, err)
	case err != nil:
		return fmt.Errorf("bind to queue %d: %w", queue, err)
	}
	v, err := unix.GetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_OPTIONS)
	s.zerocopy = err == nil && v&unix.XDP_OPTIONS_ZEROCOPY != 0
	return nil
}

// close gives everything back. Nobody may use the socket or its frames any more.
func (s *socket) close() error {
	errs := []error{unix.Close(s.fd), s.rx.unmap(), s.fill.unmap()}
	if s.umem != nil {
		errs = append(errs, unix.Munmap(s.umem))
	}
	return errors.Join(errs...)
}

// receive takes what is in the RX ring, up to a burst. The entries stay ours until giveBack.
func (s *socket) receive(b *port.Burst) (n int, sum uint64) {
	rx := s.rx
	at := rx.cached
	n = int(min(atomic.LoadUint32(rx.producer)-at, port.MaxBurst))
	for i := range n {
		d := &rx.descs[(at+uint32(i))&rx.mask]
		from, size := d.Addr&addressMask+d.Addr>>offsetShift, uint64(d.Len)
		b.Frames[i] = port.Frame{Data: s.umem[from : from+size : from+size], WireLen: d.Len}
		s.heads[i] = s.base + uintptr(from)
		sum += size
	}
	if n > 0 {
		arena.Prefetch(&s.heads[0], n) // another core wrote them: see bench/ports, "reads the header"
	} else if s.given > 0 {
		s.publish() // before the worker sleeps
	}
	return n, sum
}

// giveBack moves the chunks of the n entries that receive returned last into the fill ring, for publish to tell.
func (s *socket) giveBack(n int) {
	rx, fill := s.rx, s.fill
	for i := range uint32(n) {
		fill.addrs[(fill.cached+i)&fill.mask] = rx.descs[(rx.cached+i)&rx.mask].Addr & s.chunkMask
	}
	rx.cached += uint32(n)
	fill.cached += uint32(n)
	if s.given += uint32(n); s.given >= s.tell {
		s.publish()
	}
}

// publish tells the kernel of all that was given back. Each time costs the way of two cache lines to the kernel's processor and back, and
// waits for all entries before to be there.
func (s *socket) publish() {
	s.given = 0
	atomic.StoreUint32(s.rx.consumer, s.rx.cached)
	atomic.StoreUint32(s.fill.producer, s.fill.cached)
}

// wake makes the driver look at the fill ring again, when it asked for that. It does not block.
func (s *socket) wake() {
	if s.fill.needWakeup() {
		_, _, _ = unix.Recvfrom(s.fd, nil, unix.MSG_DONTWAIT) // there is nothing to read: the call is what counts
	}
}

// statistics reads the kernel's counters of this socket, which only grow.
func (s *socket) statistics() unix.XDPStatistics {
	v, err := getsockopt[unix.XDPStatistics](s.fd, unix.XDP_STATISTICS)
	if err != nil {
		return unix.XDPStatistics{} // older than 5.9; such kernels are not supported, and have no figures
	}
	return v
}
