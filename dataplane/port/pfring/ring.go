//go:build linux

package pfring

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
)

// ring is one socket and its memory. The kernel inserts packets and counts them in tot_insert; we count what we gave back in
// tot_read and say where we are in remove_off.
type ring struct {
	sys   system
	fd    int
	mem   []byte
	slots []byte
	last  uint64 // a slot that begins behind it is not used: the longest one would not fit

	// The worker's place.
	off, read uint64
	received  bool // leave out what the host sent
	skipped   uint64
	broken    bool
	heads     [port.MaxBurst]uintptr
}

// setup is the order in which the module wants its options before the ring exists.
func newRing(sys system, o Options) (*ring, error) {
	fd, err := sys.socket()
	if err != nil {
		return nil, err
	}
	r := &ring{sys: sys, fd: fd, received: !o.Outgoing && !o.Unlocked}
	if err := r.prepare(o); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// prepare asks for the module's version, for family 27 is not its alone, and for the form of the slots.
func (r *ring) prepare(o Options) error {
	version := make([]byte, 4)
	if err := r.sys.getsockopt(r.fd, optRingVersion, version); err != nil {
		return fmt.Errorf("ask for the version: %w (is it PF_RING?)", err)
	}
	if v := le.Uint32(version); v>>16 != majorVer {
		return fmt.Errorf("PF_RING %d.%d.%d: only 8.x is known", v>>16, v>>8&0xff, v&0xff)
	}
	return r.set(setting{optBucketLen, u32(uint32(o.Snap)), "snap"}, setting{optShortHeader, u32(1), "short headers"})
}

type setting struct {
	option int
	value  []byte
	what   string
}

func (r *ring) set(all ...setting) error {
	for _, s := range all {
		if err := r.sys.setsockopt(r.fd, s.option, s.value); err != nil {
			return fmt.Errorf("%s (option %d): %w", s.what, s.option, err)
		}
	}
	return nil
}

// bind connects the socket to the interface and maps the ring; nothing is received before activate.
func (r *ring) bind(ifindex int, o Options, clusterID int) error {
	if err := r.sys.bind(r.fd, sockaddr(ifindex)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	n := make([]byte, 2)
	if err := r.sys.getsockopt(r.fd, optHeaderLen, n); err != nil {
		return fmt.Errorf("ask for the length of headers: %w", err)
	}
	if got := le.Uint16(n); got != headerLen {
		return fmt.Errorf("headers of %d bytes: only %d are known", got, headerLen)
	}
	if err := r.mapMemory(); err != nil {
		return err
	}
	direction := uint32(directionBoth)
	if o.Unlocked {
		direction = directionRx
	}
	all := []setting{
		{optDirection, u32(direction), "direction"},
		{optSocketMode, u32(modeReceive), "receive only"},
		{optApplName, []byte("weir"), "name"},
		{optWatermark, u16(1), "watermark"},
	}
	if o.Promiscuous {
		all = append(all, setting{optPromiscuous, u32(1), "promiscuous mode"})
	}
	if clusterID != 0 {
		all = append(all, setting{optAddToCluster, cluster(clusterID, spreads[o.Spread]), "cluster"})
	}
	return r.set(all...)
}

// mapMemory maps the first page to learn how much there is, then all.
func (r *ring) mapMemory() error {
	const page = 4096
	first, err := r.sys.mmap(r.fd, page)
	if err != nil {
		return fmt.Errorf("map the ring's first page: %w", err)
	}
	version, total := le.Uint16(first[infoVersion:]), le.Uint64(first[infoTotMem:])
	slotLen := uint64(le.Uint32(first[infoSlotLen:]))
	if err := r.sys.munmap(first); err != nil {
		return fmt.Errorf("unmap the ring's first page: %w", err)
	}
	switch {
	case version != slotVer:
		return fmt.Errorf("flow slots of version %d: only %d is known", version, slotVer)
	case total < infoSize+2*slotLen || total > 1<<40 || slotLen < headerLen || slotLen > 1<<20:
		return fmt.Errorf("a ring of %d bytes with slots of %d makes no sense", total, slotLen)
	}
	if r.mem, err = r.sys.mmap(r.fd, int(total)); err != nil {
		return fmt.Errorf("map %d bytes: %w", total, err)
	}
	r.slots = r.mem[infoSize:]
	r.last = uint64(len(r.slots)) - slotLen
	r.off, r.read = word(r.mem, infoRemoveOff).Load(), word(r.mem, infoTotRead).Load()
	return nil
}

// activate lets frames in.
func (r *ring) activate() error { return r.set(setting{optActivate, []byte{0}, "activate"}) }

func (r *ring) close() error {
	var err error
	if r.mem != nil {
		err = r.sys.munmap(r.mem)
		r.mem, r.slots = nil, nil
	}
	return errors.Join(err, r.sys.close(r.fd))
}

// fill takes packets and returns how many frames there are and their bytes on the wire. Slots stay ours until giveBack.
func (r *ring) fill(b *port.Burst) (n int, sum uint64) {
	inserted := word(r.mem, infoTotInsert).Load()
	for n < port.MaxBurst && r.read != inserted && !r.broken {
		f, next, ok := r.slot()
		if !ok {
			r.broken = true // nobody knows where the next slot begins
			break
		}
		received := r.slots[r.off+pktDirection] == 1
		r.off = next
		r.read++
		if r.received && !received {
			r.skipped++
			continue
		}
		b.Frames[n] = f
		r.heads[n] = arena.Address(f.Data)
		sum += uint64(f.WireLen)
		n++
	}
	if n > 0 {
		arena.Prefetch(&r.heads[0], n)
	}
	return n, sum
}

// slot reads the slot in turn and where the next one begins; false when it makes no sense.
func (r *ring) slot() (f port.Frame, next uint64, ok bool) {
	if r.off > r.last || r.off%alignment != 0 {
		return f, 0, false
	}
	h := r.slots[r.off:]
	if len(h) < headerLen {
		return f, 0, false
	}
	caplen := uint64(le.Uint32(h[pktCaplen:]))
	if caplen > uint64(len(h)-headerLen) || headerLen+caplen+magicLen > uint64(len(h)) {
		return f, 0, false
	}
	end := headerLen + caplen
	if le.Uint16(h[end:]) != magic {
		return f, 0, false
	}
	f.Data = h[headerLen:end:end]
	f.WireLen = le.Uint32(h[pktLen:])
	if f.Time = int64(le.Uint64(h[pktNanos:])); f.Time == 0 {
		f.Time = int64(le.Uint64(h[pktSec:]))*1e9 + int64(le.Uint64(h[pktUsec:]))*1e3
	}
	if next = r.off + stride(caplen); next > r.last {
		next = 0
	}
	return f, next, true
}

// giveBack lets the kernel have what fill took: first where we are, then how many.
func (r *ring) giveBack() {
	word(r.mem, infoRemoveOff).Store(r.off)
	word(r.mem, infoTotRead).Store(r.read)
}

// wait sleeps until there are packets, or d is over.
func (r *ring) wait(d time.Duration) { r.sys.poll(r.fd, d) }

// figures are the kernel's counters and ours, of any goroutine while the memory is mapped.
func (r *ring) figures() (lost, inserted, read uint64) {
	return word(r.mem, infoTotLost).Load(), word(r.mem, infoTotInsert).Load(), word(r.mem, infoTotRead).Load()
}
