package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// HeadLen is how much of a packet is kept: Ethernet, two tags, IPv6, TCP with options, and the start of the payload.
const HeadLen = 128

// MaxTargets is how many targets can be watched at once.
const MaxTargets = 64

// Config sizes evidence.
type Config struct {
	// SampleEvery keeps one packet in this many at all times. Zero keeps none.
	SampleEvery int `json:"sample_every"`
	// Heads is how many packets a worker keeps in one epoch; a quarter is reserved for the constant sample.
	// A head takes 176 bytes.
	Heads int `json:"heads"`
	// PerTarget is how many packets of one watched target a worker keeps in one epoch.
	PerTarget int `json:"per_target"`
	// Epochs is how many past epochs the control plane keeps.
	Epochs int `json:"epochs"`
}

// DefaultConfig keeps one packet in 1,000 and 64 of each watched target for ten epochs.
func DefaultConfig() Config {
	return Config{SampleEvery: 1000, Heads: 1024, PerTarget: 64, Epochs: 10}
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.SampleEvery < 0 || c.SampleEvery > 1<<30 {
		errs = append(errs, errors.New("sample_every: must be 0..1073741824"))
	}
	if c.Heads < 4 || c.Heads > 1<<20 {
		errs = append(errs, errors.New("heads: must be 4..1048576"))
	}
	if c.PerTarget < 1 || c.PerTarget > 1<<16-1 {
		errs = append(errs, errors.New("per_target: must be 1..65535"))
	}
	if c.Epochs < 1 || c.Epochs > 1000 {
		errs = append(errs, errors.New("epochs: must be 1..1000"))
	}
	return errors.Join(errs...)
}

// Target is a host and direction whose packets are wanted.
type Target struct {
	Addr      netip.Addr
	Direction traffic.Direction // Incoming or Outgoing
}

// Targets is an immutable set of targets.
type Targets struct {
	keys  [MaxTargets]key
	n     int
	slots [slots]uint8 // index+1 into keys
}

const slots = 4 * MaxTargets

type key struct {
	k0, k1 uint64
	dir    traffic.Direction
}

func newTargets(list []Target) *Targets {
	if len(list) == 0 {
		return nil
	}
	s := new(Targets)
	for _, t := range list {
		if s.n == MaxTargets || !t.Addr.IsValid() {
			continue
		}
		a := t.Addr.As16()
		if s.Match(&a, t.Direction) >= 0 {
			continue
		}
		k := keyOf(&a, t.Direction)
		i := k.slot()
		for s.slots[i] != 0 {
			i = (i + 1) % slots
		}
		s.keys[s.n] = k
		s.n++
		s.slots[i] = uint8(s.n)
	}
	return s
}

func keyOf(a *[16]byte, d traffic.Direction) key {
	return key{binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:]), d}
}

// slot needs no secret: there are at most MaxTargets keys, and three of four slots are free.
func (k key) slot() uint64 {
	return (k.k0 ^ k.k1*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd >> 56 % slots
}

// Match returns the number of the target that an address is in that direction, -1 when it is none. Hot.
func (s *Targets) Match(a *[16]byte, d traffic.Direction) int {
	k := keyOf(a, d)
	for i := k.slot(); ; i = (i + 1) % slots {
		at := s.slots[i]
		if at == 0 {
			return -1
		}
		if s.keys[(at-1)%MaxTargets] == k {
			return int(at) - 1
		}
	}
}

// head is one packet in a ring. Pointer-free.
type head struct {
	time    int64
	addr    [16]byte
	wireLen uint32
	link    wire.LinkType
	n       uint8
	dir     traffic.Direction
	data    [HeadLen]byte
}

// ring is the heads of one half.
type ring struct {
	heads   []head
	n       int
	sampled int
	taken   [MaxTargets]uint16
	targets *Targets // that taken counts for
}

// Probe is one worker's evidence.
type Probe struct {
	cfg      Config
	rings    [2]ring
	memory   arena.Arena
	evidence *Evidence
	targets  atomic.Pointer[Targets] // the control plane writes, the worker reads once a burst

	// The worker's.
	skip int // packets until the next constant sample
}

func newProbe(cfg Config, e *Evidence) (*Probe, error) {
	p := &Probe{cfg: cfg, evidence: e, skip: cfg.SampleEvery}
	for i := range p.rings {
		var err error
		if p.rings[i].heads, err = arena.Make[head](&p.memory, cfg.Heads); err != nil {
			return nil, errors.Join(err, p.memory.Free())
		}
	}
	return p, nil
}

// Targets returns the targets to match, nil when there are none. Called once a burst.
func (p *Probe) Targets() *Targets { return p.targets.Load() }

// Sampled returns which of the next n packets belongs to the constant sample, -1 for none. Called once a burst;
// at most one packet of a burst is taken.
func (p *Probe) Sampled(n int) int {
	if p.cfg.SampleEvery == 0 {
		return -1
	}
	if p.skip -= n; p.skip > 0 {
		return -1
	}
	i := n - 1 + p.skip
	p.skip = max(p.skip+p.cfg.SampleEvery, 1)
	return max(i, 0)
}

// Take keeps a packet of addr in half i. target is its number in t, or -1 for the constant sample.
// It does nothing when the budget is spent.
func (p *Probe) Take(i int, t *Targets, target int, addr *[16]byte, d traffic.Direction, f *port.Frame, lt wire.LinkType) {
	r := &p.rings[i&1]
	if r.n >= len(r.heads) {
		return
	}
	if target >= 0 {
		if r.targets != t { // a new set in mid-epoch: budgets start again
			r.targets, r.taken = t, [MaxTargets]uint16{}
		}
		if int(r.taken[target%MaxTargets]) >= p.cfg.PerTarget || r.n-r.sampled >= len(r.heads)-len(r.heads)/4 {
			return
		}
		r.taken[target%MaxTargets]++
	} else {
		if r.sampled >= len(r.heads)/4 {
			return
		}
		r.sampled++
	}
	h := &r.heads[r.n]
	r.n++
	h.time, h.addr, h.wireLen, h.link, h.dir = f.Time, *addr, f.WireLen, lt, d
	h.n = uint8(copy(h.data[:], f.Data))
}

// Retired hands the heads of half i to the evidence.
func (p *Probe) Retired(i int) {
	r := &p.rings[i&1]
	p.evidence.keep(p, r.heads[:r.n])
}

// Clear empties the ring of half i.
func (p *Probe) Clear(i int) {
	r := &p.rings[i&1]
	r.n, r.sampled, r.targets, r.taken = 0, 0, nil, [MaxTargets]uint16{}
}
