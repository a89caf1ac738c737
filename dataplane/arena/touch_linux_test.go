//go:build linux && !race

package arena

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTouch: who writes to what was touched does not wait for pages; what is very large is left alone.
func TestTouch(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const (
		size = 64 << 20
		huge = 2 << 20 // a huge page, the most that comes with one fault
	)
	var a Arena
	defer a.Free()
	s, err := Make[byte](&a, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Madvise(s[:unix.Getpagesize()], unix.MADV_POPULATE_WRITE); err != nil {
		t.Skip("this needs Linux 5.14: ", err)
	}
	Touch(s)
	if n := faults(t, s); n >= size/huge/2 {
		t.Errorf("%d page faults after Touch", n)
	}
	large, err := Make[byte](&a, touchBelow+1)
	if err != nil {
		t.Fatal(err)
	}
	Touch(large)
	if n := faults(t, large[:size]); n < size/huge/2 {
		t.Errorf("%d page faults in what is too large to be touched", n)
	}
}

// faults is how many page faults it takes to write to all of s.
func faults(t *testing.T, s []byte) int {
	t.Helper()
	count := func() int {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return int(u.Minflt)
	}
	before := count()
	for i := 0; i < len(s); i += unix.Getpagesize() {
		s[i] = 1
	}
	return count() - before
}
