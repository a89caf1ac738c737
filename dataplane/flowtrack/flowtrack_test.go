package flowtrack

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/arena"
)

func newSet(t testing.TB, flows int) *Set {
	t.Helper()
	tr, err := New(Config{Flows: flows})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Free(); err != nil {
			t.Error(err)
		}
	})
	return tr.Set(0)
}

func TestLayout(t *testing.T) {
	t.Parallel()
	if n := reflect.TypeFor[line]().Size(); n != 64 {
		t.Errorf("a line has %d bytes, want 64", n)
	}
	if err := arena.PointerFree(reflect.TypeFor[line]()); err != nil {
		t.Error(err)
	}
}

// TestExactAgainstMap inserts in random order with repetitions up to the capacity and compares with a map.
func TestExactAgainstMap(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 7, 15, 100, 5_000, 200_000} {
		s := newSet(t, limit)
		r := rand.New(rand.NewPCG(1, uint64(limit)))
		seen := map[uint64]bool{}
		universe := make([]uint64, limit)
		for i := range universe {
			universe[i] = r.Uint64()
		}
		wrong := 0
		for range 4 * limit {
			h := universe[r.IntN(limit)]
			got := s.Insert(h)
			if (got == Seen) != seen[h] {
				wrong++
			}
			if got == Full {
				t.Fatalf("capacity %d: full at %d", limit, s.Len())
			}
			seen[h] = true
		}
		if off := len(seen) - s.Len(); off < 0 || float64(off) > 0.001*float64(limit) || wrong > off {
			t.Errorf("capacity %d: %d flows counted, %d are there, %d answers wrong", limit, s.Len(), len(seen), wrong)
		}
	}
}

func TestSaturates(t *testing.T) {
	t.Parallel()
	s := newSet(t, 1000)
	r := rand.New(rand.NewPCG(2, 2))
	known := make([]uint64, 0, 1000)
	var results [3]int
	for range 5000 {
		h := r.Uint64()
		res := s.Insert(h)
		results[res]++
		if res == Added {
			known = append(known, h)
		}
	}
	if results != [3]int{0, 1000, 4000} || s.Len() != 1000 {
		t.Fatalf("seen/new/full = %v, len %d", results, s.Len())
	}
	for _, h := range known {
		if s.Insert(h) != Seen {
			t.Fatal("a full set forgot a flow")
		}
	}
}

func TestClearAndTagWrap(t *testing.T) {
	t.Parallel()
	s := newSet(t, 100)
	for epoch := range 5 {
		if epoch == 2 {
			s.tag = (maxTag - 1) << tagShift // two clears before the wrap
		}
		for h := range uint64(100) {
			if got := s.Insert(h * 0x9e3779b97f4a7c15); got == Full {
				t.Fatalf("epoch %d: full at %d", epoch, s.Len())
			}
		}
		n := s.Len()
		s.Clear()
		if s.Len() != 0 || s.tag == 0 {
			t.Fatalf("epoch %d: %d left after Clear, tag %d", epoch, s.Len(), s.tag)
		}
		if epoch > 0 && n == 0 {
			t.Fatalf("epoch %d counted nothing", epoch)
		}
		if s.Insert(99) != Added {
			t.Fatalf("epoch %d: an old flow survived", epoch)
		}
		s.Clear()
	}
}

// TestHostileHashes: even if every hash is the same bucket, work is bounded and the set says that it is full.
func TestHostileHashes(t *testing.T) {
	t.Parallel()
	s := newSet(t, 10_000)
	for i := range uint64(2000) {
		want := Added
		if i >= maxRun*lanes {
			want = Full
		}
		if got := s.Insert(i << 4); got != want {
			t.Fatalf("insert %d: %v, want %v", i, got, want)
		}
	}
	if s.Insert(^uint64(0)) != Added {
		t.Fatal("last bucket")
	}
}

func TestInsertAllocs(t *testing.T) {
	s := newSet(t, 1000)
	h := uint64(1)
	if n := testing.AllocsPerRun(1000, func() { h *= 0x9e3779b97f4a7c15; s.Insert(h) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Flows: -1}, {Flows: MaxFlows + 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v) succeeds", c)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New with no flows succeeds")
	}
	c := Config{Flows: 12345}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Free()
	if tr.Size() != c.Size() {
		t.Errorf("size %d, announced %d", tr.Size(), c.Size())
	}
}

func FuzzInsert(f *testing.F) {
	f.Add(uint64(0), 3)
	f.Add(^uint64(0), 40)
	f.Fuzz(func(t *testing.T, h uint64, limit int) {
		limit = 1 + (limit&0x7fffffff)%4096
		s := newSet(t, limit)
		if got := s.Insert(h); got != Added {
			t.Fatalf("first insert of %#x: %v", h, got)
		}
		if got := s.Insert(h); got != Seen {
			t.Fatalf("second insert of %#x: %v", h, got)
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{1000, 1 << 20} {
		s := newSet(b, n)
		b.Run(map[bool]string{true: "1M", false: "1k"}[n > 1000], func(b *testing.B) {
			i := uint64(0)
			for b.Loop() {
				i++
				s.Insert(i % uint64(n) * 0x9e3779b97f4a7c15)
			}
		})
	}
}

// TestInsertAllAgainstInsert: a burst at a time gives the same answers and leaves the same memory as one at a time, over full lines,
// a full set and lives of the set.
func TestInsertAllAgainstInsert(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	for _, limit := range []int{1, 9, 100, 800} {
		one, all := newSet(t, limit), newSet(t, limit)
		supported := all.avx512
		for life := range maxTag + 3 {
			all.avx512 = supported && life%4 < 2 // with AVX-512, and without
			universe := 1 + r.IntN(2*limit)
			var same uint64 // every other life all hashes share a line
			if life&1 != 0 {
				same = 0xffffffff << 32
			}
			for range 3*universe/40 + 2 {
				hashes, got := make([]uint64, r.IntN(64)), make([]Result, 64)
				for i := range hashes {
					hashes[i] = same | uint64(r.IntN(universe))*0x9e3779b97f4a7c15
				}
				all.InsertAll(hashes, got)
				for i, h := range hashes {
					if want := one.Insert(h); got[i] != want {
						t.Fatalf("capacity %d, life %d, %#x: %d, want %d", limit, life, h, got[i], want)
					}
				}
			}
			if one.Len() != all.Len() || !slices.Equal(one.lines, all.lines) {
				t.Fatalf("capacity %d, life %d: the sets differ", limit, life)
			}
			one.Clear()
			all.Clear()
		}
	}
}

// TestPrepareFetch: prefetching changes nothing, for any number of hashes, and allocates nothing.
func TestPrepareFetch(t *testing.T) {
	s := newSet(t, 100)
	hashes := make([]uint64, 200)
	for i := range hashes {
		hashes[i] = uint64(i) * 0x9e3779b97f4a7c15
	}
	for _, n := range []int{0, 1, 63, 64, 65, 200} {
		if allocs := testing.AllocsPerRun(10, func() { s.PrepareFetch(hashes[:n]) }); allocs != 0 {
			t.Errorf("%d hashes: %v allocations", n, allocs)
		}
	}
	if s.Len() != 0 || s.Insert(hashes[1]) != Added || s.Insert(hashes[1]) != Seen {
		t.Errorf("%d flows after prefetching", s.Len())
	}
}
