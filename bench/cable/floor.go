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
// those: it reads the head and writes the cache lines that must be written, prefetched a burst at a time, and neither decodes nor looks
// up nor judges.
type Work struct {
	// Head reads a byte of the frame's head, and thus waits for its memory.
	Head bool
	// Hosts is how many destinations there are, in one block of addresses; each has a line of its own. 0 writes none.
	Hosts int
	// Flows is how many flows a flowtrack.Tracker of the same size would hold; each frame writes a line of one of its two sets. 0 writes none.
	Flows int
	// IPv6 says where frames have their addresses and ports; they have no VLAN tag.
	IPv6 bool
}

type line [8]uint64

// lines are what a counter writes.
type lines struct {
	memory arena.Arena
	work   Work
	rows   [][2]line // as far apart as a worker's
	flows  []line
	addrs  [2 * port.MaxBurst]uintptr
	row    [port.MaxBurst]uint32
	flow   [port.MaxBurst]uint32
}

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
	return l, nil
}

// Where a frame has the low words of its addresses, and its ports.
const (
	src4, dst4, ports4 = 14 + 12, 14 + 16, 14 + 20
	src6, dst6, ports6 = 14 + 20, 14 + 36, 14 + 40
	headEnd            = ports6 + 4
)

// write reads a burst's heads and writes its lines. Frames too short for it are those of nobody.
func (l *lines) write(frames []port.Frame) {
	if len(l.rows)+len(l.flows) == 0 || len(frames) == 0 {
		return
	}
	src, dst, ports := src4, dst4, ports4
	if l.work.IPv6 {
		src, dst, ports = src6, dst6, ports6
	}
	n := 0
	for i := range frames {
		var host, flow uint64
		if f := frames[i].Data; len(f) >= headEnd {
			host = uint64(binary.BigEndian.Uint32(f[dst:])) * golden
			flow = (host ^ uint64(binary.BigEndian.Uint32(f[src:]))<<32 ^ uint64(binary.BigEndian.Uint32(f[ports:]))) * golden
		}
		if len(l.rows) > 0 {
			at := host & uint64(len(l.rows)-1) // odd times its low bits: no two of a block are the same
			l.row[i], l.addrs[n] = uint32(at), arena.Address(l.rows)+uintptr(at)*128
			n++
		}
		if len(l.flows) > 0 {
			at, _ := bits.Mul64(flow, uint64(len(l.flows)))
			l.flow[i], l.addrs[n] = uint32(at), arena.Address(l.flows)+uintptr(at)*64
			n++
		}
	}
	arena.Prefetch(&l.addrs[0], n)
	for i := range frames {
		if len(l.rows) > 0 {
			l.rows[l.row[i]][0][0]++
		}
		if len(l.flows) > 0 {
			l.flows[l.flow[i]][0]++
		}
	}
}
