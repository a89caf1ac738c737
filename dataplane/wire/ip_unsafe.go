package wire

import "unsafe"

// Where an IP has its fields, and its size. Sound: these are constants that the compiler makes of the type itself.
const (
	srcAt      = uint8(unsafe.Offsetof(IP{}.Src))
	dstAt      = uint8(unsafe.Offsetof(IP{}.Dst))
	srcPortAt  = uint8(unsafe.Offsetof(IP{}.SrcPort))
	dstPortAt  = uint8(unsafe.Offsetof(IP{}.DstPort))
	lengthAt   = uint8(unsafe.Offsetof(IP{}.Length))
	versionAt  = uint8(unsafe.Offsetof(IP{}.Version))
	protoAt    = uint8(unsafe.Offsetof(IP{}.Proto))
	tcpFlagsAt = uint8(unsafe.Offsetof(IP{}.TCPFlags))
	ttlAt      = uint8(unsafe.Offsetof(IP{}.TTL))
	hasPortsAt = uint8(unsafe.Offsetof(IP{}.HasPorts))
	ipSize     = unsafe.Sizeof(IP{})

	// spareAt is its padding, where the shapes of IPv4 put the bits and the offset of a fragment.
	spareAt = hasPortsAt + 1
	// fragmentBits is what a fragment has of them, read as a little-endian word.
	fragmentBits = 0xff3f //nolint:unused // plain_amd64.s uses it
)

// shapeShift is the size of a shape, as a power of two.
const shapeShift = 8

var _ [unsafe.Sizeof(shape{})]struct{} = [1 << shapeShift]struct{}{}
