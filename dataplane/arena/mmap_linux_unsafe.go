//go:build linux && !race

package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate maps size bytes and views them as n elements of T. Sound: the mapping is page aligned, zeroed, at least
// n*sizeof(T) long, T holds no pointers (Make checked), and it stays mapped until release.
func allocate[T any](n int, size uint64, prefault bool) ([]T, []byte, error) {
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, err
	}
	if size >= hugeAbove {
		// Only a wish: a kernel without transparent huge pages says EINVAL and ordinary pages do.
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
	if prefault {
		// MADV_POPULATE_WRITE (Linux 5.14) reports a shortage as an error instead of a signal.
		if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil && err != unix.EINVAL {
			_ = unix.Munmap(b)
			return nil, nil, err
		}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), b, nil
}

func release(b []byte) error { return unix.Munmap(b) }
