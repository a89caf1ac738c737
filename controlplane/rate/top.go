package rate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Order is what the busiest hosts are ordered by.
type Order uint8

// The orders.
const (
	ByPackets Order = iota
	ByBytes
	ByFlows
	NumOrders
)

var orderNames = [NumOrders]string{"packets", "bytes", "flows"}

// String returns the name used in every interface: packets, bytes, flows.
func (o Order) String() string {
	if o < NumOrders {
		return orderNames[o]
	}
	return "invalid"
}

// ranked is one host in a ranking.
type ranked struct {
	value uint64
	addr  [16]byte
}

// worse orders a ranking: less first, and of equals the higher address first, so that the result does not depend on the
// order of rows.
func (a *ranked) worse(b *ranked) bool {
	if a.value != b.value {
		return a.value < b.value
	}
	return before(&b.addr, &a.addr)
}

// before compares addresses, byte by byte from the front.
func before(a, b *[16]byte) bool {
	x, y := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8])
	return x < y || x == y && binary.BigEndian.Uint64(a[8:]) < binary.BigEndian.Uint64(b[8:])
}

// ranking keeps the largest n it has seen: a heap with the worst on top.
type ranking struct {
	n    int
	heap []ranked
}

// takes reports whether a value may get in.
func (r *ranking) takes(value uint64) bool {
	return value != 0 && r.n != 0 && (len(r.heap) < r.n || value >= r.heap[0].value)
}

// mayTake reports whether rows may have one that gets in of whose values this is the highest.
func (r *ranking) mayTake(value uint64, b *traffic.Block) bool {
	return r.takes(value) && (len(r.heap) < r.n || value > r.heap[0].value || b.Below(&r.heap[0].addr))
}

// offer takes a value that is not zero. The usual case, a host that does not get in, is one comparison; in a flood that gives all
// hosts the same it is one more.
func (r *ranking) offer(value uint64, addr *[16]byte) {
	if !r.takes(value) || len(r.heap) == r.n && value == r.heap[0].value && !before(addr, &r.heap[0].addr) {
		return
	}
	r.add(ranked{value: value, addr: *addr})
}

func (r *ranking) add(c ranked) {
	if len(r.heap) < r.n {
		r.heap = append(r.heap, c)
		r.up(len(r.heap) - 1)
		return
	}
	if r.heap[0].worse(&c) {
		r.heap[0] = c
		r.down(0)
	}
}

func (r *ranking) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !r.heap[i].worse(&r.heap[parent]) {
			return
		}
		r.heap[i], r.heap[parent] = r.heap[parent], r.heap[i]
		i = parent
	}
}

func (r *ranking) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(r.heap) {
			return
		}
		if child+1 < len(r.heap) && r.heap[child+1].worse(&r.heap[child]) {
			child++
		}
		if !r.heap[child].worse(&r.heap[i]) {
			return
		}
		r.heap[i], r.heap[child] = r.heap[child], r.heap[i]
		i = child
	}
}

// sorted turns the heap into a list, best first.
func (r *ranking) sorted() []ranked {
	slices.SortFunc(r.heap, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.value, a.value), bytes.Compare(a.addr[:], b.addr[:]))
	})
	return r.heap
}

// rankings are those of a family and direction, one per order.
type rankings [NumOrders]ranking

// takes reports whether rows with such peaks may have one that gets in. In a flood that gives all hosts the same, most have not.
func (r *rankings) takes(b *traffic.Block) bool {
	return r[ByPackets].mayTake(b.Packets, b) || r[ByBytes].mayTake(b.Bytes, b) || r[ByFlows].mayTake(b.Flows, b)
}

func (r *rankings) offer(l *traffic.Load) {
	r[ByPackets].offer(l.Packets, &l.Addr)
	r[ByBytes].offer(l.Bytes, &l.Addr)
	r[ByFlows].offer(l.Flows, &l.Addr)
}

// tops are the rankings per family and direction.
type tops [traffic.NumFamilies][2]rankings

func (t *tops) reset(n int) {
	for f := range t {
		for d := range t[f] {
			for o := range t[f][d] {
				r := &t[f][d][o]
				r.n, r.heap = n, r.heap[:0]
			}
		}
	}
}

// ofSecond makes the rankings by flows those of the present second, where one tick shows a part of it: flows that last are
// counted as a second begins. Who led in the tick before or leads in this one is ranked anew by its flows per second.
func (t *tops) ofSecond(earlier *flowLeaders, flows func(addr *[16]byte, d traffic.Direction) float64) {
	for f := range t {
		for d := range t[f] {
			r := &t[f][d][ByFlows]
			list := append(earlier[f][d], r.heap...)
			slices.SortFunc(list, func(a, b ranked) int { return bytes.Compare(a.addr[:], b.addr[:]) })
			list = slices.CompactFunc(list, func(a, b ranked) bool { return a.addr == b.addr })
			r.heap = r.heap[:0]
			for _, c := range list {
				if c.value = uint64(flows(&c.addr, rule.Directions[d])); c.value == 0 {
					continue
				}
				if len(r.heap) < r.n || r.heap[0].worse(&c) {
					r.add(c)
				}
			}
			earlier[f][d] = list[:0]
		}
	}
}

// flowLeaders are rankings by flows, set aside.
type flowLeaders [traffic.NumFamilies][2][]ranked

// set copies the rankings by flows.
func (l *flowLeaders) set(t *tops) {
	for f := range t {
		for d := range t[f] {
			l[f][d] = append(l[f][d][:0], t[f][d][ByFlows].heap...)
		}
	}
}
