//go:build linux

package link

import (
	"sync/atomic"
	"unsafe"
)

// word is the 64-bit word at off that two processes share: what was written before a store is seen after the load. Sound: mem
// is mapped, hence page-aligned, and off a multiple of 8 from layout.go. The index checks that it is inside.
func word(mem []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&mem[off : off+8 : off+8][0]))
}

// descs views n descriptors at off. Sound: mem is mapped, hence page-aligned, off a multiple of a page, the slice expression
// checks that all is inside, and Desc holds no pointers, so that any bytes make a valid one.
func descs(mem []byte, off, n int) []Desc {
	return unsafe.Slice((*Desc)(unsafe.Pointer(&mem[off : off+n*descSize][0])), n)
}
