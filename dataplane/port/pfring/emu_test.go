//go:build linux

package pfring

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

// emulation is a system with a PF_RING module in memory: options of exact length and in the right order, rings that
// wrap as the module's do, clusters, both directions, and a ring that wedges.
type emulation struct {
	version    uint32 // of the module
	slot       uint16 // version of the flow slots
	header     uint16
	locked     bool // no module: the socket cannot be had
	wedged     bool // packets are lost for no reason
	minSlots   uint64
	mu         sync.Mutex // guards all, like the module's lock
	devices    map[string]int
	nextIndex  int
	sockets    map[int]*emuSocket
	everOpened []*emuSocket
	lastFD     int
}

type emuSocket struct {
	fd, memfd int
	mem       []byte
	bucket    uint64
	short     bool
	ifindex   int
	active    bool
	direction uint32
	cluster   uint16
	spread    uint32
	promisc   bool
	insertOff uint64
	slotLen   uint64
}

func newEmulation(t *testing.T) *emulation {
	t.Helper()
	e := &emulation{
		version: 0x080900, slot: 21, header: 48, minSlots: 4096, nextIndex: 1,
		devices: map[string]int{}, sockets: map[int]*emuSocket{},
	}
	t.Cleanup(func() { // after every port, for they are opened later
		for _, s := range e.everOpened {
			if s.mem != nil {
				_ = unix.Munmap(s.mem)
				_ = unix.Close(s.memfd)
			}
		}
	})
	return e
}

func (e *emulation) add(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nextIndex++
	e.devices[name] = e.nextIndex
}

func (e *emulation) socket() (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.locked {
		return -1, unix.EAFNOSUPPORT
	}
	e.lastFD++
	s := &emuSocket{fd: e.lastFD, bucket: 128}
	e.sockets[e.lastFD] = s
	e.everOpened = append(e.everOpened, s)
	return e.lastFD, nil
}

func (e *emulation) setsockopt(fd, option int, v []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sockets[fd]
	if s == nil {
		return unix.EBADF
	}
	lengths := map[int]int{107: 4, 127: 4, 111: 4, 126: 4, 140: 4, 117: 2, 99: 12, 106: 1}
	if want, ok := lengths[option]; ok && want != len(v) {
		return unix.EINVAL
	}
	switch option {
	case 107, 127: // before the ring exists
		if s.mem != nil {
			return unix.EINVAL
		}
		if option == 107 {
			s.bucket = uint64(le.Uint32(v))
		} else {
			s.short = true
		}
	case 111:
		s.direction = le.Uint32(v)
	case 126:
		if le.Uint32(v) != 2 {
			return unix.EINVAL
		}
	case 140:
		s.promisc = le.Uint32(v) == 1
	case 117:
		if n := uint64(le.Uint16(v)); n == 0 || n > e.minSlots/2 {
			return unix.EINVAL
		}
	case 110:
	case 99:
		if s.ifindex == 0 || le.Uint16(v[2:]) != 0xffff {
			return unix.EINVAL
		}
		s.cluster, s.spread = le.Uint16(v), le.Uint32(v[8:])
	case 106:
		if s.mem == nil || s.ifindex == 0 {
			return unix.EINVAL
		}
		s.active = true
	default:
		return unix.ENOPROTOOPT
	}
	return nil
}

func (e *emulation) getsockopt(fd, option int, v []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case option == 170 && len(v) == 4:
		le.PutUint32(v, e.version)
	case option == 179 && len(v) == 2:
		le.PutUint16(v, e.header)
	default:
		return unix.EINVAL
	}
	return nil
}

func (e *emulation) bind(fd int, sa []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sockets[fd]
	if len(sa) != 20 || le.Uint16(sa) != 27 || le.Uint16(sa[2:]) != 3 {
		return unix.EINVAL
	}
	index := int(le.Uint32(sa[4:]))
	for _, i := range e.devices {
		if i == index {
			s.ifindex = index
			return nil
		}
	}
	return unix.ENODEV
}

func (e *emulation) mmap(fd, size int) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sockets[fd]
	if s.mem == nil {
		if err := e.allocate(s); err != nil {
			return nil, err
		}
	}
	if size > len(s.mem) {
		return nil, unix.EINVAL
	}
	return unix.Mmap(s.memfd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// allocate makes a socket's ring as the module does at the first mmap.
func (e *emulation) allocate(s *emuSocket) error {
	s.slotLen = (48 + s.bucket + 2 + 7) &^ 7
	total := (8192 + e.minSlots*s.slotLen + 4095) &^ 4095
	var err error
	if s.memfd, err = unix.MemfdCreate("weir-pfring", unix.MFD_CLOEXEC); err == nil {
		err = unix.Ftruncate(s.memfd, int64(total))
	}
	if err == nil {
		s.mem, err = unix.Mmap(s.memfd, 0, int(total), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return err
	}
	le.PutUint16(s.mem, e.slot)
	le.PutUint32(s.mem[4:], uint32(e.minSlots))
	le.PutUint32(s.mem[8:], uint32(s.slotLen))
	le.PutUint32(s.mem[12:], uint32(s.bucket))
	le.PutUint64(s.mem[16:], total)
	return nil
}

func (e *emulation) munmap(mem []byte) error { return unix.Munmap(mem) }

func (e *emulation) poll(fd int, d time.Duration) {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		e.mu.Lock()
		s := e.sockets[fd]
		ready := s != nil && word(s.mem, infoTotInsert).Load() != word(s.mem, infoTotRead).Load()
		e.mu.Unlock()
		if ready {
			return
		}
	}
}

func (e *emulation) ifindex(name string) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i, ok := e.devices[name]; ok {
		return i, nil
	}
	return 0, fmt.Errorf("%s: no such network interface", name)
}

func (e *emulation) close(fd int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sockets[fd] == nil {
		return unix.EBADF
	}
	delete(e.sockets, fd)
	return nil
}

// send makes frames come in at an interface; out makes the host send them.
func (e *emulation) send(name string, frames [][]byte) (int, error) {
	return e.pass(name, frames, true)
}

func (e *emulation) out(name string, frames [][]byte) (int, error) {
	return e.pass(name, frames, false)
}

func (e *emulation) pass(name string, frames [][]byte, in bool) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	index, ok := e.devices[name]
	if !ok {
		return 0, errors.New(name + " is gone")
	}
	for _, f := range frames {
		groups := map[uint16][]*emuSocket{}
		for fd := range e.lastFD + 1 { // in the order in which they joined
			s := e.sockets[fd]
			if s == nil || !s.active || s.ifindex != index || (s.direction == 1 && !in) {
				continue
			}
			if s.cluster == 0 {
				e.insert(s, f, in)
			} else {
				groups[s.cluster] = append(groups[s.cluster], s)
			}
		}
		for _, members := range groups {
			e.insert(members[flowOf(f)%uint32(len(members))], f, in)
		}
	}
	return len(frames), nil
}

func flowOf(f []byte) uint32 {
	switch {
	case len(f) > 58 && f[12] == 0x86:
		f = f[22:54]
	case len(f) > 38:
		f = f[26:34]
	}
	return crc32.ChecksumIEEE(f)
}

// insert is the module's add_pkt_to_ring.
func (e *emulation) insert(s *emuSocket, f []byte, in bool) {
	w := func(off int) uint64 { return word(s.mem, off).Load() }
	word(s.mem, infoTotPkts).Add(1)
	room := uint64(len(s.mem)) - 8192
	removeOff := w(infoRemoveOff)
	gap := removeOff - s.insertOff
	// Equal offsets mean an empty ring: insertion stops two slots before a full one. The reader publishes its offset before its count, so
	// asking the count as well would lose a frame in between, which the tests could not tell from a fault of the driver.
	if removeOff <= s.insertOff {
		gap = room - s.insertOff + removeOff
	}
	if e.wedged || gap < 2*s.slotLen || w(infoTotInsert)-w(infoTotRead) >= e.minSlots {
		word(s.mem, infoTotLost).Add(1)
		return
	}
	caplen := min(uint64(len(f)), s.bucket)
	slot := s.mem[8192+s.insertOff:]
	now := time.Now()
	clear(slot[:48])
	le.PutUint64(slot, uint64(now.Unix()))
	le.PutUint64(slot[8:], uint64(now.Nanosecond()/1000))
	le.PutUint32(slot[16:], uint32(caplen))
	le.PutUint32(slot[20:], uint32(len(f)))
	le.PutUint64(slot[24:], uint64(now.UnixNano()))
	if in {
		slot[36] = 1
	}
	copy(slot[48:48+caplen], f)
	slot[48+caplen], slot[49+caplen] = 0x88, 0x88
	s.insertOff += (48 + caplen + 2 + 7) &^ 7
	if s.insertOff+s.slotLen > room {
		s.insertOff = 0
	}
	word(s.mem, infoTotInsert).Add(1)
}

// device completes an emulated interface for the conformance suite.
func (e *emulation) device(name string, dev porttest.Device) porttest.Device {
	e.add(name)
	dev.Send = func(frames [][]byte) (int, error) { return e.send(name, frames) }
	dev.Remove = func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.devices, name)
		return nil
	}
	dev.Restore = func() error { e.add(name); return nil }
	return dev
}
