package traffic

import (
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// Where assembly finds the fields of a wire.IP. Sound: these are constants that the compiler makes of the type itself.
//
//nolint:unused // prepare_amd64.s uses them
const (
	srcAt      = unsafe.Offsetof(wire.IP{}.Src)
	dstAt      = unsafe.Offsetof(wire.IP{}.Dst)
	srcPortAt  = unsafe.Offsetof(wire.IP{}.SrcPort)
	protoAt    = unsafe.Offsetof(wire.IP{}.Proto)
	hasPortsAt = unsafe.Offsetof(wire.IP{}.HasPorts)
	packetSize = unsafe.Sizeof(wire.IP{})
)
