package wire_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// TestPlainAllStaysInside: no byte behind a frame's end is read, nor one before its start: frames of every length lie against pages
// that cannot be read.
func TestPlainAllStaysInside(t *testing.T) {
	t.Parallel()
	page := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	for _, at := range []int{0, 2 * page} {
		if err := unix.Mprotect(memory[at:at+page], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	inside := memory[page : 2*page]
	for n := 1; n < 200; n++ {
		for i, f := range heads(n) {
			last, first := inside[page-len(f):], inside[:len(f):len(f)]
			for _, b := range [][]byte{last, first} {
				copy(b, f)
				if s := plainAll([][]byte{b, b}); s != "" {
					t.Fatalf("frame %d of %d bytes: %s", i, n, s)
				}
			}
		}
	}
	if !wire.HasShapes {
		t.Skip("this processor or build decodes frames one by one")
	}
}
