package mitigate

import (
	"cmp"
	"net/netip"
	"slices"
)

// prefixSet answers "inside?" and "touches?" in logarithmic time: the outermost prefixes, disjoint and sorted by
// address, IPv4 before IPv6. A set of 100,000 networks must not slow a tick down.
type prefixSet []netip.Prefix

func newPrefixSet(list []netip.Prefix) prefixSet {
	sorted := make([]netip.Prefix, 0, len(list))
	for _, p := range list {
		if p.IsValid() {
			sorted = append(sorted, p.Masked())
		}
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return cmp.Compare(a.Bits(), b.Bits())
	})
	set := sorted[:0]
	for _, p := range sorted {
		// In this order an outer prefix comes right before all that it holds.
		if n := len(set); n == 0 || !set[n-1].Contains(p.Addr()) {
			set = append(set, p)
		}
	}
	return set
}

// after is the index of the first prefix that begins above a.
func (s prefixSet) after(a netip.Addr) int {
	i, found := slices.BinarySearchFunc(s, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	if found {
		i++
	}
	return i
}

// covers reports whether all of p lies in one prefix of the set.
func (s prefixSet) covers(p netip.Prefix) bool {
	i := s.after(p.Addr())
	return i > 0 && s[i-1].Contains(p.Addr()) && s[i-1].Bits() <= p.Bits()
}

// overlaps reports whether p and the set have an address in common.
func (s prefixSet) overlaps(p netip.Prefix) bool {
	i := s.after(p.Addr())
	return i > 0 && s[i-1].Overlaps(p) || i < len(s) && p.Contains(s[i].Addr())
}
