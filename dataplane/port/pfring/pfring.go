//go:build linux

package pfring

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/gate"
	"github.com/weir-ddos/weir/dataplane/port/internal/revive"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Port implements port.Port.
type Port struct {
	sys     system
	device  string
	opts    Options
	cluster int
	queues  []*queue
	faces   []port.Queue // the same, as the interface
	keeper  *revive.Keeper
	index   int // of the interface that is open; Open's and the keeper's
}

// queue implements port.Queue.
type queue struct {
	wait time.Duration

	gate gate.Counted // guards ring
	ring *ring        // nil while the device is away and after Close

	broken  atomic.Bool // the worker met a slot that makes no sense
	skipped atomic.Uint64

	statsMu sync.Mutex // guards the rest; taken inside the gate or alone
	live    *ring      // whose counters are still to be read
	dropped uint64     // of rings that are closed
	stuck   stuck
}

// stuck notices a ring that receives nothing while packets are lost.
type stuck struct {
	lost, inserted uint64
	looks          int
}

// stuckAfter is how many looks in a row, 100 ms apart, must show a stuck ring.
const stuckAfter = 3

// look judges a ring's figures: packets were lost since the last look though it was empty and nothing came in.
func (s *stuck) look(lost, inserted, read uint64) bool {
	if lost > s.lost && inserted == s.inserted && inserted == read {
		s.looks++
	} else {
		s.looks = 0
	}
	s.lost, s.inserted = lost, inserted
	return s.looks >= stuckAfter
}

type driver struct{ sys system }

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, err := options(cfg)
	return err
}

// clusters numbers the clusters of this process.
var clusters atomic.Uint32

// Open implements port.Driver. It needs CAP_NET_ADMIN and CAP_NET_RAW. Zero queues mean one.
func (d driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	p := &Port{sys: d.sys, device: cfg.Device, opts: o, cluster: o.Cluster}
	for range max(cfg.Queues, 1) {
		q := &queue{wait: time.Duration(o.Wait)}
		p.queues = append(p.queues, q)
		p.faces = append(p.faces, q)
	}
	if p.cluster == 0 && len(p.queues) > 1 {
		p.cluster = 1 + (os.Getpid()*31+int(clusters.Add(1)))%65535
	}
	if err := p.attach(); err != nil {
		return nil, err
	}
	p.keeper = revive.Keep(cfg.Device, revive.Hooks{Lost: p.lost, Close: p.detach, Open: p.attach})
	return p, nil
}

// attach opens the sockets and lets the queues have them.
func (p *Port) attach() error {
	index, err := p.sys.ifindex(p.device)
	if err != nil {
		return err
	}
	var rings []*ring
	fail := func(err error) error {
		for _, r := range rings {
			err = errors.Join(err, r.close())
		}
		return err
	}
	for range p.queues {
		r, err := newRing(p.sys, p.opts)
		if err != nil {
			return fail(err)
		}
		rings = append(rings, r)
		if err := r.bind(index, p.opts, p.cluster); err != nil {
			return fail(err)
		}
	}
	for _, r := range rings { // all at once, so that no socket of the cluster gets a flow that is another's
		if err := r.activate(); err != nil {
			return fail(err)
		}
	}
	p.index = index
	for i, q := range p.queues {
		q.gate.Shut(0)
		q.statsMu.Lock()
		q.ring, q.live, q.stuck = rings[i], rings[i], stuck{}
		q.statsMu.Unlock()
		q.broken.Store(false)
		q.gate.Open()
	}
	return nil
}

// lost says what ails the interface or a ring.
func (p *Port) lost() string {
	if index, err := p.sys.ifindex(p.device); err != nil {
		return "it was removed"
	} else if index != p.index {
		return "it was replaced"
	}
	for i, q := range p.queues {
		if q.broken.Load() {
			return fmt.Sprintf("ring %d is damaged", i)
		}
		q.statsMu.Lock()
		stuck := q.live != nil && q.stuck.look(q.live.figures())
		q.statsMu.Unlock()
		if stuck {
			return fmt.Sprintf("ring %d is stuck: packets are lost while it is empty (see the module's force_ring_lock)", i)
		}
	}
	return ""
}

// detach takes the rings away from the queues and closes them. It waits at most for within for each worker, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	var errs []error
	for i, q := range p.queues {
		if !q.gate.Shut(within) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; its memory stays", i))
			continue
		}
		errs = append(errs, q.take())
	}
	return errors.Join(errs...)
}

// take removes the ring, keeps its counters and closes it. The gate is shut.
func (q *queue) take() error {
	r := q.ring
	if r == nil {
		return nil
	}
	q.statsMu.Lock()
	lost, _, _ := r.figures()
	q.dropped += lost
	q.ring, q.live = nil, nil
	q.statsMu.Unlock()
	return r.close()
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
	if n == 0 && q.wait > 0 {
		r.wait(q.wait)
		n, sum = r.fill(b)
	}
	if r.broken {
		q.broken.Store(true)
	}
	if r.skipped != 0 {
		q.skipped.Add(r.skipped)
		r.skipped = 0
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

// Stats implements port.Queue. Dropped is what found no room in the ring.
func (q *queue) Stats() port.QueueStats {
	q.statsMu.Lock()
	defer q.statsMu.Unlock()
	s := q.gate.Counts()
	s.Dropped = q.dropped
	if q.live != nil {
		lost, _, _ := q.live.figures()
		s.Dropped += lost
	}
	return s
}

// Queues implements port.Port.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port.
func (p *Port) Stats() port.Stats {
	s := port.Stats{Device: p.device, Driver: "pfring", Mode: "standard, flow slot 21, locked", Extra: map[string]uint64{}}
	if p.opts.Unlocked {
		s.Mode = "standard, flow slot 21, unlocked"
	}
	if p.cluster != 0 {
		s.Mode += fmt.Sprintf(", cluster %d by %s", p.cluster, p.opts.Spread)
	}
	s.Err, s.Reopens = p.keeper.State()
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		s.Extra["outgoing_skipped"] += q.skipped.Load()
	}
	return s
}

// Close implements port.Port. A worker that keeps a burst for more than a second keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error { return p.keeper.Close() }
