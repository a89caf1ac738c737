package nets

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Table maps addresses to places. It is immutable; every method may be called from any goroutine.
type Table struct {
	v4, v6   trie
	places   []Place
	networks []netip.Prefix
	groups   []string
}

// trie is a longest-prefix match over at most 128 bits, a poptrie with path compression: a direct root, then nodes that
// branch on 6 bits with their children and leaves packed behind bit maps. Two kinds of node compare instead of branching:
// they jump over levels where all prefixes agree, and end the walk where only one prefix is left. A real table (few
// distant blocks, dense inside) takes two to four nodes, and all of 100,000 prefixes stay in the second-level cache.
type trie struct {
	root      []uint32 // leaf ID, or a node's index | isNode
	rootShift uint8
	rootBits  int
	nodes     []node
	leaves    []ID
}

const (
	stride   = 6
	isNode   = 1 << 31
	nodeSize = 32 // two to a cache line; a test holds it
)

// What a node does. The zero value is the most frequent.
const (
	kindBranch uint8 = iota // 6 bits choose a child
	kindSkip                // compare, then go on at base, or leave with leaf
	kindFinal               // compare, then say base or leaf
)

// node is half a cache line.
type node struct {
	vec   uint64 // branch: which children are nodes; else: the bits to compare with
	runs  uint64 // branch: at which children a new leaf value starts
	base  uint32 // first child's index (branch, skip) or the ID on a match (final)
	leaf  uint32 // first leaf's index (branch) or the ID on a mismatch
	kind  uint8
	level uint8 // branch: position of its 6 bits in the current half of the address
	shift uint8 // how far to shift the (compared) bits down
	cross bool  // the children look at the lower half of the address
}

// Lookup returns the place of the address: 16 bytes, IPv4 as ::ffff:a.b.c.d. Hot: no allocation, no lock.
func (t *Table) Lookup(a *[16]byte) ID {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if hi == 0 && lo>>32 == 0xffff {
		return t.v4.lookup(lo<<32, 0)
	}
	return t.v6.lookup(hi, lo)
}

func (t *trie) lookup(word, lo uint64) ID {
	at := t.root[word>>(t.rootShift&63)]
	if at&isNode == 0 {
		return ID(at)
	}
	at &^= isNode
	for {
		n := &t.nodes[at]
		switch n.kind {
		case kindBranch:
			i := word << (n.level & 63) >> (64 - stride)
			if n.vec>>i&1 == 0 {
				below := n.runs & (2<<i - 1)
				return t.leaves[n.leaf+uint32(bits.OnesCount64(below))-1]
			}
			at = n.base + uint32(bits.OnesCount64(n.vec&(1<<i-1)))
		case kindSkip:
			if (word^n.vec)>>(n.shift&63) != 0 {
				return ID(n.leaf)
			}
			at = n.base
		default:
			if (word^n.vec)>>(n.shift&63) != 0 {
				return ID(n.leaf)
			}
			return ID(n.base)
		}
		if n.cross {
			word = lo
		}
	}
}

// LookupAddr is Lookup for cold code. An invalid address is Outside; an IPv4 address in v4-mapped form is that IPv4 address.
func (t *Table) LookupAddr(a netip.Addr) ID {
	if !a.IsValid() {
		return Outside
	}
	b := a.As16()
	return t.Lookup(&b)
}

// Place returns what an ID of this table stands for. Outside, and an ID that the table does not have,
// give network -1 and the group Global.
func (t *Table) Place(id ID) Place {
	if int(id) >= len(t.places) {
		id = Outside
	}
	return t.places[id]
}

// NumPlaces is how many IDs there are, Outside included: they are 0 to NumPlaces()-1.
func (t *Table) NumPlaces() int { return len(t.places) }

// Networks are the networks in the order of the Spec. The slice must not be changed.
func (t *Table) Networks() []netip.Prefix { return t.networks }

// Groups are the names of the hostgroups: "global", then those of the Spec in order. The slice must not be changed.
func (t *Table) Groups() []string { return t.groups }

// Size is the number of bytes that lookups may touch.
func (t *Table) Size() int { return t.v4.size() + t.v6.size() }

func (t *trie) size() int { return 4*len(t.root) + nodeSize*len(t.nodes) + 4*len(t.leaves) }
