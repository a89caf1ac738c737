package netmap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
)

// ring is one receive ring in mapped memory. Slots from head to tail are ours; the kernel takes back what lies before
// head, and adds behind tail, at the next sync only.
type ring struct {
	mem   []byte // the whole memory behind the file descriptor
	at    uint64 // where the ring begins
	bufs  uint64 // where its buffer 0 begins
	slots uint32
	size  uint32 // of a buffer
	next  uint32 // the first slot not yet delivered
}

var le = binary.LittleEndian

// within is n bytes of mem from off, nil when they are not all there.
func within(mem []byte, off, n uint64) []byte {
	if off > uint64(len(mem)) || n > uint64(len(mem))-off {
		return nil
	}
	return mem[off : off+n : off+n]
}

const maxSlots = 1 << 20

// findRings returns the receive rings of a registered port: ring one only, or all of its hardware rings when one is
// negative. Nothing in mem is trusted; a ring that is not bound has garbage in it.
func findRings(mem []byte, ifOffset uint64, one int) ([]*ring, error) {
	head := within(mem, ifOffset, ifRings)
	if head == nil {
		return nil, fmt.Errorf("struct netmap_if at %d lies outside of %d bytes", ifOffset, len(mem))
	}
	tx, rx := le.Uint32(head[ifTxRings:]), le.Uint32(head[ifRxRings:])
	hostTx := le.Uint32(head[ifHostTx:])
	first, last := uint32(0), rx
	if one >= 0 {
		first, last = uint32(one), uint32(one)+1
	}
	if last > rx || rx > 4096 || tx > 4096 || hostTx > 4096 || rx == 0 {
		return nil, fmt.Errorf("ring %d is wanted of %d receive rings (%d tx, %d host tx)", one, rx, tx, hostTx)
	}
	var rings []*ring
	for i := first; i < last; i++ {
		ofs := within(mem, ifOffset+ifRings+8*uint64(tx+hostTx+i), 8)
		if ofs == nil {
			return nil, errors.New("the table of rings lies outside of the memory")
		}
		r, err := newRing(mem, ifOffset+le.Uint64(ofs))
		if err != nil {
			return nil, fmt.Errorf("receive ring %d: %w", i, err)
		}
		rings = append(rings, r)
	}
	return rings, nil
}

func newRing(mem []byte, at uint64) (*ring, error) {
	h := within(mem, at, ringSlots)
	if h == nil {
		return nil, fmt.Errorf("it lies at %d, outside of %d bytes", at, len(mem))
	}
	r := &ring{
		mem: mem, at: at, bufs: at + le.Uint64(h[ringBufOfs:]),
		slots: le.Uint32(h[ringNumSlots:]), size: le.Uint32(h[ringBufSize:]), next: le.Uint32(h[ringHead:]),
	}
	switch {
	case le.Uint16(h[ringDir:]) != 1:
		return nil, errors.New("it is no receive ring")
	case r.size == 0:
		return nil, errors.New("it is not bound")
	case r.slots < 2 || r.slots > maxSlots || r.next >= r.slots:
		return nil, fmt.Errorf("it has %d slots and begins at %d", r.slots, r.next)
	case within(mem, at, ringSlots+slotSize*uint64(r.slots)) == nil:
		return nil, fmt.Errorf("its %d slots do not fit into the memory", r.slots)
	}
	return r, nil
}

// header is the ring's fixed part.
func (r *ring) header() []byte { return r.mem[r.at : r.at+ringSlots : r.at+ringSlots] }

// tail is where the kernel's slots begin; ok is false when it cannot be.
func (r *ring) tail() (tail uint32, ok bool) {
	tail = le.Uint32(r.header()[ringTail:])
	return tail, tail < r.slots
}

// giveBack lets the kernel have what was delivered, at the next sync.
func (r *ring) giveBack() {
	h := r.header()
	le.PutUint32(h[ringHead:], r.next)
	le.PutUint32(h[ringCur:], r.next)
}

// time is when the last sync was, in nanoseconds.
func (r *ring) time() int64 {
	h := r.header()
	return int64(le.Uint64(h[ringTime:]))*1e9 + int64(le.Uint64(h[ringTime+8:]))*1e3
}

// slot reads slot i: its data, nil when it points outside of the memory, and whether the packet goes on.
func (r *ring) slot(i uint32) (data []byte, more bool) {
	s := r.mem[r.at+ringSlots+slotSize*uint64(i):]
	s = s[:slotSize]
	n := uint64(le.Uint16(s[slotLen:]))
	more = le.Uint16(s[slotFlags:])&moreFrag != 0
	if n > uint64(r.size) {
		return nil, more
	}
	return within(r.mem, r.bufs+uint64(le.Uint32(s[slotBuf:]))*uint64(r.size), n), more
}

// joinSize is how much is kept of a packet that spans slots.
const joinSize = 16 << 10

// tally is what happened to slots besides delivery; the worker folds it into the queue's counters.
type tally struct {
	joined, cut, bad uint64
	consumed         uint32 // slots
	broken           bool   // a ring has lost its mind
}

// take adds frames of the ring to b from frame n on and returns how many there are then, and their bytes.
func (r *ring) take(b *port.Burst, n int, q *joiner, t *tally) (int, uint64) {
	tail, ok := r.tail()
	if !ok {
		t.broken = true
		return n, 0
	}
	at := r.time()
	var sum uint64
	first := n
	for n < port.MaxBurst && r.next != tail {
		data, more := r.slot(r.next)
		if more {
			f, slots := r.join(tail, q, n, t)
			if slots == 0 {
				break // its end has not come
			}
			r.advance(slots, t)
			if f.WireLen == 0 {
				continue
			}
			b.Frames[n] = f
		} else {
			r.advance(1, t)
			if len(data) == 0 {
				t.bad++
				continue
			}
			b.Frames[n] = port.Frame{Data: data, WireLen: uint32(len(data))}
		}
		b.Frames[n].Time = at
		sum += uint64(b.Frames[n].WireLen)
		n++
	}
	r.prefetch(b.Frames[first:n], q)
	return n, sum
}

func (r *ring) advance(slots uint32, t *tally) {
	r.next = (r.next + slots) % r.slots
	t.consumed += slots
}

// prefetch asks for the heads of the frames: the device or another core wrote them.
func (r *ring) prefetch(frames []port.Frame, q *joiner) {
	for i := range frames {
		q.heads[i] = arena.Address(frames[i].Data)
	}
	if len(frames) > 0 {
		arena.Prefetch(&q.heads[0], len(frames))
	}
}

// joiner is a queue's memory for packets that span slots, one place for each frame of a burst, made when it is needed.
type joiner struct {
	mem   []byte
	heads [port.MaxBurst]uintptr
}

func (q *joiner) place(n int) []byte {
	if q.mem == nil {
		q.mem = make([]byte, port.MaxBurst*joinSize)
	}
	return q.mem[n*joinSize : n*joinSize : (n+1)*joinSize]
}

// join copies the packet that begins at next into place n of q. It returns how many slots it has, 0 when its end is
// still to come; of one that fills the whole ring without an end, or has a bad slot, the slots are given up and the frame is empty.
func (r *ring) join(tail uint32, q *joiner, n int, t *tally) (port.Frame, uint32) {
	to := q.place(n)
	var length, slots uint32
	bad, more := false, true
	for i := r.next; more; i = (i + 1) % r.slots {
		if i == tail {
			if slots < r.slots-1 {
				return port.Frame{}, 0
			}
			bad = true // there is no room for an end to come
			break
		}
		var data []byte
		data, more = r.slot(i)
		slots++
		bad = bad || data == nil
		length += uint32(len(data))
		to = append(to, data[:min(len(data), cap(to)-len(to))]...)
	}
	if bad || length == 0 {
		t.bad++
		return port.Frame{}, slots
	}
	t.joined++
	if int(length) > len(to) {
		t.cut++
	}
	return port.Frame{Data: to, WireLen: length}, slots
}
