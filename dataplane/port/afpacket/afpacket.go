//go:build linux

package afpacket

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/gate"
	"github.com/weir-ddos/weir/dataplane/port/internal/netdev"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Port implements port.Port.
type Port struct {
	device string
	opts   Options
	queues []*queue
	faces  []port.Queue // the same, as the interface
	watch  *netdev.Watcher

	closing sync.Mutex // guards closed
	closed  bool
}

// queue implements port.Queue.
type queue struct {
	link  wire.LinkType
	wait  time.Duration
	block int // bytes
	room  int // frames

	gate gate.Gate // guards ring
	ring *ring     // nil while the device is away and after Close

	received atomic.Uint64 // written once a burst by the worker, as are the next two
	bytes    atomic.Uint64
	merged   atomic.Uint64

	statsMu sync.Mutex // guards the rest; taken inside the gate or alone
	live    *ring      // whose kernel counters are still to be read
	dropped uint64     // of rings that are closed
	freezes uint64
}

func open(device string, queues int, o Options) (*Port, error) {
	p := &Port{device: device, opts: o}
	for range queues {
		q := &queue{wait: time.Duration(o.Wait), block: o.BlockSize, room: o.BlockSize / shortest * o.Blocks}
		p.queues = append(p.queues, q)
		p.faces = append(p.faces, q)
	}
	var err error
	p.watch, err = netdev.Watch(device, p.check, netdev.Hooks{Open: p.attach, Gone: p.detach})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// linkTypes are the kinds of device whose frames we can read, by ARP hardware type.
var linkTypes = map[uint16]wire.LinkType{
	unix.ARPHRD_ETHER: wire.LinkEthernet, unix.ARPHRD_LOOPBACK: wire.LinkEthernet,
	unix.ARPHRD_NONE: wire.LinkRaw, unix.ARPHRD_RAWIP: wire.LinkRaw,
}

// check settles the link type, which never changes, before anything is received.
func (p *Port) check(d netdev.Device) error {
	link, ok := linkTypes[d.Type]
	if !ok {
		return fmt.Errorf("devices of hardware type %d (if_arp.h) are not supported", d.Type)
	}
	for _, q := range p.queues {
		q.link = link
	}
	return nil
}

// attach opens the sockets on the device and lets the queues have them.
func (p *Port) attach(d netdev.Device) error {
	if link, ok := linkTypes[d.Type]; !ok || link != p.queues[0].link {
		return errors.New("it is now another kind of device")
	}
	var rings []*ring
	fail := func(err error) error {
		for _, r := range rings {
			err = errors.Join(err, r.close())
		}
		return err
	}
	group := p.opts.FanoutGroup
	for range p.queues {
		r, err := newRing(p.opts)
		if err != nil {
			return fail(err)
		}
		rings = append(rings, r)
		if err := r.bind(d.Index, p.opts.Promiscuous); err != nil {
			return fail(err)
		}
		if len(p.queues) > 1 || p.opts.FanoutGroup != 0 {
			if group, err = r.join(group, p.opts); err != nil {
				return fail(err)
			}
		}
	}
	for _, r := range rings {
		if err := r.hear(p.opts.Head); err != nil {
			return fail(err)
		}
	}
	for i, q := range p.queues {
		rings[i].collect() // what the filter kept out
		rings[i].dropped, rings[i].freezes = 0, 0
		q.put(rings[i])
	}
	return nil
}

// detach takes the rings away from the queues and closes them.
func (p *Port) detach() {
	for _, q := range p.queues {
		q.gate.Shut(0)
		_ = q.take() // the device is gone; that the kernel minds is no news
	}
}

// put installs a ring; only while the worker is kept out, or before there is one.
func (q *queue) put(r *ring) {
	q.gate.Shut(0)
	q.statsMu.Lock()
	q.ring, q.live = r, r
	q.statsMu.Unlock()
	q.gate.Open()
}

// take removes the ring, keeps its counters and closes it. The gate is shut.
func (q *queue) take() error {
	r := q.ring
	if r == nil {
		return nil
	}
	q.statsMu.Lock()
	r.collect()
	q.dropped += r.dropped
	q.freezes += r.freezes
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
	if r == nil {
		q.gate.Leave()
		return 0
	}
	n, sum := r.fill(b)
	if n == 0 && q.wait > 0 {
		r.wait(q.wait, noBell)
		n, sum = r.fill(b)
	}
	if n == 0 {
		q.gate.Leave()
		return 0
	}
	q.received.Add(uint64(n))
	q.bytes.Add(sum)
	if r.merged != 0 {
		q.merged.Add(r.merged)
		r.merged = 0
	}
	b.N = n
	return n // inside the gate, until Release
}

// Release implements port.Queue.
func (q *queue) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	b.N = 0
	if r := q.ring; r.left == 0 {
		r.retire()
	}
	q.gate.Leave()
}

// LinkType implements port.Queue.
func (q *queue) LinkType() wire.LinkType { return q.link }

// Stats implements port.Queue.
func (q *queue) Stats() port.QueueStats {
	dropped, _ := q.kernel()
	return port.QueueStats{Received: q.received.Load(), Bytes: q.bytes.Load(), Dropped: dropped}
}

// kernel returns the kernel's counters of all the queue's rings so far.
func (q *queue) kernel() (dropped, freezes uint64) {
	q.statsMu.Lock()
	defer q.statsMu.Unlock()
	dropped, freezes = q.dropped, q.freezes
	if q.live != nil {
		q.live.collect()
		dropped += q.live.dropped
		freezes += q.live.freezes
	}
	return dropped, freezes
}

// Queues implements port.Port.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port. Dropped of a queue is what found no room in its ring; Dropped of the port is what the
// device itself had no buffer for.
func (p *Port) Stats() port.Stats {
	why, reopens := p.watch.State()
	s := port.Stats{
		Device: p.device, Driver: "afpacket", Err: why, Reopens: reopens,
		Mode: fmt.Sprintf("TPACKET_V3, %d x %d bytes a queue", p.opts.Blocks, p.opts.BlockSize),
	}
	if len(p.queues) > 1 {
		s.Mode += ", fanout " + p.opts.Fanout
	}
	var merged, freezes uint64
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		merged += q.merged.Load()
		_, f := q.kernel()
		freezes += f
	}
	missed, dropped := p.watch.Losses()
	s.Dropped = missed
	s.Extra = map[string]uint64{"merged": merged, "ring_full": freezes, "device_dropped": dropped, "device_missed": missed}
	return s
}

// releaseWithin is how long Close waits for a worker that still holds a burst, or waits for frames.
const releaseWithin = 3 * time.Second

// Close implements port.Port. A worker that keeps a burst for more than three seconds keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error {
	p.closing.Lock()
	defer p.closing.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.watch.Close()
	var errs []error
	for i, q := range p.queues {
		if !q.gate.Shut(releaseWithin) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; its memory stays", i))
			continue
		}
		errs = append(errs, q.take())
	}
	return errors.Join(errs...)
}
