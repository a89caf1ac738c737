package merge

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Config bounds a Merger.
type Config struct {
	// Wait is how long a tick waits for workers to end their epoch, in real time.
	Wait time.Duration `json:"wait"`
	// Hosts is how many rows a snapshot can hold. Zero means as many as all shards together.
	Hosts int `json:"hosts"`
}

// DefaultConfig waits 20 ms.
func DefaultConfig() Config { return Config{Wait: 20 * time.Millisecond} }

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.Wait < 0 {
		errs = append(errs, errors.New("wait: must not be negative"))
	}
	if c.Hosts < 0 || c.Hosts > traffic.MaxRows {
		errs = append(errs, errors.New("hosts: must be 0..268435456"))
	}
	return errors.Join(errs...)
}

// poll is how often a tick looks for answers; a busy worker answers within one burst, a few microseconds.
const poll = 20 * time.Microsecond

// lateness is how much longer than the tick an epoch must be for its rows to be scaled.
const lateness = 1.1

// Merger makes snapshots of a set of shards.
type Merger struct {
	cfg   Config
	seed  traffic.Seed
	clock func() int64

	// The control goroutine's.
	shards  []*traffic.Shard
	waiting []*traffic.Shard
	halves  []*traffic.Half
	from    []*traffic.Shard // whose half it is
	asked   int64            // the clock at the last Request
	current *nets.Table      // of the epoch that is being counted
	hosts   int
	seq     uint64
	flows   flowCycle

	next atomic.Pointer[nets.Table]

	mu   sync.Mutex // guards free
	free []*Snapshot
}

// New makes a Merger without shards. seed, n and clock must be those of the shards.
func New(cfg Config, seed traffic.Seed, n *nets.Table, clock func() int64) (*Merger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	m := &Merger{cfg: cfg, seed: seed, clock: clock, current: n, asked: clock()}
	m.next.Store(n)
	return m, nil
}

// Add takes a shard into the next tick.
func (m *Merger) Add(s *traffic.Shard) error {
	if *s.Seed() != m.seed {
		return errors.New("merge: shard has another seed")
	}
	m.shards = append(m.shards, s)
	m.hosts += s.Hosts()
	return nil
}

// Remove drops a shard. To lose nothing, stop its owner and make one more Tick first.
func (m *Merger) Remove(s *traffic.Shard) {
	if i := slices.Index(m.shards, s); i >= 0 {
		m.shards = slices.Delete(m.shards, i, i+1)
		m.hosts -= s.Hosts()
	}
}

// SetNets changes the prefix table with the next epoch to begin: the next snapshot still has the old one, the one
// after that has the new one, and no packet is lost or counted twice.
func (m *Merger) SetNets(n *nets.Table) { m.next.Store(n) }

// Tick ends the epoch and returns what was counted in it. now is only noted in the snapshot. It fails only when
// there is no memory for another snapshot; nothing is lost then, the epoch goes on.
func (m *Merger) Tick(now time.Time) (*Snapshot, error) {
	s, err := m.take()
	if err != nil {
		return nil, err
	}
	for _, sh := range m.shards {
		sh.Ready()
	}
	next := m.next.Load()
	asked := m.clock()
	period := asked - m.asked
	kept := m.flows.kept // in the epoch that ends
	keep := m.flows.keep(period)
	m.waiting = append(m.waiting[:0], m.shards...)
	for _, sh := range m.shards {
		sh.SetNets(next)
		sh.SetKeepFlows(keep)
		sh.Request()
	}
	m.collect()

	s.reset(m.current)
	m.seq++
	s.Time, s.Seq, s.Shards, s.Late = now, m.seq, len(m.shards), len(m.waiting)
	s.FlowsKept = kept
	m.asked, m.current = asked, next
	s.Elapsed = elapsed(m.halves, period)
	for i, h := range m.halves {
		m.merge(s, h, period)
		m.from[i].Clear()
	}
	s.Lost.Add(s.table.Lost())
	s.peaks = s.table.Tally(s.sums, s.peaks)
	s.fold()
	s.Conservation = s.conservation()
	return s, nil
}

// flowCycle decides for all shards alike how long their flow sets live: for the least number of ticks that makes a second.
type flowCycle struct {
	age  int64 // of the sets, in nanoseconds
	lone int64 // the length of the cycle before when it was one epoch, else zero
	n    int   // epochs in this cycle
	kept bool  // the epoch that is counted goes on with the sets of the one before
}

// keep notes the end of an epoch and says whether the next one goes on with its sets.
func (c *flowCycle) keep(period int64) bool {
	c.age += max(period, 0)
	c.n++
	// A fifth of a tick is let off, so that jitter does not make a second of one tick more; and where an epoch fills a cycle
	// by itself, as much as it takes for the early tick after a late one.
	slack := max(period/5, c.lone/2)
	if c.kept = c.age+slack < int64(time.Second); !c.kept {
		c.lone = 0
		if c.n == 1 {
			c.lone = period
		}
		c.age, c.n = 0, 0
	}
	return c.kept
}

// collect waits, bounded, until the shards have retired their halves; those that have not stay in m.waiting.
func (m *Merger) collect() {
	m.halves, m.from = m.halves[:0], m.from[:0]
	// Real time: workers are real even when the packets' clock is not.
	deadline := time.Now().Add(m.cfg.Wait) //nolint:forbidigo // see above
	for {
		m.waiting = slices.DeleteFunc(m.waiting, func(sh *traffic.Shard) bool {
			h := sh.Collect()
			if h != nil {
				m.halves, m.from = append(m.halves, h), append(m.from, sh)
			}
			return h != nil
		})
		if len(m.waiting) == 0 || !time.Now().Before(deadline) { //nolint:forbidigo // see above
			return
		}
		time.Sleep(poll)
	}
}

// elapsed is the measured epoch length: the mean over the shards that were in time.
func elapsed(halves []*traffic.Half, period int64) time.Duration {
	var sum, n int64
	for _, h := range halves {
		if e := h.Stop - h.Start; e > 0 && float64(e) <= lateness*float64(period) && float64(e)*lateness >= float64(period) {
			sum += e
			n++
		}
	}
	if n == 0 {
		return time.Duration(period)
	}
	return time.Duration(sum / n)
}

// merge adds one half to the snapshot.
func (m *Merger) merge(s *Snapshot, h *traffic.Half, period int64) {
	for f := range h.Totals {
		for d := range h.Totals[f] {
			s.Totals[f][d].Add(&h.Totals[f][d])
		}
	}
	for c, n := range h.Codes {
		s.Codes[c] += n
	}
	s.Frames += h.Frames
	s.Bytes += h.Bytes
	s.Records.Add(h.Records)
	s.Saturated += h.Saturated
	s.MaxGap = max(s.MaxGap, time.Duration(h.MaxGap))

	c := traffic.Combining{Full: s.full, Scale: 1}
	if e := h.Stop - h.Start; period > 0 && float64(e) > lateness*float64(period) {
		c.Scale = float64(period) / float64(e)
		s.Scaled++
	}
	if h.Nets() != s.Nets {
		c.Relocate = s.Nets.Lookup
	}
	// The only worker's rows need not be copied: the half goes on with the snapshot's.
	if c.Scale != 1 || c.Relocate != nil || !h.Exchange(s.table) {
		s.Lost.Add(h.Table().Lost())
		s.table.Combine(h.Table(), &c)
	}
	m.overflow(s, h, &c)
}

// overflow adds a half's overflow rows.
func (m *Merger) overflow(s *Snapshot, h *traffic.Half, c *traffic.Combining) {
	if h.Overflowed == (traffic.Counter{}) {
		return
	}
	old := h.Nets()
	for id := range old.NumPlaces() {
		for _, d := range [2]traffic.Direction{traffic.Incoming, traffic.Outgoing} {
			sum := *h.Overflow(nets.ID(id), d)
			if sum == (traffic.Sum{}) {
				continue
			}
			place := nets.ID(id)
			if c.Relocate != nil {
				place = nets.Outside
				if n := old.Place(nets.ID(id)).Network; n >= 0 {
					place = s.Nets.LookupAddr(old.Networks()[n].Addr())
				}
			}
			if c.Scale != 1 {
				sum.Scale(c.Scale)
			}
			s.full[int(place)*2+int(d)].Add(&sum)
		}
	}
}

// take finds a free snapshot that is large enough, or makes one.
func (m *Merger) take() (*Snapshot, error) {
	hosts := m.cfg.Hosts
	if hosts == 0 {
		hosts = min(max(m.hosts, 1), traffic.MaxRows)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.free) > 0 {
		s := m.free[len(m.free)-1]
		m.free = m.free[:len(m.free)-1]
		if s.table.Cap() >= hosts {
			s.released = false
			return s, nil
		}
		if err := s.table.Free(); err != nil {
			return nil, fmt.Errorf("merge: old snapshot: %w", err)
		}
	}
	s := &Snapshot{merger: m}
	var err error
	if s.table, err = traffic.NewTable(new(arena.Arena), m.seed, hosts); err != nil {
		return nil, fmt.Errorf("merge: snapshot of %d hosts: %w", hosts, err)
	}
	return s, nil
}

func (m *Merger) release(s *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.released {
		panic("merge: snapshot released twice")
	}
	s.released = true
	m.free = append(m.free, s)
}

// Free gives the memory of all released snapshots back.
func (m *Merger) Free() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, s := range m.free {
		errs = append(errs, s.table.Free())
	}
	m.free = nil
	return errors.Join(errs...)
}
