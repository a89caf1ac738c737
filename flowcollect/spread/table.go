package spread

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// table finds entries. Entries are dense, so that charging walks memory forwards; the index is open-addressed with linear
// probing, at most half full, and holds the entry's hash and its number plus one.
type table struct {
	entries []entry
	index   []uint64
	mask    uint32
	seed    traffic.Seed
	memory  *arena.Arena
}

// coarsest is how many keys there are of the scope everything.
const coarsest = 2 * int(traffic.NumClasses) * numSizes

func (t *table) init(entries int) error {
	t.memory = &arena.Arena{}
	list, err := arena.Make[entry](t.memory, entries)
	if err != nil {
		return err
	}
	n := 1 << bits.Len(uint(2*entries-1))
	if t.index, err = arena.Make[uint64](t.memory, n); err != nil {
		return err
	}
	t.entries, t.mask = list[:0], uint32(n-1)
	t.seed = traffic.NewSeed(rand.Uint64)
	return nil
}

// forHosts and forNetworks are how full the table may be for a new entry of that scope.
func (t *table) forHosts() int    { return cap(t.entries) - coarsest - cap(t.entries)/16 }
func (t *table) forNetworks() int { return cap(t.entries) - coarsest }

// hash is keyed, so that nobody can aim at a place.
func (t *table) hash(k *key) uint32 {
	h := t.seed.Hash(binary.LittleEndian.Uint64(k.addr[:8]), binary.LittleEndian.Uint64(k.addr[8:]), k.dir)
	h ^= uint64(k.class) | uint64(k.size)<<8 | uint64(k.scope)<<16
	return uint32(h * 0x9e3779b97f4a7c15 >> 32)
}

// seek returns the entry that most probably has this hash, or -1: it looks at the index only.
func (t *table) seek(h uint32) int {
	for at := h & t.mask; t.index[at] != 0; at = (at + 1) & t.mask {
		if uint32(t.index[at]>>32) == h {
			return number(t.index[at])
		}
	}
	return -1
}

// number is the entry that an index word names.
func number(word uint64) int { return int(uint32(word)) - 1 }

// get finds the entry of k, whose hash is h, or begins one, unless limit entries are in use: then it returns -1.
func (t *table) get(k *key, h uint32, limit int) int {
	at := h & t.mask
	for ; t.index[at] != 0; at = (at + 1) & t.mask {
		if uint32(t.index[at]>>32) == h {
			if i := number(t.index[at]); t.entries[i].key == *k {
				return i
			}
		}
	}
	n := len(t.entries)
	if n >= limit || n == cap(t.entries) {
		return -1
	}
	t.entries = t.entries[:n+1]
	t.entries[n] = entry{key: *k, hash: h}
	t.index[at] = uint64(h)<<32 | uint64(n+1)
	return n
}

// slot is where in the index entry i stands.
func (t *table) slot(i int) uint32 {
	at := t.entries[i].hash & t.mask
	for number(t.index[at]) != i {
		at = (at + 1) & t.mask
	}
	return at
}

// remove drops entry i; the last one takes its place.
func (t *table) remove(i int) {
	hole := t.slot(i)
	last := len(t.entries) - 1
	if i != last {
		at := t.slot(last)
		t.index[at] = t.index[at]&^(1<<32-1) | uint64(i+1)
		t.entries[i] = t.entries[last]
	}
	t.entries = t.entries[:last]
	// Close the gap: whoever would not be found any more moves up (Knuth's algorithm R).
	for at := hole; ; {
		at = (at + 1) & t.mask
		if t.index[at] == 0 {
			break
		}
		home := uint32(t.index[at]>>32) & t.mask
		if (at-home)&t.mask >= (at-hole)&t.mask {
			t.index[hole] = t.index[at]
			hole = at
		}
	}
	t.index[hole] = 0
}
