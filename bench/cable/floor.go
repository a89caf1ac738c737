package cable

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/port"
)

// Work is what a counter does with each frame besides counting it. With Hosts, and with Flows, it is the floor of any program that counts
// those: it reads the head and writes the cache lines that must be written, fetched a burst before, and neither decodes nor looks up nor
// judges.
type Work struct {
	// Head reads a byte of the frame's head, and thus waits for its memory.
	Head bool
	// Hosts is how many destinations there are, in one block of addresses; each has a line of its own. 0 writes none.
	Hosts int
	// Flows is how many flows a flowtrack.Tracker of the same size would hold; each frame writes a line of one of its two sets. 0 writes none.
	Flows int
	// IP is where in each frame the IP header begins that is counted by, and IPv6 says which one it is.
	IP   int
	IPv6 bool
}

type line [8]uint64

// lines are what a counter writes.
type lines struct {
	memory arena.Arena
	work   Work
	rows   [][2]line // as far apart as a worker's
	flows  []line

	heads [port.MaxBurst]head
	// The lines of the burst before, which are on their way, by their numbers.
	pending int
	row     [port.MaxBurst]uint32
	flow    [port.MaxBurst]uint32
	addrs   [port.MaxBurst]uintptr
}

// head is what is read of a frame: hashes of its host and of its flow.
type head struct{ host, flow uint64 }

func newLines(w Work) (l *lines, err error) {
	l = &lines{work: w}
	if w.Hosts > 0 {
		l.rows, err = arena.Make[[2]line](&l.memory, 1<<bits.Len(uint(w.Hosts-1)))
	}
	if w.Flows > 0 && err == nil {
		sets := flowtrack.Config{Flows: w.Flows}.Size() / 64 // lines of both
		l.flows, err = arena.Make[line](&l.memory, int(sets/2))
	}
	if err != nil {
		return nil, errors.Join(err, l.memory.Free())
	}
	arena.Populate(l.rows)
	arena.Populate(l.flows)
	return l, nil
}

// write reads a burst's heads, has the lines that they stand for fetched, and writes those of the burst before.
func (l *lines) write(frames []port.Frame) {
	if len(l.rows)+len(l.flows) == 0 {
		return
	}
	if l.work.IPv6 {
		l.read6(frames)
	} else {
		l.read4(frames)
	}
	l.flush()
	l.pending = len(frames)
	heads := l.heads[:len(frames)]
	if len(l.rows) > 0 {
		for i, h := range heads {
			at := h.host & uint64(len(l.rows)-1) // odd times its low bits: no two of a block are the same
			l.row[i], l.addrs[i] = uint32(at), arena.Address(l.rows)+uintptr(at)*128
		}
		arena.Prefetch(&l.addrs[0], len(heads))
	}
	if len(l.flows) > 0 {
		for i, h := range heads {
			at, _ := bits.Mul64(h.flow, uint64(len(l.flows)))
			l.flow[i], l.addrs[i] = uint32(at), arena.Address(l.flows)+uintptr(at)*64
		}
		arena.Prefetch(&l.addrs[0], len(heads))
	}
}

// flush writes the lines that are pending.
func (l *lines) flush() {
	n := l.pending
	l.pending = 0
	if len(l.rows) > 0 {
		for _, at := range l.row[:n] {
			l.rows[at][0][0]++
		}
	}
	if len(l.flows) > 0 {
		for _, at := range l.flow[:n] {
			l.flows[at][0]++
		}
	}
}

// What must be there of IP headers and ports behind them.
const (
	need4 = 20 + 4
	need6 = 40 + 4
)

// read4 reads heads of IPv4. Frames that are too short for it are those of nobody.
func (l *lines) read4(frames []port.Frame) {
	for i := range frames {
		l.heads[i] = head{}
		if f := frames[i].Data; len(f) >= l.work.IP+need4 {
			ip := f[l.work.IP:][:need4]
			l.heads[i].set(ip[12:], ip[16:], ip[20:])
		}
	}
}

// read6 reads heads of IPv6.
func (l *lines) read6(frames []port.Frame) {
	for i := range frames {
		l.heads[i] = head{}
		if f := frames[i].Data; len(f) >= l.work.IP+need6 {
			ip := f[l.work.IP:][:need6]
			l.heads[i].set(ip[20:], ip[36:], ip[40:])
		}
	}
}

// set takes the last words of the addresses, and the ports.
func (h *head) set(src, dst, ports []byte) {
	ne := binary.NativeEndian
	h.host = uint64(binary.BigEndian.Uint32(dst)) * golden
	h.flow = (h.host ^ uint64(ne.Uint32(src))<<32 ^ uint64(ne.Uint32(ports))) * golden
}
