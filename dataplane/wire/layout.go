package wire

// Where an IP has its fields, and its size; TestLayout holds them.
const (
	srcAt      = 0
	dstAt      = 16
	srcPortAt  = 32
	dstPortAt  = 34
	lengthAt   = 36
	versionAt  = 40
	protoAt    = 41
	tcpFlagsAt = 42
	ttlAt      = 43
	hasPortsAt = 45
	spareAt    = 46 // its padding, where the shapes of IPv4 put the bits and the offset of a fragment
	ipSize     = 48

	fragmentBits = 0xff3f // what a fragment has there, read as a little-endian word
	shapeShift   = 8      // the size of a shape, as a power of two
)
