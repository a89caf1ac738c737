package link

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// What begins the shared memory.
const (
	// Magic is its first word: "WEIRSNAB".
	Magic uint64 = 0x42414e5352494557
	// Version is that of the layout and of the handshake. Both sides must have the same.
	Version = 1
)

// Offsets of 64-bit words in the memory. The first page is written by Snabb's side only, the second by the reader only. Words
// that change lie on lines of their own.
const (
	OffMagic   = 0
	OffVersion = 8
	OffQueues  = 16
	OffSlots   = 24
	OffData    = 32
	// OffInstance tells one Snabb process from the next.
	OffInstance = 40
	// OffMissed is how many frames of the device went to no reader in this instance, up to the moment of the attachment. It
	// contains what readers before left in their rings.
	OffMissed = 48
	// OffPolls goes up with each call of the callback: a sign of life.
	OffPolls = 128

	offQueues = 256
	stride    = 128
	offTails  = 4096
	offDescs  = 8192
	page      = 4096
	descSize  = 16
)

// Limits of a Geometry.
const (
	MaxQueues = 16
	MinSlots  = 64
	MaxSlots  = 1 << 20
	MinData   = 64 << 10
	MaxData   = 1 << 30
	MinSnap   = 64
	MaxSnap   = 16384
	maxSize   = 4 << 30
	// Line is the unit of Desc.Line; every frame begins at a multiple of it.
	Line = 64
	// MaxWire is the longest frame that can be: what a descriptor's length can say, and a tag that the NIC took out.
	MaxWire = math.MaxUint16 + 4
)

// Desc describes one frame. Slot i of a queue describes the frames number i, i+Slots, i+2*Slots...
type Desc struct {
	// Line is where the frame begins in the queue's data, in units of Line.
	Line uint32
	// Keep is how many bytes of the frame are there.
	Keep uint32
	// Wire is the frame's length without FCS, at most MaxWire.
	Wire uint32
	// Mark is the low half of the frame's number.
	Mark uint32
}

// Geometry is the size and shape of a memory, as the reader wants it.
type Geometry struct {
	// Queues is how many rings the device's frames are spread over, by addresses, 1 to MaxQueues.
	Queues int `json:"queues"`
	// Slots is how many frames a queue holds, a power of two from MinSlots to MaxSlots.
	Slots int `json:"slots"`
	// Data is how many bytes a queue holds, a power of two from MinData to MaxData.
	Data int `json:"data"`
	// Snap is how many bytes of a frame are kept, MinSnap to MaxSnap.
	Snap int `json:"snap"`
}

// Validate says what is wrong with g. Two of the longest frames always fit into a valid one.
func (g Geometry) Validate() error {
	var errs []error
	within := func(what string, v, low, high int) bool {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s: %d is outside %d..%d", what, v, low, high))
			return false
		}
		return true
	}
	power := func(what string, v, low, high int) {
		if within(what, v, low, high) && bits.OnesCount(uint(v)) != 1 {
			errs = append(errs, fmt.Errorf("%s: %d is no power of two", what, v))
		}
	}
	within("queues", g.Queues, 1, MaxQueues)
	power("slots", g.Slots, MinSlots, MaxSlots)
	power("data", g.Data, MinData, MaxData)
	within("snap", g.Snap, MinSnap, MaxSnap)
	if len(errs) == 0 && (g.size() > maxSize || g.size() > math.MaxInt) {
		errs = append(errs, fmt.Errorf("%d bytes in total are too many", g.size()))
	}
	return errors.Join(errs...)
}

// size is how many bytes the memory has. g is within its limits.
func (g Geometry) size() int64 {
	return offDescs + int64(g.Queues)*(g.descs()+int64(g.Data))
}

// descs is the length of one queue's descriptors, in whole pages.
func (g Geometry) descs() int64 { return (int64(g.Slots)*descSize + page - 1) &^ (page - 1) }

// Size is how many bytes the memory has. g must be valid.
func (g Geometry) Size() int { return int(g.size()) }

// Head is the offset of the word that counts the frames of queue q that were ever put in. Snabb's side writes it.
func (g Geometry) Head(q int) int { return offQueues + q*stride }

// Dropped is the offset of the word that counts the frames that found no room in queue q. Snabb's side writes it.
func (g Geometry) Dropped(q int) int { return g.Head(q) + 8 }

// Tail is the offset of the word that counts the frames of queue q that were given back. The reader writes it.
func (g Geometry) Tail(q int) int { return offTails + q*stride }

// Descs is the offset of queue q's descriptors.
func (g Geometry) Descs(q int) int { return offDescs + q*int(g.descs()) }

// Frames is the offset of queue q's data.
func (g Geometry) Frames(q int) int { return offDescs + g.Queues*int(g.descs()) + q*g.Data }
