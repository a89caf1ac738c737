package filter

import (
	"fmt"
	"math/bits"
	"net/netip"
	"sync"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// Shared is a filter for many goroutines: some Workers, each behind a lock. An exporter always has the same one, so that a script's own
// variables see all of its records, whichever socket they came by. A lock costs more than a few rules: who can give each socket worker a
// Worker of its own does that.
type Shared struct{ stripes []stripe }

type stripe struct {
	mu sync.Mutex // guards w
	w  *Worker
	_  [48]byte // to a cache line of its own
}

// Shared makes a filter with n Workers, 1 to 256; about twice as many as goroutines that use it keep them out of each other's way.
func (s *Set) Shared(n int) (*Shared, error) {
	if n < 1 || n > 256 {
		return nil, fmt.Errorf("filter: %d workers are outside 1..256", n)
	}
	f := &Shared{stripes: make([]stripe, n)}
	for i := range f.stripes {
		w, err := s.Worker()
		if err != nil {
			f.Close()
			return nil, err
		}
		f.stripes[i].w = w
	}
	return f, nil
}

// Keep says whether r is to be counted. It may be called from any goroutine.
func (f *Shared) Keep(exporter netip.Addr, r *record.Record) bool {
	b := exporter.As16()
	a := load128(&b)
	i, _ := bits.Mul64((a.hi^bits.RotateLeft64(a.lo, 32))*0x9e3779b97f4a7c15, uint64(len(f.stripes)))
	s := &f.stripes[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w == nil || s.w.Keep(exporter, r)
}

// Flush publishes what was counted, for Stats. It may be called from any goroutine, and is to be called now and then.
func (f *Shared) Flush() {
	for i := range f.stripes {
		s := &f.stripes[i]
		s.mu.Lock()
		if s.w != nil {
			s.w.Flush()
		}
		s.mu.Unlock()
	}
}

// Close frees the Workers; records that are still asked about are kept, unlooked at.
func (f *Shared) Close() {
	for i := range f.stripes {
		s := &f.stripes[i]
		s.mu.Lock()
		if s.w != nil {
			s.w.Close()
			s.w = nil
		}
		s.mu.Unlock()
	}
}
