package nets

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// New builds the table of s, or reports every problem of it (Spec.Validate).
// It takes about 0.1 s for 100,000 prefixes; call it from the control plane only.
func New(s Spec) (*Table, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	t := &Table{
		networks: slices.Clone(s.Networks),
		groups:   make([]string, 1, len(s.Groups)+1),
		places:   []Place{{Network: -1, Group: Global}},
	}
	t.groups[Global] = GlobalName
	for _, g := range s.Groups {
		t.groups = append(t.groups, g.Name)
	}
	v4, v6 := t.resolve(union(s))
	t.v4.build(v4)
	t.v6.build(v6)
	return t, nil
}

// entry is one prefix of the union of networks and group members, first with what it is itself,
// then (after resolve) with the place of the addresses for which it is the longest.
type entry struct {
	prefix  netip.Prefix
	network int32 // index into Networks, -1: not a network
	group   int32 // index into Groups, -1: not a member
}

// union lists each distinct prefix once, in the order of address and length: a prefix comes right before what it covers.
func union(s Spec) []entry {
	all := make(map[netip.Prefix]entry, len(s.Networks))
	for i, p := range s.Networks {
		all[p] = entry{prefix: p, network: int32(i), group: -1}
	}
	for i, g := range s.Groups {
		for _, p := range g.Prefixes {
			e, ok := all[p]
			if !ok {
				e = entry{prefix: p, network: -1}
			}
			e.group = int32(i) + 1
			all[p] = e
		}
	}
	list := make([]entry, 0, len(all))
	for _, e := range all {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return comparePrefixes(a.prefix, b.prefix) })
	return list
}

// rule is one prefix of one family ready for the trie: 128 bits from the top, IPv4 in the upper 32.
type rule struct {
	hi, lo uint64
	length int
	id     ID
}

// resolve turns the union into rules. The longest network and the longest group are found independently of each other,
// and one longest match over the union gives both: of the prefixes that cover an address the longest one, p, lies inside
// all others, so the address has the same longest network and group as p has. Rules that change nothing are left out.
func (t *Table) resolve(list []entry) (v4, v6 []rule) {
	type frame struct {
		prefix netip.Prefix
		place  Place
		id     ID
	}
	ids := map[Place]ID{t.places[0]: Outside}
	var stack []frame // the prefixes that cover the current one, shortest first
	for _, e := range list {
		for len(stack) > 0 && !covers(stack[len(stack)-1].prefix, e.prefix) {
			stack = stack[:len(stack)-1]
		}
		f := frame{prefix: e.prefix, place: Place{Network: -1, Group: Global}}
		parent := Outside
		if len(stack) > 0 {
			f.place, parent = stack[len(stack)-1].place, stack[len(stack)-1].id
		}
		if e.network >= 0 {
			f.place.Network = e.network
		}
		if e.group >= 0 {
			f.place.Group = e.group
		}
		if f.place.Network >= 0 { // groups matter inside the networks only
			f.id = t.intern(ids, f.place)
		}
		stack = append(stack, f)
		if f.id == parent {
			continue
		}
		r := toRule(e.prefix, f.id)
		if e.prefix.Addr().Is4() {
			v4 = append(v4, r)
		} else {
			v6 = append(v6, r)
		}
	}
	return v4, v6
}

func (t *Table) intern(ids map[Place]ID, p Place) ID {
	id, ok := ids[p]
	if !ok {
		id = ID(len(t.places))
		ids[p] = id
		t.places = append(t.places, p)
	}
	return id
}

func toRule(p netip.Prefix, id ID) rule {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		return rule{hi: uint64(binary.BigEndian.Uint32(a[:])) << 32, length: p.Bits(), id: id}
	}
	a := p.Addr().As16()
	return rule{hi: binary.BigEndian.Uint64(a[:]), lo: binary.BigEndian.Uint64(a[8:]), length: p.Bits(), id: id}
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c // IPv4 sorts before IPv6
	}
	return cmp.Compare(a.Bits(), b.Bits())
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func sortedPrefixes(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	slices.SortFunc(list, comparePrefixes)
	return list
}

// overlapsAny tells whether p covers, or lies in, one of the sorted prefixes.
func overlapsAny(sorted []netip.Prefix, p netip.Prefix) bool {
	i := sort.Search(len(sorted), func(i int) bool { return comparePrefixes(sorted[i], p) >= 0 })
	if i < len(sorted) && covers(p, sorted[i]) {
		return true
	}
	for n := p.Bits(); n >= 0; n-- { // at most 129 look-ups for one that covers p
		q, _ := p.Addr().Prefix(n)
		if _, ok := slices.BinarySearchFunc(sorted, q, comparePrefixes); ok {
			return true
		}
	}
	return false
}

// build makes the trie of rules, which are sorted by address, then length. An empty set is a trie that says Outside.
func (t *trie) build(rules []rule) {
	if len(rules) == 0 {
		t.root = node{kind: kindFinal, base: uint32(Outside), leaf: uint32(Outside)}
		t.nodes = []node{t.root}
		return
	}
	t.nodes = make([]node, 1, len(rules))
	t.fill(0, rules, 0, Outside)
	t.root = t.nodes[0]
	t.nodes, t.leaves, t.tables = slices.Clip(t.nodes), slices.Clip(t.leaves), slices.Clip(t.tables)
}

// fill writes the node at index at for rules, which agree on the bits before level; background is for addresses that match none.
func (t *trie) fill(at int, rules []rule, level int, background ID) {
	first, common := rules[0], commonLength(rules)
	wordEnd := level&^63 + 64
	if len(rules) == 1 && level < common && common <= wordEnd { // one comparison says it all
		t.nodes[at] = node{
			kind: kindFinal, vec: first.word(level), shift: uint8(wordEnd - common),
			base: uint32(first.id), leaf: uint32(background),
		}
		return
	}
	// A table starts behind all common bits; a branch is small enough to take a few of them in.
	common = min(common, wordEnd)
	if common >= level+stride || (common > level && (len(rules) >= 1<<stride || common == wordEnd)) {
		inner := background
		if first.length == common {
			inner, rules = first.id, rules[1:]
		}
		to := len(t.nodes)
		t.nodes = append(t.nodes, node{})
		t.nodes[at] = node{
			kind: kindSkip, vec: first.word(level), shift: uint8(wordEnd - common),
			base: uint32(to), leaf: uint32(background), cross: common == 64,
		}
		t.fill(to, rules, common, inner)
		return
	}
	if width := tableWidth(rules, level); width > 0 {
		t.fillTable(at, rules, level, width, background)
	} else {
		t.fillBranch(at, rules, level, min(stride, wordEnd-level), background)
	}
}

// tableWidth is how many bits a plain table at level may branch on so that at least a quarter of its slots lead to rules;
// 0 when no table wider than a branch node is worth its memory.
func tableWidth(rules []rule, level int) int {
	for width := min(maxTable, level&^63+64-level); width > stride; width-- {
		if len(rules) < 1<<(width-2) {
			continue
		}
		used, last := 0, -1
		for _, r := range rules {
			if i := r.slot(level, width); i != last {
				used, last = used+1, i
			}
		}
		if used >= 1<<(width-2) {
			return width
		}
	}
	return 0
}

// child is one slot of a node under construction: its rules, and what addresses say that match none of them.
type child struct {
	rules []rule
	id    ID
}

// split deals rules out to the 1<<width slots that the bits [level, level+width) select.
// Rules sort outer before inner, so the last one to paint a slot is the longest.
func split(rules []rule, level, width int, background ID) []child {
	kids := make([]child, 1<<width)
	for i := range kids {
		kids[i].id = background
	}
	for n := 0; n < len(rules); {
		r := rules[n]
		first := r.slot(level, width)
		if r.length <= level+width {
			for i := range 1 << (level + width - max(r.length, level)) {
				kids[first+i].id = r.id
			}
			n++
			continue
		}
		end := n + 1 // the longer rules of one slot are neighbours
		for end < len(rules) && rules[end].length > level+width && rules[end].slot(level, width) == first {
			end++
		}
		kids[first].rules = rules[n:end]
		n = end
	}
	return kids
}

func (t *trie) fillTable(at int, rules []rule, level, width int, background ID) {
	kids := split(rules, level, width, background)
	base := len(t.tables)
	t.nodes[at] = node{kind: kindTable, base: uint32(base), level: uint8(level & 63), shift: uint8(64 - width), cross: level+width == 64}
	t.tables = append(t.tables, make([]uint32, len(kids))...)
	for i, k := range kids {
		if len(k.rules) == 0 {
			t.tables[base+i] = uint32(k.id)
			continue
		}
		to := len(t.nodes)
		t.nodes = append(t.nodes, node{})
		t.tables[base+i] = uint32(to) | isNode
		t.fill(to, k.rules, level+width, k.id)
	}
}

func (t *trie) fillBranch(at int, rules []rule, level, width int, background ID) {
	kids := split(rules, level, width, background)
	n := node{
		kind: kindBranch, base: uint32(len(t.nodes)), leaf: uint32(len(t.leaves)),
		level: uint8(level & 63), shift: uint8(64 - width), cross: level+width == 64,
	}
	var last ID
	inner, leaves := 0, 0
	for i, k := range kids {
		if len(k.rules) > 0 {
			n.vec |= 1 << i
			inner++
			continue
		}
		if leaves == 0 || k.id != last { // a run of equal leaves is kept once
			n.runs |= 1 << i
			t.leaves = append(t.leaves, k.id)
			leaves, last = leaves+1, k.id
		}
	}
	t.nodes[at] = n
	t.nodes = append(t.nodes, make([]node, inner)...)
	to := int(n.base)
	for _, k := range kids {
		if len(k.rules) > 0 {
			t.fill(to, k.rules, level+width, k.id)
			to++
		}
	}
}

// commonLength is how many leading bits all rules share, at most the length of the shortest.
func commonLength(rules []rule) int {
	a, b := rules[0], rules[len(rules)-1] // sorted: these two differ first
	common := bits.LeadingZeros64(a.hi ^ b.hi)
	if common == 64 {
		common += bits.LeadingZeros64(a.lo ^ b.lo)
	}
	return min(common, a.length) // if a shorter one than the first existed it would differ earlier
}

func (r rule) word(level int) uint64 {
	if level < 64 {
		return r.hi
	}
	return r.lo
}

// slot is the value of the width bits from level on.
func (r rule) slot(level, width int) int {
	return int(r.word(level) << (level & 63) >> (64 - width))
}
