package cable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MaxFrame is the longest frame that can be sent: an Ethernet frame without FCS.
const MaxFrame = 1514

// The limits of a Traffic.
const (
	minFrame  = 60
	maxFrames = 1 << 14
	maxFields = 16
)

// Field is what differs from packet to packet: the bits of Mask in the big-endian 32-bit word at Offset become
// n * golden >> Shift, where n is the packet's number. Fields whose bits of that product do not overlap take all
// combinations of values, each once, before one comes again.
type Field struct {
	Offset int
	Mask   uint32
	Shift  uint8
}

// golden is odd, so that any number of low bits of its multiples takes every value.
const golden = 0x9e3779b97f4a7c15

// Traffic is a sequence of packets without end: the frames in turn, each with its fields changed.
type Traffic struct {
	// Frames are 1 to 16,384 frames of 60 to MaxFrame bytes.
	Frames [][]byte
	// Fields are changed in every frame that is long enough to hold all of them.
	Fields []Field
}

// Validate reports every problem at once.
func (t Traffic) Validate() error {
	var errs []error
	if n := len(t.Frames); n == 0 || n > maxFrames {
		errs = append(errs, fmt.Errorf("traffic: %d frames are not 1..%d", n, maxFrames))
	}
	for i, f := range t.Frames {
		if len(f) < minFrame || len(f) > MaxFrame {
			errs = append(errs, fmt.Errorf("traffic: frame %d has %d bytes, not %d..%d", i, len(f), minFrame, MaxFrame))
		}
	}
	if len(t.Fields) > maxFields {
		errs = append(errs, fmt.Errorf("traffic: %d fields are more than %d", len(t.Fields), maxFields))
	}
	for _, f := range t.Fields {
		if f.Offset < 0 || f.Offset > MaxFrame-4 || f.Shift > 63 {
			errs = append(errs, fmt.Errorf("traffic: field %+v does not lie in a frame", f))
		}
	}
	return errors.Join(errs...)
}

// Packet is the n-th packet, a copy.
func (t Traffic) Packet(n uint64) []byte {
	f := slices.Clone(t.Frames[n%uint64(len(t.Frames))])
	if len(f) < t.fieldsEnd() {
		return f
	}
	for _, v := range t.Fields {
		word := binary.BigEndian.Uint32(f[v.Offset:])
		binary.BigEndian.PutUint32(f[v.Offset:], word&^v.Mask|uint32(n*golden>>v.Shift)&v.Mask)
	}
	return f
}

// fieldsEnd is the length that a frame must have for its fields to be changed.
func (t Traffic) fieldsEnd() (end int) {
	for _, v := range t.Fields {
		end = max(end, v.Offset+4)
	}
	return end
}

// longest is the length of the longest frame.
func (t Traffic) longest() (n int) {
	for _, f := range t.Frames {
		n = max(n, len(f))
	}
	return n
}

// even reports whether all frames have the same length.
func (t Traffic) even() bool {
	return !slices.ContainsFunc(t.Frames, func(f []byte) bool { return len(f) != len(t.Frames[0]) })
}
