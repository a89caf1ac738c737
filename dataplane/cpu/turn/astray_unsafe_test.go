//go:build linux && (amd64 || arm64)

package turn

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestAstray: a word that is no address, or leads where nothing may be read, is no P, and does not end the process.
func TestAstray(t *testing.T) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	m := load(self() + gM)
	for _, p := range []uintptr{0, 8, 4096, 12344, m, self(), uintptr(unsafe.Pointer(unsafe.SliceData(page))), 1<<47 - 8, 1 << 47, ^uintptr(7)} {
		if holds(m, p) {
			t.Errorf("%#x is a P", p)
		}
		if safely(func() bool { return refers(p, self()) }) != (p == m) {
			t.Errorf("%#x is an M, or the M is none", p)
		}
	}
}
