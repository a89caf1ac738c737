package template

import "unsafe"

// gather executes the steps on b, whose first Margin bytes lie before the segment. It is most of a record's cost, so it is a function of
// its own, with its loop in registers.
//
//go:noinline
func gather(steps []step, b []byte, v *[numbers]uint64) {
	last := len(b) - 8
	base := unsafe.Pointer(unsafe.SliceData(b))
	for i := range steps {
		s := &steps[i]
		at := int(s.end) // + Margin - 8: the eight bytes that end with the number
		if at > last {
			return // cannot be: the caller has measured the segment
		}
		// Sound: the eight bytes lie within b. A slice of it would cost as much as all the rest.
		v[s.code%numbers] = be.Uint64((*[8]byte)(unsafe.Add(base, at))[:]) & s.mask
	}
}
