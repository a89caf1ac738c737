//go:build linux

package afxdp

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
)

// The header of a record in a BPF ring buffer (include/uapi/linux/bpf.h): a word with the length and two flags, and a word that
// is the kernel's own.
const (
	recordHeader  = 8
	recordBusy    = unix.BPF_RINGBUF_BUSY_BIT
	recordDiscard = unix.BPF_RINGBUF_DISCARD_BIT
)

// tap reads one queue's ring of beginnings of frames. The kernel produces, we consume; what was received stays in the ring
// until giveBack, so the frames of a burst need no copy. The ring is mapped twice in a row: a record never wraps.
type tap struct {
	ring, lost *ebpf.Map
	queue      uint32
	head       uint32
	wakes      bool // the program wakes a worker that waits

	consumer, producer *uint64
	cons, prod         []byte // the mappings
	data               []byte // the ring, twice
	mask               uint64

	at, next uint64 // what giveBack has reached, and what receive has
	stride   uint64 // the length of the last record: most often that of those to come
	lines    [2 * port.MaxBurst]uintptr
	base     uintptr
}

// newTap makes a ring of size bytes.
func newTap(spec *ebpf.MapSpec, lost *ebpf.Map, queue, size int, o Options) (*tap, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("ring of %d bytes: %w", size, err)
	}
	t := &tap{ring: m, lost: lost, queue: uint32(queue), head: uint32(o.Head), mask: uint64(size - 1), wakes: o.Wait > 0}
	t.stride = uint64(align(metaSize + shortHead))
	if err := t.mapRing(size); err != nil {
		return nil, errors.Join(fmt.Errorf("map ring of %d bytes: %w", size, err), t.close())
	}
	t.base = arena.Address(t.data)
	return t, nil
}

// align is how much of the ring a record of so many bytes takes.
func align(n uint32) uint32 { return (n + recordHeader + 7) &^ 7 }

// receive takes what is in the ring, up to a burst.
func (t *tap) receive(b *port.Burst) (n int, bytes uint64) {
	end := atomic.LoadUint64(t.producer)
	at := t.at
	if at == end {
		return 0, 0
	}
	t.prefetch(at, end)
	for n < port.MaxBurst && at < end {
		from := at & t.mask
		word := t.header(from)
		if word&recordBusy != 0 {
			break // the kernel is still writing it
		}
		size := uint64(word &^ recordDiscard)
		if word&recordDiscard == 0 {
			wire := t.length(from)
			from += recordHeader + metaSize
			have := min(uint64(wire), size-metaSize)
			b.Frames[n] = port.Frame{Data: t.data[from : from+have : from+have], WireLen: wire}
			bytes += uint64(wire)
			n++
		}
		t.stride = uint64(align(uint32(size)))
		at += t.stride
	}
	t.next = at
	if n == 0 {
		t.giveBack(0)
	}
	return n, bytes
}

// prefetch asks for the records that are likely next: another core wrote them.
func (t *tap) prefetch(at, end uint64) {
	n := min((end-at)/t.stride+1, port.MaxBurst)
	for i := range n {
		from := t.base + uintptr((at+i*t.stride)&t.mask)
		t.lines[2*i], t.lines[2*i+1] = from, from+64
	}
	arena.Prefetch(&t.lines[0], int(2*n))
}

// giveBack lets the kernel write again where the records were that receive returned last.
func (t *tap) giveBack(int) {
	t.at = t.next
	atomic.StoreUint64(t.consumer, t.at)
}

// wake does nothing: the kernel waits for nobody.
func (t *tap) wake() {}

// statistics are the frames that found the ring full.
func (t *tap) statistics() (s unix.XDPStatistics) {
	_ = t.lost.Lookup(t.queue, &s.Rx_ring_full) // the entry exists as long as the map does
	return s
}

func (t *tap) close() error { return errors.Join(t.unmap(), t.ring.Close()) }
