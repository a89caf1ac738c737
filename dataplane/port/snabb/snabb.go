//go:build linux

package snabb

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/gate"
	"github.com/weir-ddos/weir/dataplane/port/internal/revive"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Port implements port.Port.
type Port struct {
	device string
	opts   Options
	queues []*queue
	faces  []port.Queue // the same, as the interface
	keeper *revive.Keeper
	watch  watch // Open's and the keeper's

	mu      sync.Mutex // guards the rest; held when conn is opened or closed
	conn    *link.Conn // nil while Snabb is away
	dropped uint64     // while no reader was attached, or in rings that went
	polls   uint64     // of connections that ended
}

// watch is what the keeper remembers between two looks.
type watch struct {
	polls    uint64 // of the connection that is open
	still    int    // looks in a row at which Snabb had not polled
	draining int    // looks in a row at which Snabb was gone and frames were left

	instance, missed uint64 // of the last attachment
	left             uint64 // frames that were in the rings when it ended
}

// How many looks in a row, 100 ms apart, it takes until Snabb counts as hung, and how many a worker has to take what is left.
const (
	hungAfter  = 10
	drainAfter = 10
)

// queue implements port.Queue.
type queue struct {
	gate gate.Counted // guards ring
	ring *ring        // nil while Snabb is away and after Close

	broken  atomic.Bool // the worker met a ring that makes no sense
	damaged atomic.Uint64

	statsMu sync.Mutex // guards the rest; taken inside the gate or alone
	live    *ring      // whose counters are still to be read
	dropped uint64     // of rings that are closed
}

type driver struct{}

func init() { port.Register("snabb", driver{}) }

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, err := options(cfg)
	return err
}

// Open implements port.Driver. It needs the right to connect to the socket, which is root's. Zero queues mean one.
func (driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	p := &Port{device: cfg.Device, opts: o}
	for range max(cfg.Queues, 1) {
		q := &queue{}
		p.queues = append(p.queues, q)
		p.faces = append(p.faces, q)
	}
	if err := p.attach(); err != nil {
		return nil, err
	}
	p.keeper = revive.Keep(cfg.Device, revive.Hooks{Lost: p.lost, Close: p.detach, Open: p.attach})
	return p, nil
}

// attach connects to the library and lets the queues have their rings.
func (p *Port) attach() error {
	conn, err := link.Dial(p.opts.Socket, p.device, p.opts.geometry(len(p.queues)))
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.conn = conn
	p.dropped += p.watch.attached(conn.Memory)
	p.mu.Unlock()
	for i, q := range p.queues {
		q.gate.Shut(0)
		q.statsMu.Lock()
		q.ring = newRing(conn.Memory, i)
		q.live = q.ring
		q.statsMu.Unlock()
		q.broken.Store(false)
		q.gate.Open()
	}
	return nil
}

// attached begins a connection and returns how many frames were lost since the last one. A Snabb process that is the same counts them
// itself, with what was left in the rings; one that ended took its count along.
func (w *watch) attached(m *link.Memory) (lost uint64) {
	instance, missed := m.Word(link.OffInstance).Load(), m.Word(link.OffMissed).Load()
	if w.instance == instance && missed >= w.missed {
		lost = missed - w.missed
	} else {
		lost = w.left
	}
	*w = watch{instance: instance, missed: missed}
	return lost
}

// lost says what ails the other process or a ring.
func (p *Port) lost() string {
	for i, q := range p.queues {
		if q.broken.Load() {
			return fmt.Sprintf("ring %d is damaged", i)
		}
	}
	conn, w := p.conn, &p.watch // the keeper alone changes conn
	if conn.Gone() {
		if w.draining++; p.unread() == 0 || w.draining > drainAfter {
			return "Snabb ended, or stopped its firehose"
		}
		return ""
	}
	polls := conn.Memory.Word(link.OffPolls).Load()
	if w.still++; polls != w.polls {
		w.polls, w.still = polls, 0
	}
	if w.still >= hungAfter {
		return "Snabb does not poll the NIC"
	}
	return ""
}

// unread is how many frames are in the rings.
func (p *Port) unread() (n uint64) {
	for _, q := range p.queues {
		q.statsMu.Lock()
		if q.live != nil {
			n += q.live.unread()
		}
		q.statsMu.Unlock()
	}
	return n
}

// detach takes the rings away from the queues and ends the connection. It waits at most for within for each worker, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	var errs []error
	for i, q := range p.queues {
		if !q.gate.Shut(within) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; the memory stays", i))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	p.watch.left = p.unread()
	for _, q := range p.queues {
		q.take()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil
	}
	p.polls += p.conn.Memory.Word(link.OffPolls).Load()
	err := p.conn.Close()
	p.conn = nil
	return err
}

// take removes the ring and keeps its counters. The gate is shut.
func (q *queue) take() {
	if q.ring == nil {
		return
	}
	q.statsMu.Lock()
	defer q.statsMu.Unlock()
	q.dropped += q.ring.lost.Load()
	q.ring, q.live = nil, nil
}

// RxBurst implements port.Queue.
func (q *queue) RxBurst(b *port.Burst) int {
	b.N = 0
	if !q.gate.Enter() {
		return 0 // the ring is away, or being taken away or put in
	}
	r := q.ring
	if r == nil || r.broken {
		q.gate.Leave()
		return 0
	}
	n, sum := r.fill(b)
	if r.broken {
		q.broken.Store(true)
	}
	if r.damaged != 0 {
		q.damaged.Add(r.damaged)
		r.damaged = 0
		if n == 0 {
			r.giveBack()
		}
	}
	return q.gate.Deliver(b, n, sum)
}

// Release implements port.Queue.
func (q *queue) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	b.N = 0
	q.ring.giveBack()
	q.gate.Leave()
}

// LinkType implements port.Queue.
func (q *queue) LinkType() wire.LinkType { return wire.LinkEthernet }

// Stats implements port.Queue. Dropped is what found no room in the ring, and descriptors that made no sense.
func (q *queue) Stats() port.QueueStats {
	q.statsMu.Lock()
	defer q.statsMu.Unlock()
	s := q.gate.Counts()
	s.Dropped = q.dropped + q.damaged.Load()
	if q.live != nil {
		s.Dropped += q.live.lost.Load()
	}
	return s
}

// Queues implements port.Port.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port. Dropped are frames that came while this port, once opened, was not attached.
func (p *Port) Stats() port.Stats {
	s := port.Stats{
		Device: p.device, Driver: "snabb",
		Mode: fmt.Sprintf("firehose, rings of %d frames and %d KB", p.opts.Slots, p.opts.Memory),
	}
	p.mu.Lock()
	s.Dropped, s.Extra = p.dropped, map[string]uint64{"polls": p.polls}
	if p.conn != nil {
		s.Extra["polls"] += p.conn.Memory.Word(link.OffPolls).Load()
	}
	p.mu.Unlock()
	s.Err, s.Reopens = p.keeper.State()
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		s.Extra["damaged"] += q.damaged.Load()
	}
	return s
}

// Close implements port.Port. A worker that keeps a burst for more than a second keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error { return p.keeper.Close() }
