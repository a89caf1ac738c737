//go:build linux

package afpacket

import (
	"sync/atomic"
	"unsafe"
)

// statusOffset is where a block's status word lies: behind version and offset_to_priv (struct tpacket_block_desc).
const statusOffset = 8

// blockStatus reads the status of a block with acquire order: what the kernel wrote before it is then visible. Sound:
// block is a block of the mapped ring, at least a page long and page-aligned, so the word is inside and aligned.
func blockStatus(block []byte) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&block[statusOffset])))
}

// setBlockStatus writes it with release order: the kernel sees the block free only after we have finished with it.
func setBlockStatus(block []byte, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&block[statusOffset])), v)
}
