package flowtrack

import (
	"errors"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/arena"
)

const (
	lanes = 15 // fingerprints in a bucket
	// load is how full buckets are at capacity, in sixteenths.
	load = 12
	// maxRun is how many buckets a search may cross. At that load a run of full buckets longer than 10 has never been seen.
	maxRun = 32
	// MaxFlows bounds the capacity of a set.
	MaxFlows = 1 << 28
)

// Config sizes the flow sets of one worker.
type Config struct {
	// Flows is how many distinct flows one worker can tell apart in one epoch. Above it the number of flows is a lower
	// bound, and the appliance says so. A flow takes about 12 bytes. Zero switches counting flows off.
	Flows int `json:"flows"`
	// Prefault takes all the memory at start instead of when it is first used.
	Prefault bool `json:"prefault"`
}

// DefaultConfig tells 2 million flows apart.
func DefaultConfig() Config { return Config{Flows: 2 << 20} }

// Validate reports every problem.
func (c Config) Validate() error {
	if c.Flows < 0 || c.Flows > MaxFlows {
		return errors.New("flows: must be 0..268435456")
	}
	return nil
}

// Size is the address space in bytes that a Tracker of this configuration reserves.
func (c Config) Size() uint64 { return 2 * uint64(buckets(c.Flows)+maxRun) * 64 }

func buckets(flows int) int { return (flows*16 + load*lanes - 1) / (load * lanes) }

type bucket struct {
	tag uint32
	fp  [lanes]uint32 // filled from the front; 0 is empty
}

// Set is the flows of one half.
type Set struct {
	buckets []bucket
	homes   uint64
	tag     uint32
	count   int
	limit   int
	base    uintptr
}

// Result is what Insert says.
type Result uint8

// Results of Insert.
const (
	Seen  Result = iota // counted before in this epoch
	Added               // counted now
	Full                // not seen before, and there is no room: not counted
)

func (s *Set) init(a *arena.Arena, flows int) (err error) {
	n := buckets(flows)
	s.buckets, err = arena.Make[bucket](a, n+maxRun) // the tail takes runs that begin at the end
	s.homes, s.limit, s.tag = uint64(n), flows, 1
	s.base = arena.Address(s.buckets)
	return err
}

// Address is where the search for a flow begins, for arena.Prefetch.
func (s *Set) Address(hash uint64) uintptr {
	home, _ := bits.Mul64(hash, s.homes)
	return s.base + uintptr(home)*64
}

// Insert notes a flow by its hash and says whether it is new.
func (s *Set) Insert(hash uint64) Result {
	home, _ := bits.Mul64(hash, s.homes)
	fp := uint32(hash)
	if fp == 0 {
		fp = 1
	}
	if home >= uint64(len(s.buckets)) {
		return Full
	}
	run := s.buckets[home:]
	if len(run) > maxRun {
		run = run[:maxRun]
	}
	for i := range run {
		b := &run[i]
		if b.tag != s.tag {
			b.fp = [lanes]uint32{}
			b.tag = s.tag
		}
		for k := range b.fp {
			switch b.fp[k] {
			case fp:
				return Seen
			case 0:
				if s.count >= s.limit {
					return Full
				}
				b.fp[k] = fp
				s.count++
				return Added
			}
		}
	}
	return Full
}

// Len is how many flows the set holds.
func (s *Set) Len() int { return s.count }

// Cap is how many it can hold.
func (s *Set) Cap() int { return s.limit }

// Clear empties the set.
func (s *Set) Clear() {
	s.count = 0
	if s.tag++; s.tag == 0 {
		clear(s.buckets) // an old tag would come round again
		s.tag = 1
	}
}

// Tracker is a shard's two sets. It is a traffic.Companion.
type Tracker struct {
	sets   [2]Set
	memory arena.Arena
}

// New reserves the memory of two sets. cfg.Flows must be above zero.
func New(cfg Config) (*Tracker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Flows == 0 {
		return nil, errors.New("flowtrack: flows: is zero, which means off")
	}
	t := new(Tracker)
	t.memory.Prefault = cfg.Prefault
	for i := range t.sets {
		if err := t.sets[i].init(&t.memory, cfg.Flows); err != nil {
			return nil, errors.Join(err, t.memory.Free())
		}
	}
	return t, nil
}

// Set returns the set of half i (traffic.Half.Index).
func (t *Tracker) Set(i int) *Set { return &t.sets[i&1] }

// Retired does nothing: what a set counted is in the half.
func (t *Tracker) Retired(int) {}

// Clear empties the set of half i.
func (t *Tracker) Clear(i int) { t.sets[i&1].Clear() }

// Size is the address space in bytes that is reserved.
func (t *Tracker) Size() uint64 { return t.memory.Size() }

// Free returns the memory; nobody may use the tracker again.
func (t *Tracker) Free() error { return t.memory.Free() }
