//go:build !amd64 || race

package flowtrack

// insertLines leaves everything to Insert.
func insertLines(*Set, *uint64, *Result, int) int { return 0 }

// prepareLines does not exist here.
func prepareLines(*Set, *uint64, int) {}

const prepareFetches = false
