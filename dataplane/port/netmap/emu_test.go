//go:build linux

package netmap

import (
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

// emulation is a system with devices in memory that behave as netmap's kernel module was measured to: slots return at
// the next sync, one slot of a ring stays empty, a bad head gives POLLERR and a fresh ring, a removed device gives POLLERR
// for ever, rings that are not bound have no buffers, slots carry flags, packets may span slots.
type emulation struct {
	t *testing.T

	mu          sync.Mutex // guards the rest; held during each of its system calls, like the kernel's ring lock
	devices     map[string]*emuDevice
	all         []*emuDevice // also those that are gone
	fds         map[int]*emuFD
	lastFD      int
	promiscuity map[string]int
	polls       int
}

type emuDevice struct {
	name     string
	memfd    int
	mem      []byte
	rings    []*emuRing
	removed  bool
	jumbo    bool   // its MTU does not fit a buffer
	enslaved bool   // its rx handler is taken
	fragment int    // bytes of a packet a slot takes, 0: all
	bound    int    // file descriptors
	sole     bool   // one of them is exclusive
	nextIf   uint64 // where the next netmap_if goes
}

// emuRing is the kernel's view of a ring.
type emuRing struct {
	dev     *emuDevice
	at      uint64
	hwcur   uint32 // the first slot that user space has not given back
	hwtail  uint32 // the first slot without a packet
	waiting [][]byte
	room    int // free slots less what waits
	lost    int
	nextBuf uint32
	bound   bool
}

type emuFD struct {
	dev   *emuDevice
	rings []*emuRing
	sole  bool
}

const (
	emuSlots   = 1024
	emuBufSize = 2048
	emuBufs    = 3 * emuSlots
)

func newEmulation(t *testing.T) *emulation {
	t.Helper()
	e := &emulation{t: t, devices: map[string]*emuDevice{}, fds: map[int]*emuFD{}, promiscuity: map[string]int{}}
	t.Cleanup(func() { // after every port, for they are opened later
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, d := range e.all {
			_ = unix.Munmap(d.mem)
			_ = unix.Close(d.memfd)
		}
	})
	return e
}

// add makes a device with so many receive rings.
func (e *emulation) add(name string, rings int) *emuDevice {
	e.t.Helper()
	const ringBytes = ringSlots + emuSlots*slotSize
	at := uint64(64 << 10)
	total := at + uint64(2*rings+2)*(ringBytes+uint64(emuBufs)*emuBufSize)
	fd, err := unix.MemfdCreate("weir-netmap", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, int64(total))
	}
	if err != nil {
		e.t.Fatal("memfd: ", err)
	}
	mem, err := unix.Mmap(fd, 0, int(total), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		e.t.Fatal(err)
	}
	d := &emuDevice{name: name, memfd: fd, mem: mem}
	for range rings {
		r := &emuRing{dev: d, at: at, room: emuSlots - 1}
		d.garbage(r)
		d.rings = append(d.rings, r)
		at += ringBytes + uint64(emuBufs)*emuBufSize
		at = (at + 127) &^ 127
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.devices[name] = d
	e.all = append(e.all, d)
	return d
}

// garbage is what a ring holds that nobody bound.
func (d *emuDevice) garbage(r *emuRing) {
	le.PutUint64(d.mem[r.at+ringBufOfs:], 0xdeadbeefdeadbeef)
	le.PutUint32(d.mem[r.at+ringNumSlots:], emuSlots)
	le.PutUint32(d.mem[r.at+ringBufSize:], 0)
	le.PutUint16(d.mem[r.at+ringDir:], 1)
}

func (e *emulation) open() (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastFD++
	e.fds[e.lastFD] = &emuFD{}
	return e.lastFD, nil
}

func (e *emulation) ctrl(fd int, header, body []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.fds[fd]
	if f == nil {
		return unix.EBADF
	}
	if v := le.Uint16(header[hdrVersion:]); len(header) != 88 || v < 14 || v > 15 {
		return unix.EINVAL
	}
	name := nameOf(header)
	if strings.HasPrefix(name, "vale") && !strings.Contains(name, ":") {
		return unix.ENOMEM
	}
	d := e.devices[name]
	if d == nil || d.removed {
		return unix.ENXIO
	}
	switch le.Uint16(header[hdrType:]) {
	case reqRegister:
		if len(body) != 56 {
			return unix.EFAULT
		}
		return e.register(f, d, body)
	case reqPortInfo:
		if len(body) != 32 {
			return unix.EFAULT
		}
		le.PutUint64(body[infoMemSize:], uint64(len(d.mem)))
		le.PutUint32(body[infoRxSlots:], emuSlots)
		le.PutUint16(body[infoRxRings:], uint16(len(d.rings)))
		return nil
	}
	return unix.EINVAL
}

func (e *emulation) register(f *emuFD, d *emuDevice, body []byte) error {
	if f.dev != nil {
		return unix.EBUSY
	}
	flags := le.Uint64(body[regFlags:])
	if d.enslaved || d.sole || (flags&flagExclusive != 0 && d.bound > 0) {
		return unix.EBUSY
	}
	if d.jumbo {
		return unix.EINVAL
	}
	id := int(le.Uint16(body[regRingID:]))
	switch le.Uint32(body[regMode:]) {
	case modeAllNIC:
		f.rings = d.rings
	case modeOneNIC:
		if id >= len(d.rings) {
			return unix.EINVAL
		}
		f.rings = d.rings[id : id+1]
	default:
		return unix.EINVAL
	}
	f.dev = d
	d.bound++
	d.sole = flags&flagExclusive != 0
	f.sole = d.sole
	at := d.nextIf
	d.nextIf = (d.nextIf + 1024) % (64 << 10)
	n := uint32(len(d.rings))
	for off, v := range map[int]uint32{ifTxRings: n, ifRxRings: n, ifHostTx: 1, ifHostRx: 1} {
		le.PutUint32(d.mem[at+uint64(off):], v)
	}
	for i, r := range d.rings { // behind the NIC's and the host's transmit rings
		le.PutUint64(d.mem[at+ifRings+8*uint64(int(n)+1+i):], r.at-at)
	}
	for _, r := range f.rings {
		r.bind()
	}
	le.PutUint64(body[regOffset:], at)
	le.PutUint64(body[regMemSize:], uint64(len(d.mem)))
	le.PutUint16(body[regRxRings:], uint16(n))
	return nil
}

func (r *emuRing) bind() {
	if r.bound {
		return
	}
	r.bound = true
	m := r.dev.mem
	le.PutUint64(m[r.at+ringBufOfs:], ringSlots+emuSlots*slotSize)
	le.PutUint32(m[r.at+ringBufSize:], emuBufSize)
	for _, off := range []int{ringHead, ringCur, ringTail} {
		le.PutUint32(m[r.at+uint64(off):], r.hwtail)
	}
	r.hwcur = r.hwtail
	r.room = emuSlots - 1
	r.waiting = nil
}

// sync is the kernel's rxsync with its prologue; false means POLLERR, and the ring is made anew.
func (r *emuRing) sync() bool {
	m := r.dev.mem
	word := func(off int) uint32 { return le.Uint32(m[r.at+uint64(off):]) }
	head, cur := word(ringHead), word(ringCur)
	dist := func(a, b uint32) uint32 { return (b + emuSlots - a) % emuSlots }
	if head >= emuSlots || cur >= emuSlots || dist(r.hwcur, head) > dist(r.hwcur, r.hwtail) || dist(r.hwcur, cur) < dist(r.hwcur, head) {
		for _, off := range []int{ringHead, ringCur, ringTail} {
			le.PutUint32(m[r.at+uint64(off):], r.hwtail)
		}
		r.hwcur = r.hwtail
		r.room = emuSlots - 1 - len(r.waiting)
		return false
	}
	for _, f := range r.waiting {
		r.put(f)
	}
	r.waiting = r.waiting[:0]
	r.room += int(dist(r.hwcur, head)) // given back: from now on there is room again
	r.hwcur = head
	now := time.Now()
	le.PutUint64(m[r.at+ringTime:], uint64(now.Unix()))
	le.PutUint64(m[r.at+ringTime+8:], uint64(now.Nanosecond()/1000))
	le.PutUint32(m[r.at+ringTail:], r.hwtail)
	return true
}

// put writes a packet into the next slots.
func (r *emuRing) put(frame []byte) {
	part := r.part()
	for len(frame) > 0 {
		n := min(len(frame), part)
		slot := r.dev.mem[r.at+ringSlots+slotSize*uint64(r.hwtail):]
		r.nextBuf = (r.nextBuf + 1) % emuBufs // buffers change places: a reader must read the index each time
		copy(r.dev.mem[r.at+ringSlots+emuSlots*slotSize+uint64(r.nextBuf)*emuBufSize:], frame[:n])
		flags := uint16(0x0100) // as seen on VALE
		if n < len(frame) {
			flags |= moreFrag
		}
		le.PutUint32(slot[slotBuf:], r.nextBuf)
		le.PutUint16(slot[slotLen:], uint16(n))
		le.PutUint16(slot[slotFlags:], flags)
		r.hwtail = (r.hwtail + 1) % emuSlots
		frame = frame[n:]
	}
}

func (r *emuRing) part() int {
	if r.dev.fragment > 0 {
		return r.dev.fragment
	}
	return emuBufSize
}

// send makes frames arrive at a device, spread over its rings by flow.
func (e *emulation) send(name string, frames [][]byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.devices[name]
	if d == nil || d.removed {
		return 0, fmt.Errorf("%s is gone", name)
	}
	for _, f := range frames {
		flow := f
		if len(f) > 38 {
			flow = f[26:38]
		}
		if len(f) > 58 && f[12] == 0x86 {
			flow = f[22:58]
		}
		r := d.rings[crc32.ChecksumIEEE(flow)%uint32(len(d.rings))]
		need := (len(f) + r.part() - 1) / r.part()
		if !r.bound || r.room < need {
			r.lost++
			continue
		}
		r.room -= need
		r.waiting = append(r.waiting, append([]byte(nil), f...))
	}
	return len(frames), nil
}

func (e *emulation) mmap(fd, size int) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.fds[fd]
	if f == nil || f.dev == nil || size > len(f.dev.mem) {
		return nil, unix.EINVAL // before register
	}
	return unix.Mmap(f.dev.memfd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (e *emulation) munmap(mem []byte) error { return unix.Munmap(mem) }

// look syncs once; ready says that there is something to read.
func (e *emulation) look(fds []int) (ready, broken bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polls++
	for _, fd := range fds {
		f := e.fds[fd]
		if f == nil || f.dev == nil || f.dev.removed {
			broken = true
			continue
		}
		for _, r := range f.rings {
			broken = !r.sync() || broken
			ready = ready || le.Uint32(f.dev.mem[r.at+ringHead:]) != r.hwtail
		}
	}
	return ready, broken
}

func (e *emulation) poll(fds []int, d time.Duration) (bool, error) {
	for deadline := time.Now().Add(d); ; time.Sleep(50 * time.Microsecond) {
		ready, broken := e.look(fds)
		if ready || broken || !time.Now().Before(deadline) {
			return broken, nil
		}
	}
}

func (e *emulation) rxsync(fd int) error {
	e.mu.Lock()
	f := e.fds[fd]
	e.mu.Unlock()
	if f == nil || f.dev == nil {
		return unix.ENXIO // before register
	}
	if _, broken := e.look([]int{fd}); broken {
		return unix.EINVAL
	}
	return nil
}

func (e *emulation) close(fd int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.fds[fd]
	if f == nil {
		return unix.EBADF
	}
	delete(e.fds, fd)
	if f.dev != nil {
		f.dev.bound--
		if f.sole {
			f.dev.sole = false
		}
		for _, r := range f.rings {
			r.bound = false
			f.dev.garbage(r)
		}
	}
	return nil
}

func (e *emulation) promiscuous(device string) (func() error, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.devices[device]; d == nil || d.removed {
		return nil, unix.ENODEV
	}
	e.promiscuity[device]++
	return func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.promiscuity[device]--
		return nil
	}, nil
}

// device makes an emulated device for the conformance suite.
func (e *emulation) device(name string, rings int, dev porttest.Device) porttest.Device {
	e.add(name, rings)
	dev.Send = func(frames [][]byte) (int, error) { return e.send(name, frames) }
	dev.Remove = func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.devices[name].removed = true
		return nil
	}
	dev.Restore = func() error { e.add(name, rings); return nil }
	return dev
}
