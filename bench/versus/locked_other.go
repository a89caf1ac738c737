//go:build !linux

package versus

// lockedKey marks nothing here.
const lockedKey = ""

// Child does nothing: no side runs but on Linux.
func Child() {}
