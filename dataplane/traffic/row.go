package traffic

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/dataplane/nets"
)

// A packed class word.
const (
	byteBits = 36
	byteMask = 1<<byteBits - 1
	// OnePacket is one packet of no bytes, packed: a packet's word is OnePacket + its bytes.
	OnePacket = 1 << byteBits
	// drainMask is the top bit of either part. A word that shows one of them is moved to the spill list at once; as one
	// packet adds less than 2^32 bytes, the byte part stays below 2^36 until then.
	drainMask = 1<<63 | 1<<(byteBits-1)
	// what fits into a word without spilling first
	maxWordPackets = 1 << (63 - byteBits)
	maxWordBytes   = 1 << (byteBits - 1)
)

// firstLine is how many classes, from ClassTCP on, have their word in the row itself.
const firstLine = int(ClassOther)

// control is direction<<32 | place, and in a table's rows wide, which is above every place.
const (
	placeBits = 32
	// wide is set when the tail is valid, so that whoever reads the row knows without touching that.
	wide = 1 << (placeBits - 1)
)

// rowSize is the size of a row, and of a tail; a test holds it.
const (
	rowShift = 6
	rowSize  = 1 << rowShift
)

// row is the counters of one host in one direction; see the package comment for its layout.
type row struct {
	k0, k1  uint64
	control uint64
	first   [firstLine]uint64
	flows   uint64
}

// tail is the rest of the row of the same number: it counts when the row is wide.
type tail struct {
	second  [int(NumClasses) - firstLine]uint64
	spilled uint64 // not 0 when the spill list holds some of the row's counts
	_       [1]uint64
}

// Host is one host's counts in one direction.
type Host struct {
	// Addr is the host's address; IPv4 is v4-mapped.
	Addr [16]byte
	// Direction is Incoming or Outgoing.
	Direction Direction
	// Place is the host's network and hostgroup in the prefix table of the same half or snapshot.
	Place nets.ID
	// Cells are the disjoint counters.
	Cells Cells
	// Flows is how many new flows were seen.
	Flows uint64
}

func unpack(w uint64) Counter { return Counter{Packets: w >> byteBits, Bytes: w & byteMask} }

func (r *row) addr() (a [16]byte) {
	binary.LittleEndian.PutUint64(a[:8], r.k0)
	binary.LittleEndian.PutUint64(a[8:], r.k1)
	return a
}

func (r *row) place() nets.ID { return nets.ID(uint32(r.control) &^ wide) }
func (r *row) family() Family {
	if r.k0 == 0 && uint32(r.k1) == mapped {
		return IPv4
	}
	return IPv6
}

func (r *row) direction() Direction { return Direction(r.control >> placeBits) }
