//go:build amd64 && !race

package traffic

import "github.com/weir-ddos/weir/dataplane/wire"

// prepareFetch hashes the charges and prefetches their index lines.
func (t *Table) prepareFetch(charges []Charge) {
	if len(charges) > 0 {
		prepareLines(t, &charges[0], len(charges))
	}
}

// prepareLines is prepareEach for charges[0:n].
//
//go:noescape
func prepareLines(t *Table, charges *Charge, n int)

// HashFlows is HashFlow for those of packets that have ports, in their order, in the front of hashes, which has room for all. It
// returns how many they are.
func (s *Seed) HashFlows(packets []wire.IP, hashes []uint64) int {
	if len(packets) == 0 {
		return 0
	}
	hashes = hashes[:len(packets)]
	return hashFlows(s, &packets[0], len(packets), &hashes[0])
}

// hashFlows is hashEach for packets[0:n]; there is room for as many hashes.
//
//go:noescape
func hashFlows(s *Seed, packets *wire.IP, n int, hashes *uint64) int
