//go:build amd64 && !race

package wire

import (
	"golang.org/x/sys/cpu"
)

const (
	maxPlain = 64             // frames at once
	plainMin = 14 + plainIPv4 // the least length of a plain frame
)

// hasShapes is whether the processor can do what plainLines does.
var hasShapes = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VBMI && cpu.X86.HasBMI1 && cpu.X86.HasBMI2

// PlainAll is Plain for n frames, 64 at most, whose data lie stride bytes apart from frames on; packets has room for as many. It returns
// a bit for each frame that it has decoded to the packet of its number; Plain may accept more.
func (d *Decoder) PlainAll(frames *[]byte, stride uintptr, n int, packets []IP) uint64 {
	if !hasShapes || n <= 0 || n > maxPlain {
		return 0
	}
	packets = packets[:n]
	s := plainShapes
	carries := &s.carries
	if d.Charge != chargeNothing {
		carries = &s.carriesSafe
	}
	return plainLines(s, &carries[0], frames, stride, n, &packets[0])
}

// plainLines is PlainAll for one shapes.carries, and n from 1 on.
//
//go:noescape
func plainLines(s *shapes, carries *uint8, frames *[]byte, stride uintptr, n int, packets *IP) uint64
