package arena

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

type good struct {
	_ [4]uint64
	b struct{ c, d uint32 }
}

func TestMake(t *testing.T) {
	t.Parallel()
	for _, prefault := range []bool{false, true} {
		a := Arena{Prefault: prefault}
		s, err := Make[good](&a, 200_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) != 200_000 || cap(s) != 200_000 {
			t.Fatalf("len %d cap %d", len(s), cap(s))
		}
		if Address(s)%64 != 0 {
			t.Fatalf("address %#x is not aligned to a line", Address(s))
		}
		for i := range s {
			if s[i] != (good{}) {
				t.Fatalf("element %d is not zero", i)
			}
			s[i].b.d = uint32(i)
		}
		if s[199_999].b.d != 199_999 {
			t.Fatal("lost a write")
		}
		if want := uint64(200_000 * 40); a.Size() != want {
			t.Fatalf("size %d, want %d", a.Size(), want)
		}
		if err := errors.Join(a.Free(), a.Free()); err != nil {
			t.Fatal(err)
		}
		if _, err := Make[good](&a, 1); !errors.Is(err, ErrFreed) {
			t.Fatalf("after Free: %v", err)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	var a Arena
	defer a.Free()
	check := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	_, err := Make[string](&a, 1)
	check("string", err, "string")
	_, err = Make[struct{ a [2]struct{ p *int } }](&a, 1)
	check("nested pointer", err, ".a[].p")
	_, err = Make[map[int]int](&a, 1)
	check("map", err, "map")
	_, err = Make[uint64](&a, -1)
	check("negative", err, "out of range")
	_, err = Make[uint64](&a, int(^uint(0)>>1))
	check("too many", err, "out of range")
	if s, err := Make[uint64](&a, 0); err != nil || len(s) != 0 {
		t.Errorf("empty: %v %v", s, err)
	}
	if err := PointerFree(reflect.TypeFor[good]()); err != nil {
		t.Error(err)
	}
}

func TestPrefetchIsHarmless(t *testing.T) {
	addrs := []uintptr{0, 1, ^uintptr(0), 0x12345678}
	Prefetch(&addrs[0], len(addrs))
	Prefetch(&addrs[0], 0)
	Prefetch(&addrs[0], -1)
	if n := testing.AllocsPerRun(100, func() { Prefetch(&addrs[0], len(addrs)) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
