//go:build !amd64 || race

package traffic

import "github.com/weir-ddos/weir/dataplane/wire"

// prepareFetch hashes the charges and prefetches their index lines.
func (t *Table) prepareFetch(charges []Charge) { t.prepareEach(charges) }

// HashFlows is HashFlow for those of packets that have ports, in their order, in the front of hashes, which has room for all. It
// returns how many they are.
func (s *Seed) HashFlows(packets []wire.IP, hashes []uint64) int { return s.hashEach(packets, hashes) }
