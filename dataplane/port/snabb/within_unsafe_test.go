//go:build linux

package snabb

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/dataplane/arena"
)

var ne = binary.NativeEndian

// within says whether part lies in all.
func within(part, all []byte) bool {
	at, low := arena.Address(part), arena.Address(all)
	return at >= low && at+uintptr(len(part)) <= low+uintptr(len(all))
}
