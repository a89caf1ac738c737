package spread

import (
	"hash/maphash"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// table finds entries. Entries are dense, so that charging walks memory forwards; the index is open-addressed with linear
// probing, at most half full, and holds the entry's number plus one.
type table struct {
	entries []entry
	index   []uint32
	mask    uint32
	seed    maphash.Seed
}

// coarsest is how many keys there are of the scope everything.
const coarsest = 2 * int(traffic.NumClasses) * numSizes

func (t *table) init(entries int, seed maphash.Seed) {
	t.entries = make([]entry, 0, entries)
	n := 1 << bits.Len(uint(2*entries-1))
	t.index = make([]uint32, n)
	t.mask = uint32(n - 1)
	t.seed = seed
}

// forHosts and forNetworks are how full the table may be for a new entry of that scope.
func (t *table) forHosts() int    { return cap(t.entries) - coarsest - cap(t.entries)/16 }
func (t *table) forNetworks() int { return cap(t.entries) - coarsest }

func (t *table) hash(k *key) uint32 { return uint32(maphash.Comparable(t.seed, *k)) }

// get finds the entry of k or begins one, unless limit entries are in use: then it returns -1.
func (t *table) get(k *key, limit int) int {
	h := t.hash(k)
	at := h & t.mask
	for ; t.index[at] != 0; at = (at + 1) & t.mask {
		if e := &t.entries[t.index[at]-1]; e.hash == h && e.key == *k {
			return int(t.index[at] - 1)
		}
	}
	n := len(t.entries)
	if n >= limit || n == cap(t.entries) {
		return -1
	}
	t.entries = t.entries[:n+1]
	t.entries[n] = entry{key: *k, hash: h}
	t.index[at] = uint32(n + 1)
	return n
}

// slot is where in the index entry i stands.
func (t *table) slot(i int) uint32 {
	at := t.entries[i].hash & t.mask
	for t.index[at] != uint32(i+1) {
		at = (at + 1) & t.mask
	}
	return at
}

// remove drops entry i; the last one takes its place.
func (t *table) remove(i int) {
	hole := t.slot(i)
	last := len(t.entries) - 1
	if i != last {
		t.index[t.slot(last)] = uint32(i + 1)
		t.entries[i] = t.entries[last]
	}
	t.entries = t.entries[:last]
	// Close the gap: whoever would not be found any more moves up (Knuth's algorithm R).
	for at := hole; ; {
		at = (at + 1) & t.mask
		if t.index[at] == 0 {
			break
		}
		home := t.entries[t.index[at]-1].hash & t.mask
		if (at-home)&t.mask >= (at-hole)&t.mask {
			t.index[hole] = t.index[at]
			hole = at
		}
	}
	t.index[hole] = 0
}
