//go:build amd64 && !race

package traffic

// locateLines is locateOne for charges[0:n], up to one whose line has no entry of its fingerprint, or several: it returns how many it
// has done. It prefetches their rows.
//
//go:noescape
func locateLines(t *Table, charges *Charge, n int) int

const locateFetches = true
