//go:build linux

package afxdp

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapRing maps the ring: its consumer's page, which we write, and its producer's page with the data twice behind it, which we
// may only read. Sound: the positions are words at the beginning of their pages, and the mappings live until unmap, which is
// called when nobody uses the tap (see package gate).
func (t *tap) mapRing(size int) (err error) {
	page := unix.Getpagesize()
	if t.cons, err = unix.Mmap(t.ring.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	if t.prod, err = unix.Mmap(t.ring.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return err
	}
	t.data = t.prod[page:]
	t.consumer = (*uint64)(unsafe.Pointer(unsafe.SliceData(t.cons)))
	t.producer = (*uint64)(unsafe.Pointer(unsafe.SliceData(t.prod)))
	return nil
}

func (t *tap) unmap() error {
	var errs []error
	for _, m := range [][]byte{t.cons, t.prod} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(errs...)
}

// header reads the first word of the record at from, after which the rest of it may be read: the kernel clears the busy bit last.
// Sound: records begin at multiples of 8 inside the ring.
func (t *tap) header(from uint64) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&t.data[from])))
}

// length is the frame's length in the record at from.
func (t *tap) length(from uint64) uint32 {
	return *(*uint32)(unsafe.Pointer(&t.data[from+recordHeader]))
}
