package traffic

import (
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Where assembly and its tables find fields of other packages' types, and the sizes of ours. Sound: these are constants that the
// compiler makes of the types themselves.
const (
	srcAt      = uint32(unsafe.Offsetof(wire.IP{}.Src))
	dstAt      = uint32(unsafe.Offsetof(wire.IP{}.Dst))
	srcPortAt  = unsafe.Offsetof(wire.IP{}.SrcPort)
	versionAt  = unsafe.Offsetof(wire.IP{}.Version)
	protoAt    = unsafe.Offsetof(wire.IP{}.Proto)
	flagsAt    = unsafe.Offsetof(wire.IP{}.TCPFlags)
	fragmentAt = unsafe.Offsetof(wire.IP{}.Fragment)
	hasPortsAt = unsafe.Offsetof(wire.IP{}.HasPorts)
	packetSize = unsafe.Sizeof(wire.IP{})
	srcEndAt   = uint32(unsafe.Offsetof(nets.Ends{}.Src))
	dstEndAt   = uint32(unsafe.Offsetof(nets.Ends{}.Dst))
	endsSize   = unsafe.Sizeof(nets.Ends{})
	sumSize    = uint32(unsafe.Sizeof(Sum{}))
	familySize = unsafe.Sizeof(Totals{}[0])
)
