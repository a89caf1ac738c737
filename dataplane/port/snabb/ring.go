//go:build linux

package snabb

import (
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// ring is one queue's part of the memory. The library puts frames in and counts them in head; we count what we gave back in tail.
// All but tail is only read, and may hold anything.
type ring struct {
	head, tail, lost *atomic.Uint64
	descs            []link.Desc
	data             []byte

	// The worker's place.
	read, known uint64 // frames taken, and those that head was seen to count
	damaged     uint64
	broken      bool
	heads       [port.MaxBurst]uintptr
}

func newRing(m *link.Memory, q int) *ring {
	r := &ring{head: m.Word(m.Head(q)), tail: m.TailWord(q), lost: m.Word(m.Dropped(q))}
	r.descs, r.data = m.Queue(q)
	return r
}

// fill takes frames and returns how many there are and their bytes on the wire. Slots stay ours until giveBack.
func (r *ring) fill(b *port.Burst) (n int, sum uint64) {
	if r.known-r.read < port.MaxBurst { // head is on a line that the library writes: looked at no more than needed
		head := r.head.Load()
		if head-r.read > uint64(len(r.descs)) || head-r.known > uint64(len(r.descs)) {
			r.broken = true // it went back, or further than there is room
			return 0, 0
		}
		r.known = head
	}
	for n < port.MaxBurst && r.read != r.known {
		d := r.descs[r.read&uint64(len(r.descs)-1)] // copied: it may change under our eyes
		at := uint64(d.Line) * link.Line
		end := at + uint64(d.Keep)
		mark := uint32(r.read)
		r.read++
		if d.Mark != mark || d.Wire > link.MaxWire || d.Keep > d.Wire || end > uint64(len(r.data)) {
			r.damaged++
			continue
		}
		b.Frames[n] = port.Frame{Data: r.data[at:end:end], WireLen: d.Wire}
		r.heads[n] = arena.Address(b.Frames[n].Data)
		sum += uint64(d.Wire)
		n++
	}
	if n > 0 {
		arena.Prefetch(&r.heads[0], n)
	}
	return n, sum
}

// giveBack lets the library have what fill took.
func (r *ring) giveBack() { r.tail.Store(r.read) }

// unread is how many frames nobody took, of any goroutine while the memory is mapped.
func (r *ring) unread() uint64 {
	n := r.head.Load() - r.tail.Load()
	if n > uint64(len(r.descs)) {
		return 0 // the ring makes no sense
	}
	return n
}
