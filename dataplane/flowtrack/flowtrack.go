package flowtrack

import (
	"errors"
	"math/bits"

	"golang.org/x/sys/cpu"

	"github.com/weir-ddos/weir/dataplane/arena"
)

const (
	lanes = 16 // entries in a line
	// Entries fill at most 5 of 8 places.
	loadNum, loadDen = 5, 8
	// maxRun is how many lines a search may cross. At that load a run of full lines longer than 4 has never been seen.
	maxRun = 32
	// MaxFlows bounds the capacity of a set.
	MaxFlows = 1 << 28

	tagShift = 24
	maxTag   = 1<<(32-tagShift) - 1
	tagMask  = maxTag << tagShift
)

// Config sizes the flow sets of one worker.
type Config struct {
	// Flows is how many distinct flows one worker can tell apart in one second, or one tick when that is longer. Above it the number of flows is a lower
	// bound, and the appliance says so. A flow takes 13 bytes. Zero switches counting flows off.
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
func (c Config) Size() uint64 { return 2 * uint64(homes(c.Flows)+maxRun) * lineSize }

func homes(flows int) int { return (flows*loadDen + loadNum*lanes - 1) / (loadNum * lanes) }

// line is one cache line: tag<<24 | fingerprint, 16 times.
type line [lanes]uint32

const lineSize = lanes * 4

// Set is the flows of one second, or of one epoch when that is longer.
type Set struct {
	lines  []line
	homes  uint64
	tag    uint32 // of this life of the set, shifted into place; never 0
	count  int
	most   int // count has been, before Clear
	limit  int
	base   uintptr
	avx512 bool // whether assembly may use it
}

// Result is what Insert says.
type Result uint8

// Results of Insert.
const (
	Seen  Result = iota // counted before, since Clear
	Added               // counted now
	Full                // not seen before, and there is no room: not counted
)

func (s *Set) init(a *arena.Arena, flows int) (err error) {
	n := homes(flows)
	s.lines, err = arena.Make[line](a, n+maxRun) // the tail takes runs that begin at the end
	s.homes, s.limit, s.tag = uint64(n), flows, 1<<tagShift
	s.base, s.avx512 = arena.Address(s.lines), cpu.X86.HasAVX512VL
	return err
}

// Prepare writes where the searches for flows begin to addrs, as many, for arena.Prefetch.
func (s *Set) Prepare(hashes []uint64, addrs []uintptr) {
	homes, base := s.homes, s.base
	addrs = addrs[:len(hashes)]
	for i, h := range hashes {
		home, _ := bits.Mul64(h, homes)
		addrs[i] = base + uintptr(home)*lineSize
	}
}

// PrepareFetch prefetches where the searches for flows begin.
func (s *Set) PrepareFetch(hashes []uint64) {
	if prepareFetches && len(hashes) > 0 {
		prepareLines(s, &hashes[0], len(hashes))
		return
	}
	var addrs [64]uintptr
	for len(hashes) > 0 {
		part := hashes[:min(len(addrs), len(hashes))]
		s.Prepare(part, addrs[:])
		arena.Prefetch(&addrs[0], len(part))
		hashes = hashes[len(part):]
	}
}

// InsertAll notes flows by their hashes, one after the other, and writes whether they are new to results, as many.
func (s *Set) InsertAll(hashes []uint64, results []Result) {
	results = results[:len(hashes)]
	for len(hashes) > 0 {
		n := insertLines(s, &hashes[0], &results[0], len(hashes))
		hashes, results = hashes[n:], results[n:]
		if len(hashes) > 0 { // its line is full
			results[0] = s.Insert(hashes[0])
			hashes, results = hashes[1:], results[1:]
		}
	}
}

// Insert notes a flow by its hash and says whether it is new.
func (s *Set) Insert(hash uint64) Result {
	home, _ := bits.Mul64(hash, s.homes)
	want := s.tag | uint32(hash)>>4&(1<<tagShift-1)
	at := hash
	l := &s.lines[home]
	for range lanes {
		e := &l[at%lanes]
		if *e == want {
			return Seen
		}
		if (*e^want)>>tagShift != 0 {
			return s.take(e, want)
		}
		at++
	}
	return s.insertBehind(home+1, hash, want)
}

// insertBehind goes on behind a full line.
func (s *Set) insertBehind(next, hash uint64, want uint32) Result {
	run := s.lines[next:]
	for i := range run[:min(maxRun-1, len(run))] {
		for k := range uint64(lanes) {
			e := &run[i][(hash+k)%lanes]
			if *e == want {
				return Seen
			}
			if (*e^want)>>tagShift != 0 {
				return s.take(e, want)
			}
		}
	}
	return Full
}

func (s *Set) take(e *uint32, want uint32) Result {
	if s.count >= s.limit {
		return Full
	}
	*e = want
	s.count++
	return Added
}

// Len is how many flows the set holds.
func (s *Set) Len() int { return s.count }

// Cap is how many it can hold.
func (s *Set) Cap() int { return s.limit }

// Clear empties the set.
func (s *Set) Clear() {
	s.most = max(s.most, s.count)
	s.count = 0
	if s.tag>>tagShift == maxTag {
		clear(s.lines) // an old tag would come round again
		s.tag = 0
	}
	s.tag += 1 << tagShift
}

// Tracker is a shard's two sets. It is a traffic.FlowSets.
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

// Touch takes the memory of both sets, which a flood uses all over from its first packets on. The owner's thread calls it before it
// counts, so that the memory is near.
func (t *Tracker) Touch() {
	for i := range t.sets {
		arena.Touch(t.sets[i].lines)
	}
}

// Set returns set i (traffic.Half.FlowSet).
func (t *Tracker) Set(i int) *Set { return &t.sets[i&1] }

// Clear empties set i, which the owner has left.
func (t *Tracker) Clear(i int) { t.sets[i&1].Clear() }

// pageLines is how many lines the smallest pages have.
const pageLines = 4096 / lineSize

// Ready writes to every page of set i, which must be empty, if it has been used so much that all have been touched: one that the
// system or its host has taken away or marked meanwhile is then no fault in traffic.
func (t *Tracker) Ready(i int) {
	s := &t.sets[i&1]
	if s.count != 0 || s.most < len(s.lines)/pageLines {
		return
	}
	for k := 0; k < len(s.lines); k += pageLines {
		s.lines[k][0] = 0 // no tag is 0
	}
}

// Size is the address space in bytes that is reserved.
func (t *Tracker) Size() uint64 { return t.memory.Size() }

// Free returns the memory; nobody may use the tracker again.
func (t *Tracker) Free() error { return t.memory.Free() }
