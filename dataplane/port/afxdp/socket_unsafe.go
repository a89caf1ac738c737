//go:build linux

package afxdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is one of the rings that an AF_XDP socket shares with the kernel: a producer and a consumer index, a word of
// flags, and entries, all in mapped memory. Indexes run freely and wrap at 2^32.
//
// Each index has one writer: for the RX ring the kernel produces and we consume, for the fill ring the other way round.
// cached is our copy of the index that we write, so that we read the shared words only when we must.
type ring struct {
	mem      []byte
	producer *uint32
	consumer *uint32
	flags    *uint32
	mask     uint32
	descs    []unix.XDPDesc // of an RX ring
	addrs    []uint64       // of a fill ring
	cached   uint32
}

// mapRing maps the ring of size entries at the page offset pgoff. Sound: the kernel laid the ring out as off
// says, in a mapping of the length that we compute the same way as it does; the pointers live as long as the mapping, which
// the caller unmaps only when nobody uses the ring (see package gate).
func mapRing(fd int, pgoff int64, off unix.XDPRingOffset, size int, rx bool) (*ring, error) {
	entry := unsafe.Sizeof(uint64(0))
	if rx {
		entry = unsafe.Sizeof(unix.XDPDesc{})
	}
	mem, err := unix.Mmap(fd, pgoff, int(off.Desc)+size*int(entry),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	r := &ring{
		mem:      mem,
		producer: (*uint32)(unsafe.Pointer(&mem[off.Producer])),
		consumer: (*uint32)(unsafe.Pointer(&mem[off.Consumer])),
		flags:    (*uint32)(unsafe.Pointer(&mem[off.Flags])),
		mask:     uint32(size - 1),
	}
	if rx {
		r.descs = unsafe.Slice((*unix.XDPDesc)(unsafe.Pointer(&mem[off.Desc])), size)
	} else {
		r.addrs = unsafe.Slice((*uint64)(unsafe.Pointer(&mem[off.Desc])), size)
	}
	return r, nil
}

func (r *ring) unmap() error {
	if r == nil {
		return nil
	}
	return unix.Munmap(r.mem)
}

// needWakeup reports whether the kernel waits for a system call before it goes on with this ring.
func (r *ring) needWakeup() bool { return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0 }

// registerUmem tells the kernel about the memory for frames, whose chunks may lie anywhere when unaligned. Sound: reg's layout is the kernel's and it is read during
// the call only; umem is mapped memory, which does not move, and outlives the socket.
func registerUmem(fd int, umem []byte, chunk int, unaligned bool) error {
	reg := unix.XDPUmemReg{
		Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(umem)))), Len: uint64(len(umem)), Size: uint32(chunk),
	}
	if unaligned {
		reg.Flags = unix.XDP_UMEM_UNALIGNED_CHUNK_FLAG
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// getsockopt reads a struct; false when the kernel refuses or has an older, shorter form of it. Sound: the kernel writes at
// most size bytes, the size of T, which has its layout.
func getsockopt[T unix.XDPMmapOffsets | unix.XDPStatistics](fd, option int) (v T, err error) {
	size := uint32(unsafe.Sizeof(v))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return v, errno
	}
	if uintptr(size) != unsafe.Sizeof(v) {
		return v, unix.ENOTSUP
	}
	return v, nil
}
