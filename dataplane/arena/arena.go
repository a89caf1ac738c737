package arena

import (
	"errors"
	"fmt"
	"math"
	"reflect"
)

// Line is the distance in bytes that keeps two words written by different cores from disturbing each other:
// two cache lines, since the adjacent-line prefetcher of amd64 fetches pairs.
const Line = 128

// hugeAbove is the size from which huge pages are asked for.
const hugeAbove = 4 << 20

// Arena hands out memory and gives all of it back at once. The zero value is ready.
// It is not safe for concurrent use; what it hands out is shared as its user decides.
type Arena struct {
	// Prefault makes Make touch every page at once, so that no page fault happens in traffic and a machine with
	// too little memory fails at start. Without it pages come when they are first used.
	Prefault bool

	blocks [][]byte
	size   uint64
	freed  bool
}

// ErrFreed is returned by Make after Free.
var ErrFreed = errors.New("arena: already freed")

// Size is the number of bytes handed out so far, resident or not.
func (a *Arena) Size() uint64 { return a.size }

// Make returns n zeroed elements of T, aligned to a page. T must hold no pointers, at any depth: the collector
// does not look here. It fails when T has pointers, n is negative, or the system refuses the memory.
func Make[T any](a *Arena, n int) ([]T, error) {
	t := reflect.TypeFor[T]()
	if err := PointerFree(t); err != nil {
		return nil, err
	}
	if a.freed {
		return nil, ErrFreed
	}
	size := uint64(t.Size())
	if n < 0 || (size > 0 && uint64(n) > math.MaxInt/size) {
		return nil, fmt.Errorf("arena: %d elements of %v: count is out of range", n, t)
	}
	if n == 0 || size == 0 {
		return make([]T, n), nil
	}
	s, block, err := allocate[T](n, uint64(n)*size, a.Prefault)
	if err != nil {
		return nil, fmt.Errorf("arena: %d bytes for %d of %v: %w", uint64(n)*size, n, t, err)
	}
	if block != nil {
		a.blocks = append(a.blocks, block)
	}
	a.size += uint64(n) * size
	return s, nil
}

// Free gives everything back. No slice that Make returned may be used again. It is idempotent.
func (a *Arena) Free() error {
	var errs []error
	for _, b := range a.blocks {
		errs = append(errs, release(b))
	}
	a.blocks, a.size, a.freed = nil, 0, true
	return errors.Join(errs...)
}

// PointerFree says which part of t holds a pointer that the collector would miss, or returns nil.
func PointerFree(t reflect.Type) error { return pointerFree(t, t.String()) }

func pointerFree(t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	case reflect.Array:
		return pointerFree(t.Elem(), path+"[]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if err := pointerFree(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("arena: %s is a %v, which holds a pointer", path, t.Kind())
	}
}
