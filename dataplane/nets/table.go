package nets

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// Table maps addresses to places. It is immutable; every method may be called from any goroutine.
type Table struct {
	v4, v6   trie
	places   []Place
	networks []netip.Prefix
	groups   []string
}

// trie is a longest-prefix match over at most 128 bits, a path- and level-compressed poptrie. A node branches on 6 bits with
// its children and leaves packed behind bit maps. Where prefixes are dense it is a plain table of up to 2^18 slots instead;
// where all prefixes below agree it compares their common bits and jumps over them; where one is left it compares and ends.
// Real tables (few distant blocks, dense inside) take two to four nodes, of which those often used stay in the cache.
type trie struct {
	root   node     // nodes[0]
	nodes  []node   // the first is the root
	tables []uint32 // a leaf ID, or a node's index | isNode
	leaves []ID
}

const (
	stride   = 6  // bits of a branch
	maxTable = 18 // bits of a table: 1 MiB
	isNode   = 1 << 31
	nodeSize = 32 // two to a cache line; a test holds it
)

// What a node does.
const (
	kindBranch uint8 = iota // 6 bits choose a child
	kindTable               // up to 18 bits choose a slot of tables
	kindSkip                // compare, then go on at base, or leave with leaf
	kindFinal               // compare, then say base or leaf
)

// node is half a cache line.
type node struct {
	vec   uint64 // branch: which children are nodes; skip, final: the bits to compare with
	runs  uint64 // branch: at which children a new leaf value starts
	base  uint32 // first child's index (branch, skip), first slot (table), or the ID on a match (final)
	leaf  uint32 // first leaf's index (branch) or the ID on a mismatch
	kind  uint8
	level uint8 // branch, table: position of the bits in the current half of the address
	shift uint8 // how far to shift the bits down
	cross bool  // what follows looks at the lower half of the address
	_     [4]byte
}

// Lookup returns the place of the address: 16 bytes, IPv4 as ::ffff:a.b.c.d. Hot: no allocation, no lock.
func (t *Table) Lookup(a *[16]byte) ID {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if hi == 0 && lo>>32 == 0xffff {
		return t.v4.lookup(lo<<32, 0)
	}
	return t.v6.lookup(hi, lo)
}

// Ends are the places of a packet's source and destination.
type Ends struct{ Src, Dst ID }

// LookupAll looks up the addresses of packets and writes their places to ends, as many. It answers as Lookup does.
func (t *Table) LookupAll(packets []wire.IP, ends []Ends) {
	ends = ends[:len(packets)]
	four, six := t.v4.root, t.v6.root // which answer for most, in registers
	for i := range packets {
		ip, e := &packets[i], &ends[i]
		if ip.Version == 4 {
			src, dst := uint64(binary.BigEndian.Uint32(ip.Src[12:]))<<32, uint64(binary.BigEndian.Uint32(ip.Dst[12:]))<<32
			if four.kind == kindFinal {
				e.Src, e.Dst = four.final(src), four.final(dst)
			} else {
				e.Src, e.Dst = t.v4.lookup(src, 0), t.v4.lookup(dst, 0)
			}
			continue
		}
		src, dst := binary.BigEndian.Uint64(ip.Src[:8]), binary.BigEndian.Uint64(ip.Dst[:8])
		switch {
		case src == 0 || dst == 0: // maybe v4-mapped
			e.Src, e.Dst = t.Lookup(&ip.Src), t.Lookup(&ip.Dst)
		case six.kind == kindFinal:
			e.Src, e.Dst = six.final(src), six.final(dst)
		default:
			e.Src, e.Dst = t.v6.lookup(src, binary.BigEndian.Uint64(ip.Src[8:])), t.v6.lookup(dst, binary.BigEndian.Uint64(ip.Dst[8:]))
		}
	}
}

// final is what a node of kindFinal says.
func (n *node) final(word uint64) ID {
	id := n.base
	if (word^n.vec)>>(n.shift&63) != 0 { // no jump: a conditional move, as the outcome is anyone's guess
		id = n.leaf
	}
	return ID(id)
}

func (t *trie) lookup(word, lo uint64) ID {
	at := uint32(0)
	for {
		n := &t.nodes[at]
		switch n.kind {
		case kindBranch:
			i := word << (n.level & 63) >> (n.shift & 63)
			if n.vec>>(i&63)&1 == 0 {
				below := n.runs & (2<<(i&63) - 1)
				return t.leaves[n.leaf+uint32(bits.OnesCount64(below))-1]
			}
			at = n.base + uint32(bits.OnesCount64(n.vec&(1<<(i&63)-1)))
		case kindTable:
			at = t.tables[n.base+uint32(word<<(n.level&63)>>(n.shift&63))]
			if at&isNode == 0 {
				return ID(at)
			}
			at &^= isNode
		case kindSkip:
			if (word^n.vec)>>(n.shift&63) != 0 {
				return ID(n.leaf)
			}
			at = n.base
		default:
			id := n.base
			if (word^n.vec)>>(n.shift&63) != 0 { // no jump: a conditional move, as the outcome is anyone's guess
				id = n.leaf
			}
			return ID(id)
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

func (t *trie) size() int { return 4*len(t.tables) + nodeSize*len(t.nodes) + 4*len(t.leaves) }
