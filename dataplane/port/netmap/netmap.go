package netmap

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/gate"
	"github.com/weir-ddos/weir/dataplane/port/internal/revive"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Port implements port.Port.
type Port struct {
	sys    system
	device string
	name   name
	opts   Options
	queues []*queue
	faces  []port.Queue // the same, as the interface
	keeper *revive.Keeper

	// What is open; only Open and the keeper's hooks touch it.
	handles []*handle
	quiet   func() error // undoes promiscuous mode

	mu   sync.Mutex // guards the rest
	mode string
}

// handle is one file descriptor: the whole device, or one ring of it.
type handle struct {
	fd    int
	mem   []byte
	rings []*ring
}

// queue implements port.Queue.
type queue struct {
	sys  system
	busy bool
	wait time.Duration

	gate   gate.Counted // guards the worker's part
	fds    []int        // none while the device is away and after Close
	rings  []*ring
	from   int // the ring that is next in turn
	joiner joiner
	tally  tally
	due    uint32 // consumed slots after which a sync is due
	idle   int    // busy syncs in a row that found nothing

	broken atomic.Bool // the worker saw the device fail; the keeper closes it

	bad, joined, cut, syncs atomic.Uint64 // written once a burst by the worker
}

type driver struct{ sys system }

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, _, err := parse(cfg)
	return err
}

// Open implements port.Driver. It needs access to /dev/netmap (root), and CAP_NET_RAW for promiscuous mode. Zero queues
// mean one for each of the interface's rings; one queue takes all rings in turn.
func (d driver) Open(cfg port.Config) (port.Port, error) {
	o, n, err := parse(cfg)
	if err != nil {
		return nil, err
	}
	p := &Port{sys: d.sys, device: cfg.Device, name: n, opts: o}
	queues, err := p.countQueues(cfg.Queues)
	if err != nil {
		return nil, err
	}
	for range queues {
		q := &queue{sys: d.sys, busy: o.Sync == syncBusy, wait: time.Duration(o.Wait)}
		p.queues = append(p.queues, q)
		p.faces = append(p.faces, q)
	}
	if err := p.attach(); err != nil {
		return nil, err
	}
	p.keeper = revive.Keep(n.kernel, revive.Hooks{Lost: p.lost, Close: p.detach, Open: p.attach})
	return p, nil
}

// countQueues settles how many queues there are. VALE ports and pipes have one ring.
func (p *Port) countQueues(want int) (int, error) {
	if want == 1 || p.name.ring >= 0 {
		return 1, nil
	}
	have := 1
	if p.name.device != "" {
		var err error
		if have, err = p.countRings(); err != nil {
			return 0, err
		}
	}
	if want > have {
		return 0, fmt.Errorf("queues: %d are configured and %s has %d receive rings", want, p.name.kernel, have)
	}
	if want == 0 {
		return have, nil
	}
	return want, nil
}

// countRings asks netmap how many receive rings the interface has.
func (p *Port) countRings() (_ int, err error) {
	fd, err := p.sys.open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.sys.close(fd)) }()
	body := make([]byte, infoSize)
	le.PutUint16(body[24:], p.name.memory)
	if err := p.sys.ctrl(fd, request(reqPortInfo, p.name.kernel), body); err != nil {
		return 0, explain("ask about "+p.name.kernel, err)
	}
	n := int(le.Uint16(body[infoRxRings:]))
	if n < 1 {
		return 0, fmt.Errorf("%s has no receive rings", p.name.kernel)
	}
	return min(n, maxQueues), nil
}

// explain says what netmap means by an error number.
func explain(what string, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", what, err)
	}
	hints := map[syscall.Errno]string{
		syscall.ENXIO:  "netmap knows no such interface or port",
		syscall.EBUSY:  "another program has it exclusively, or it is part of a bridge or bond",
		syscall.EINVAL: "no such ring, an MTU larger than netmap's buffers, or not API 14",
		syscall.ENOMEM: "netmap has no memory or no rings left, or the name is incomplete",
	}
	if hint := hints[errno]; hint != "" {
		return fmt.Errorf("%s: %w (%s)", what, err, hint)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// attach opens the rings and lets the queues have them.
func (p *Port) attach() error {
	if err := p.tryAttach(); err != nil {
		return errors.Join(err, p.detach(0))
	}
	return nil
}

func (p *Port) tryAttach() error {
	wanted := []int{p.name.ring}
	if len(p.queues) > 1 {
		n, err := p.countRings()
		if err != nil {
			return err
		}
		if n < len(p.queues) {
			return fmt.Errorf("%d queues are in use and it has now %d rings", len(p.queues), n)
		}
		wanted = wanted[:0]
		for i := range n {
			wanted = append(wanted, i)
		}
	}
	for _, one := range wanted {
		h, err := p.register(one)
		if err != nil {
			return err
		}
		p.handles = append(p.handles, h)
	}
	if p.opts.Promiscuous && p.name.device != "" {
		var err error
		if p.quiet, err = p.sys.promiscuous(p.name.device); err != nil {
			return err
		}
	}
	rings := 0
	for i, q := range p.queues {
		q.gate.Shut(0)
		q.fds, q.rings, q.from, q.tally = nil, nil, 0, tally{}
		for k := i; k < len(p.handles); k += len(p.queues) {
			q.fds = append(q.fds, p.handles[k].fd)
			q.rings = append(q.rings, p.handles[k].rings...)
		}
		q.due = q.rings[0].slots / 4
		rings += len(q.rings)
		q.broken.Store(false)
		q.gate.Open()
	}
	p.mu.Lock()
	p.mode = fmt.Sprintf("API %d, %d rings of %d slots, sync %s", apiVersion, rings, p.queues[0].rings[0].slots, p.opts.Sync)
	if p.name.monitor != 0 {
		p.mode += ", monitor"
	}
	p.mu.Unlock()
	return nil
}

// register opens one ring, or all when one is negative.
func (p *Port) register(one int) (*handle, error) {
	fd, err := p.sys.open()
	if err != nil {
		return nil, err
	}
	h := &handle{fd: fd}
	if err := p.bind(h, one); err != nil {
		return nil, errors.Join(err, p.release(h))
	}
	return h, nil
}

func (p *Port) bind(h *handle, one int) error {
	body := make([]byte, regSize)
	mode := uint32(modeAllNIC)
	if one >= 0 {
		mode = modeOneNIC
		le.PutUint16(body[regRingID:], uint16(one))
	}
	flags := flagNoTxPoll | p.name.monitor
	if p.name.exclusive {
		flags |= flagExclusive
	}
	le.PutUint32(body[regMode:], mode)
	le.PutUint64(body[regFlags:], flags)
	le.PutUint16(body[regMemID:], p.name.memory)
	if err := p.sys.ctrl(h.fd, request(reqRegister, p.name.kernel), body); err != nil {
		return explain("register "+p.name.kernel, err)
	}
	size := le.Uint64(body[regMemSize:])
	if size == 0 || size > 1<<40 || uint64(int(size)) != size {
		return fmt.Errorf("netmap offers %d bytes of memory", size)
	}
	var err error
	if h.mem, err = p.sys.mmap(h.fd, int(size)); err != nil {
		return fmt.Errorf("map %d bytes: %w", size, err)
	}
	h.rings, err = findRings(h.mem, le.Uint64(body[regOffset:]), one)
	return err
}

func (p *Port) release(h *handle) error {
	var err error
	if h.mem != nil {
		err = p.sys.munmap(h.mem)
		h.mem = nil
	}
	return errors.Join(err, p.sys.close(h.fd))
}

// lost asks whether a worker saw the device fail.
func (p *Port) lost() string {
	for _, q := range p.queues {
		if q.broken.Load() {
			return "netmap reports an error: it was removed or reset"
		}
	}
	return ""
}

// detach undoes attach, as far as it went. It waits at most for within for each worker to leave, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	var errs []error
	for i, q := range p.queues {
		if !q.gate.Shut(within) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; its memory stays", i))
			continue
		}
		q.fds, q.rings = nil, nil
	}
	if len(errs) == 0 {
		for _, h := range p.handles {
			errs = append(errs, p.release(h))
		}
		p.handles = nil
	}
	if p.quiet != nil {
		errs = append(errs, p.quiet())
		p.quiet = nil
	}
	return errors.Join(errs...)
}

// RxBurst implements port.Queue.
func (q *queue) RxBurst(b *port.Burst) int {
	b.N = 0
	if q.broken.Load() || !q.gate.Enter() {
		return 0 // the device is away, or being taken away or put in
	}
	if len(q.fds) == 0 {
		q.gate.Leave()
		return 0
	}
	// Slots go back to the kernel at a sync only: with one just when the ring is empty, it would be full of ours meanwhile.
	if q.tally.consumed >= q.due {
		q.sync(0)
	}
	n, sum := q.take(b)
	if n == 0 && !q.broken.Load() {
		q.sync(q.wait)
		n, sum = q.take(b)
	}
	q.publish()
	return q.gate.Deliver(b, n, sum)
}

// take fills b from the rings in turn.
func (q *queue) take(b *port.Burst) (n int, sum uint64) {
	for i := range q.rings {
		at := q.from + i
		if at >= len(q.rings) {
			at -= len(q.rings)
		}
		var bytes uint64
		n, bytes = q.rings[at].take(b, n, &q.joiner, &q.tally)
		sum += bytes
		if n == port.MaxBurst {
			q.from = at
			break
		}
	}
	if q.from++; q.from >= len(q.rings) {
		q.from = 0
	}
	if n == 0 {
		q.giveBack() // what was bad
	}
	if q.tally.broken {
		q.broken.Store(true)
	}
	return n, sum
}

// checkEvery is after how many busy syncs without a frame the device is asked for errors.
const checkEvery = 1000

// sync lets the kernel take slots back and put frames in.
func (q *queue) sync(wait time.Duration) {
	q.tally.consumed = 0
	q.syncs.Add(1)
	if q.busy {
		for _, fd := range q.fds {
			if err := q.sys.rxsync(fd); err != nil && !errors.Is(err, syscall.EINTR) {
				q.broken.Store(true)
			}
		}
		if q.idle++; q.idle%checkEvery != 0 {
			return
		}
	}
	if broken, err := q.sys.poll(q.fds, wait); broken || err != nil {
		q.broken.Store(true)
	}
}

// publish folds the tally into the counters, when there is something.
func (q *queue) publish() {
	t := &q.tally
	if t.bad|t.joined|t.cut != 0 {
		q.bad.Add(t.bad)
		q.joined.Add(t.joined)
		q.cut.Add(t.cut)
		t.bad, t.joined, t.cut = 0, 0, 0
	}
}

// Release implements port.Queue.
func (q *queue) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	b.N = 0
	q.giveBack()
	q.gate.Leave()
}

func (q *queue) giveBack() {
	for _, r := range q.rings {
		r.giveBack()
	}
}

// LinkType implements port.Queue.
func (q *queue) LinkType() wire.LinkType { return wire.LinkEthernet }

// Stats implements port.Queue. Dropped are packets with a slot that points nowhere or without an end; netmap does not say what
// found no room in the ring.
func (q *queue) Stats() port.QueueStats {
	s := q.gate.Counts()
	s.Dropped = q.bad.Load()
	return s
}

// Queues implements port.Port. With as many queues as rings, queue i is ring i.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port.
func (p *Port) Stats() port.Stats {
	s := port.Stats{Device: p.device, Driver: "netmap", Extra: map[string]uint64{}}
	s.Err, s.Reopens = p.keeper.State()
	p.mu.Lock()
	s.Mode = p.mode
	p.mu.Unlock()
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		s.Extra["joined"] += q.joined.Load()
		s.Extra["cut"] += q.cut.Load()
		s.Extra["bad_slots"] += q.bad.Load()
		s.Extra["syncs"] += q.syncs.Load()
	}
	return s
}

// Close implements port.Port. A worker that keeps a burst for more than a second keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error { return p.keeper.Close() }
