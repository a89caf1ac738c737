package listen

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
)

// refusedPrefixes bounds how many networks of refused senders are told apart.
const refusedPrefixes = 256

// Allow says who may send. The zero value allows everybody. It is safe for use by several goroutines: it never changes but
// for its counters.
type Allow struct {
	prefixes []netip.Prefix

	mu      sync.Mutex // guards all below; taken for refused datagrams only
	refused map[netip.Prefix]uint64
	others  uint64
}

// Refused is datagrams from senders that are not allowed.
type Refused struct {
	// Network is the sender's /24 or /48; invalid for what came from more networks than are told apart.
	Network   netip.Prefix `json:"network"`
	Datagrams uint64       `json:"datagrams"`
}

// NewAllow allows the prefixes, or everybody when there are none.
func NewAllow(prefixes []netip.Prefix) *Allow {
	a := &Allow{refused: make(map[netip.Prefix]uint64)}
	for _, p := range prefixes {
		a.prefixes = append(a.prefixes, p.Masked())
	}
	return a
}

// Ok says whether addr may send. It is asked once an exporter, not once a datagram.
func (a *Allow) Ok(addr netip.Addr) bool {
	addr = addr.Unmap()
	return len(a.prefixes) == 0 || slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Refuse counts a datagram from addr.
func (a *Allow) Refuse(addr netip.Addr) {
	addr = addr.Unmap()
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.refused[p]; err != nil || (!known && len(a.refused) >= refusedPrefixes) {
		a.others++
		return
	}
	a.refused[p]++
}

// Refusals lists what was refused, the most first.
func (a *Allow) Refusals() []Refused {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Refused, 0, len(a.refused)+1)
	for p, n := range a.refused {
		list = append(list, Refused{p, n})
	}
	slices.SortFunc(list, func(x, y Refused) int {
		return cmp.Or(cmp.Compare(y.Datagrams, x.Datagrams), x.Network.Compare(y.Network))
	})
	if a.others > 0 {
		list = append(list, Refused{Datagrams: a.others})
	}
	return list
}
