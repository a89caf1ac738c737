package arena

import "testing"

// TestPopulate: what is there stays, whichever part is touched, and nothing beyond it is needed.
func TestPopulate(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 1 << 20} {
		var a Arena
		s, err := Make[uint64](&a, n)
		if err != nil {
			t.Fatal(err)
		}
		s[0], s[n-1] = 5, 7
		for _, part := range [][]uint64{s[:0], s, s[n/3:], s[n/3 : n/2], s[n:]} {
			Populate(part)
			Touch(part)
		}
		if s[n-1] != 7 || n > 1 && s[0] != 5 {
			t.Errorf("%d: contents changed", n)
		}
		if err := a.Free(); err != nil {
			t.Error(err)
		}
	}
	Populate[uint64](nil)
}
