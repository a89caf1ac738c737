//go:build amd64 && !race

package traffic

// locateLines is locateOne for charges[0:n], up to one whose line has several entries of its fingerprint, or none and no room, or whose row it
// cannot start: it returns how many it has done. It prefetches the rows that it finds.
//
//go:noescape
func locateLines(t *Table, charges *Charge, n int) int

const locateFetches = true
