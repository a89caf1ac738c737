//go:build amd64 && !race

package flowtrack

// insertLines is Insert for hashes[0:n], up to one whose line is full: it returns how many it has done.
//
//go:noescape
func insertLines(s *Set, hashes *uint64, results *Result, n int) int

// prepareLines prefetches where the searches for hashes[0:n] begin.
//
//go:noescape
func prepareLines(s *Set, hashes *uint64, n int)

const prepareFetches = true
