package traffic

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
)

// Config sizes a shard.
type Config struct {
	// Hosts is how many rows one worker can hold in an epoch; a host has one row for each direction that it is seen in.
	// Beyond it, packets are counted in the overflow row of their network. A row takes 272 bytes in a worker
	// and 136 where workers are merged, and little more than half of that while a host gets TCP, UDP and ICMP without fragments; memory that is
	// never used costs address space only.
	Hosts int `json:"hosts"`
	// Prefault takes all the memory at start instead of when it is first used.
	Prefault bool `json:"prefault"`
}

// DefaultConfig holds a million hosts.
func DefaultConfig() Config { return Config{Hosts: 1 << 20} }

// Validate reports every problem.
func (c Config) Validate() error {
	if c.Hosts < MinRows || c.Hosts > MaxRows {
		return errors.New("hosts: must be 1..268435456")
	}
	return nil
}

// Size is the address space in bytes that a shard of this configuration reserves.
func (c Config) Size() uint64 {
	return 2 * (2*uint64(c.Hosts)*rowSize + uint64(indexLines(c.Hosts)+maxLines)*64)
}

// Companion is memory that is retired and cleared together with a half: packet heads. Its methods are
// called by the control goroutine while half i is its own.
type Companion interface {
	// Retired is called when half i has been collected, before it is cleared.
	Retired(i int)
	// Clear empties half i for its next epoch.
	Clear(i int)
}

// FlowSets is an owner's two sets of flows. The owner counts on set Half.FlowSet; Clear empties a set, and is called by the
// control goroutine after the last half that was counted on it has been collected. Ready writes to the pages of an empty set that will be
// used next, so that no page fault happens in traffic; it is the control goroutine's, too.
type FlowSets interface {
	Clear(set int)
	Ready(set int)
}

// Shard is one owner's counters: two halves, of which the owner fills one while the control goroutine reads the other.
type Shard struct {
	want atomic.Uint64 // the control goroutine writes, the owner reads
	_    [arena.Line - 8]byte
	done atomic.Uint64 // whoever turns writes, the control goroutine reads
	_    [arena.Line - 8]byte

	// The owner's, from here on; the control goroutine's under mu while ownerless.
	epoch  uint64
	active *Half
	halves [2]Half
	clock  func() int64
	_      [arena.Line]byte

	mu        sync.Mutex // held to change or to rely on ownerless; never per packet
	ownerless bool

	// The control goroutine's.
	state      state
	next       *nets.Table
	companions []Companion
	flowSets   FlowSets // nil without
	onRequest  func()   // nil without
	size       uint64
	keepFlows  bool // as SetKeepFlows said last
	owedFlows  bool // a new set was asked for, and no epoch has begun since
}

type state uint8

const (
	counting  state = iota // nothing asked
	asked                  // want is set, the owner has not answered yet
	collected              // the retired half is the control goroutine's
)

// NewShard reserves the memory of a shard without an owner. clock gives nanoseconds from any fixed point; it is read
// once an epoch.
func NewShard(cfg Config, seed Seed, n *nets.Table, clock func() int64) (*Shard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Shard{ownerless: true, clock: clock, next: n}
	for i := range s.halves {
		if err := s.halves[i].init(cfg, seed, i, n); err != nil {
			return nil, errors.Join(err, s.free())
		}
	}
	s.active = &s.halves[0]
	s.active.Start = clock()
	s.size = s.halves[0].table.memory.Size() + s.halves[1].table.memory.Size()
	return s, nil
}

// Attach adds memory that shares the halves' fate. It is called before the shard is used.
func (s *Shard) Attach(c Companion) { s.companions = append(s.companions, c) }

// AttachFlows gives the owner's flow sets. It is called before the shard is used.
func (s *Shard) AttachFlows(f FlowSets) { s.flowSets = f }

// OnRequest has wake called each time that the end of the epoch is asked for: it is to wake an owner that sleeps. It is given before the
// shard is used; wake is called by the control goroutine and must not block.
func (s *Shard) OnRequest(wake func()) { s.onRequest = wake }

// Size is the address space in bytes that the shard reserves.
func (s *Shard) Size() uint64 { return s.size }

// Hosts is how many rows a half can hold.
func (s *Shard) Hosts() int { return s.halves[0].table.Cap() }

// Seed is what the shard's hashes are keyed with.
func (s *Shard) Seed() *Seed { return &s.halves[0].table.seed }

// Touch takes the memory of the halves' indexes, which a flood uses all over from its first packets on: on a machine whose memory is not
// at hand they would be lost. Rows are used one after the other, and their memory comes as it is needed. The owner's thread calls it before
// Enter, so that the memory is near.
func (s *Shard) Touch() {
	for i := range s.halves {
		arena.Touch(s.halves[i].table.index)
	}
}

// Enter makes the calling goroutine the owner.
func (s *Shard) Enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ownerless = false
}

// Leave gives ownership up: the control goroutine then turns the shard itself, so that an owner that stops or blocks
// for long is not waited for, and what it counted is not lost.
func (s *Shard) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ownerless = true
}

// Poll returns the half to count into. The owner calls it at burst boundaries, idle or not, and forgets the half
// that it had before: one atomic load and a comparison, unless an epoch ends.
func (s *Shard) Poll() *Half {
	if e := s.want.Load(); e != s.epoch {
		s.turn(e)
	}
	return s.active
}

// Due reports whether Poll would end the epoch. The owner calls it.
func (s *Shard) Due() bool { return s.want.Load() != s.epoch }

// turn ends the epoch. The store to done releases everything that was written to the old half.
func (s *Shard) turn(e uint64) {
	now := s.clock()
	s.active.Stop = now
	s.active = &s.halves[e&1]
	s.active.Start = now
	s.epoch = e
	s.done.Store(e)
}

// SetNets gives the prefix table for the epochs to come. The table in use changes when an epoch ends: the half that
// is active keeps its table, so no packet is lost or counted twice.
func (s *Shard) SetNets(n *nets.Table) { s.next = n }

// SetKeepFlows says whether the epochs to come go on with the flow set of the one before, so that only flows not seen there
// are new, or start with an empty one, as they do if this is never called. A new set that was asked for while the owner was
// late comes with the next epoch that it begins.
func (s *Shard) SetKeepFlows(keep bool) {
	s.keepFlows = keep
	s.owedFlows = s.owedFlows || !keep
}

// Request asks for the end of the epoch; it does nothing while an earlier request is unanswered or uncleared.
func (s *Shard) Request() {
	if s.state != counting {
		return
	}
	e := s.want.Load() + 1
	idle := &s.halves[e&1]
	if idle.nets != s.next {
		idle.setNets(s.next)
	}
	// Both flow sets but the one in use are empty here: a set is left only with a half that was cleared since.
	idle.flowSet = s.halves[(e-1)&1].flowSet
	if s.owedFlows || !s.keepFlows {
		idle.flowSet ^= 1
	}
	s.owedFlows = false
	s.state = asked
	s.want.Store(e)
	if s.onRequest != nil {
		s.onRequest()
	}
}

// Collect returns the retired half once the owner has answered Request, nil before that. The half is the caller's
// until Clear.
func (s *Shard) Collect() *Half {
	if s.state != asked {
		return nil
	}
	e := s.want.Load()
	if s.done.Load() != e && !s.turnOwnerless(e) {
		return nil
	}
	s.state = collected
	h := &s.halves[(e-1)&1]
	for _, c := range s.companions {
		c.Retired(h.index)
	}
	return h
}

// turnOwnerless ends the epoch of a shard that has no owner.
func (s *Shard) turnOwnerless(e uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ownerless {
		return false
	}
	if s.epoch != e {
		s.turn(e)
	}
	return true
}

// Clear empties the collected half and makes the next Request possible.
func (s *Shard) Clear() {
	if s.state != collected {
		return
	}
	e := s.want.Load()
	h := &s.halves[(e-1)&1]
	h.clear()
	if s.flowSets != nil && h.flowSet != s.halves[e&1].flowSet {
		s.flowSets.Clear(h.flowSet)
	}
	for _, c := range s.companions {
		c.Clear(h.index)
	}
	s.state = counting
}

// Free returns the memory. The owner must have left, and nobody may use the shard or its halves again.
func (s *Shard) Free() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ownerless {
		return errors.New("traffic: shard still has an owner")
	}
	return s.free()
}

func (s *Shard) free() error { return errors.Join(s.halves[0].table.Free(), s.halves[1].table.Free()) }
