//go:build linux

package afxdp

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
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
	pass   pass
	queues []*queue
	faces  []port.Queue // the same, as the interface
	watch  *netdev.Watcher

	// maps, program and attached exist while the device is there. Only the watcher's hooks and, after the watch
	// has ended, Close touch them.
	maps     []*ebpf.Map
	program  *ebpf.Program
	attached link.Link

	mu     sync.Mutex // guards the rest
	mode   string
	closed bool
}

// queue implements port.Queue.
type queue struct {
	number int
	wait   time.Duration
	room   int // frames

	gate   gate.Gate // guards source
	source source    // nil while the device is away and after Close

	received atomic.Uint64 // written once a burst by the worker, as is the next
	bytes    atomic.Uint64

	statsMu sync.Mutex         // guards the rest; taken inside the gate or alone
	live    source             // whose kernel counters still grow
	past    unix.XDPStatistics // of sources that are closed
}

// source is where a queue's frames come from while the device is there: a socket, or a tap when the port observes.
// receive and giveBack are called once a burst.
type source interface {
	// receive fills b with what is there and returns how many frames and bytes. They stay until giveBack(n).
	receive(b *port.Burst) (n int, bytes uint64)
	giveBack(n int)
	// wake tells the kernel that there is room, if it waits for that; wait sleeps until a frame comes, bell can be read, or d is over.
	wake()
	wait(d time.Duration, bell int)
	statistics() unix.XDPStatistics
	close() error
}

func open(device string, queues int, o Options) (*Port, error) {
	p := &Port{device: device, opts: o}
	var err error
	if p.pass, err = parsePass(o.Pass); err != nil {
		return nil, err
	}
	check := func(d netdev.Device) error { return p.check(d, queues) }
	p.watch, err = netdev.Watch(device, check, netdev.Hooks{Open: p.attach, Gone: func() { _ = p.detach(0) }})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// check settles the number of queues, which never changes, before anything is received.
func (p *Port) check(d netdev.Device, queues int) error {
	if !d.Ethernet {
		return fmt.Errorf("devices of hardware type %d (if_arp.h) are not supported", d.Type)
	}
	have, err := netdev.Queues(p.device)
	if err != nil {
		return err
	}
	if queues > have {
		return fmt.Errorf("queues: %d are configured and the device has %d", queues, have)
	}
	if queues == 0 {
		queues = min(have, maxQueues)
	}
	for i := range queues {
		q := &queue{number: i, wait: time.Duration(p.opts.Wait), room: p.opts.Frames}
		p.queues = append(p.queues, q)
		p.faces = append(p.faces, q)
	}
	return nil
}

// attach loads and attaches the program, opens the sockets and lets the queues have them.
func (p *Port) attach(d netdev.Device) error {
	err := p.tryAttach(d)
	if err != nil {
		return errors.Join(err, p.detach(0))
	}
	return nil
}

func (p *Port) tryAttach(d netdev.Device) error {
	have, err := netdev.Queues(p.device)
	if err != nil {
		return err
	}
	if have < len(p.queues) {
		return fmt.Errorf("%d queues are in use and it has now %d", len(p.queues), have)
	}
	if p.opts.Observe {
		return p.tryObserve(d, have)
	}
	sockets, err := p.newMap(&ebpf.MapSpec{
		Name: "weir_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(have),
	})
	if err != nil {
		return fmt.Errorf("map of sockets: %w", err)
	}
	if p.program, err = p.pass.load(sockets, xdpPass); err != nil {
		return err
	}
	mode, err := p.attachProgram(d.Index)
	if err != nil {
		return err
	}
	opts := p.opts
	opts.Mode = mode
	var zero int
	for _, q := range p.queues {
		s, err := newSocket(d.Index, q.number, opts)
		if err != nil {
			return err
		}
		q.put(s)
		if s.zerocopy {
			zero++
		}
		if err := sockets.Put(uint32(q.number), uint32(s.fd)); err != nil {
			return fmt.Errorf("put socket of queue %d into the map: %w", q.number, err)
		}
	}
	p.describe(mode, zero, have)
	return nil
}

// newMap makes a map that detach closes.
func (p *Port) newMap(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err == nil {
		p.maps = append(p.maps, m)
	}
	return m, err
}

// attachProgram attaches in the wanted mode and says which it became.
func (p *Port) attachProgram(index int) (mode string, err error) {
	modes := map[string][]string{auto: {native, generic}, native: {native}, generic: {generic}}[p.opts.Mode]
	if p.opts.Copy == zerocopy {
		modes = []string{native}
	}
	var errs []error
	for _, mode := range modes {
		err := p.attachIn(mode, index)
		switch {
		case err == nil:
			return mode, nil
		case errors.Is(err, errTaken):
			return "", err
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// errTaken means that no mode will do.
var errTaken = errors.New("another program is attached")

// attachIn attaches in one mode.
func (p *Port) attachIn(mode string, index int) (err error) {
	flags := map[string]link.XDPAttachFlags{native: link.XDPDriverMode, generic: link.XDPGenericMode}
	p.attached, err = link.AttachXDP(link.XDPOptions{Program: p.program, Interface: index, Flags: flags[mode]})
	switch {
	case errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST):
		return fmt.Errorf("attach XDP program: %w (%w; see: ip link show %s)", err, errTaken, p.device)
	case err != nil:
		return fmt.Errorf("attach XDP program in %s mode: %w", mode, err)
	}
	return nil
}

func (p *Port) describe(mode string, zero, have int) {
	text := mode
	switch zero {
	case 0:
		text += ", copy"
	case len(p.queues):
		text += ", zerocopy"
	default:
		text += fmt.Sprintf(", zerocopy on %d queues", zero)
	}
	p.setMode(text, have)
}

// setMode says what the port settled on, and which queues it leaves out.
func (p *Port) setMode(text string, have int) {
	if have > len(p.queues) {
		text += fmt.Sprintf(", %d of the device's %d queues", len(p.queues), have)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = text
}

// detach undoes attach, as far as it went. It waits at most for within for each worker to leave, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	var errs []error
	if p.attached != nil { // first, so that no more frames come
		// Closing alone detaches when the last handle goes, and a child that is just being started has one for a moment.
		errs = append(errs, p.attached.Detach(), p.attached.Close())
		p.attached = nil
	}
	for _, q := range p.queues {
		if !q.gate.Shut(within) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; its memory stays", q.number))
			continue
		}
		errs = append(errs, q.take())
	}
	if p.program != nil {
		errs = append(errs, p.program.Close())
		p.program = nil
	}
	for _, m := range p.maps {
		errs = append(errs, m.Close())
	}
	p.maps = nil
	return errors.Join(errs...)
}

// put installs a source.
func (q *queue) put(s source) {
	q.gate.Shut(0)
	q.statsMu.Lock()
	q.source, q.live = s, s
	q.statsMu.Unlock()
	q.gate.Open()
}

// take removes the source, keeps its counters and closes it. The gate is shut.
func (q *queue) take() error {
	s := q.source
	if s == nil {
		return nil
	}
	q.statsMu.Lock()
	q.past = add(q.past, s.statistics())
	q.source, q.live = nil, nil
	q.statsMu.Unlock()
	return s.close()
}

func add(a, b unix.XDPStatistics) unix.XDPStatistics {
	a.Rx_dropped += b.Rx_dropped
	a.Rx_invalid_descs += b.Rx_invalid_descs
	a.Rx_ring_full += b.Rx_ring_full
	a.Rx_fill_ring_empty_descs += b.Rx_fill_ring_empty_descs
	return a
}

// RxBurst implements port.Queue.
func (q *queue) RxBurst(b *port.Burst) int {
	b.N = 0
	if !q.gate.Enter() {
		return 0 // the source is away, or being taken away or put in
	}
	s := q.source
	if s == nil {
		q.gate.Leave()
		return 0
	}
	n, sum := s.receive(b)
	if n == 0 {
		s.wake()
		if q.wait > 0 {
			s.wait(q.wait, noBell)
			n, sum = s.receive(b)
		}
	}
	if n == 0 {
		q.gate.Leave()
		return 0
	}
	q.received.Add(uint64(n))
	q.bytes.Add(sum)
	b.N = n
	return n // inside the gate, until Release
}

// Release implements port.Queue.
func (q *queue) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	q.source.giveBack(b.N)
	b.N = 0
	q.gate.Leave()
}

// LinkType implements port.Queue.
func (q *queue) LinkType() wire.LinkType { return wire.LinkEthernet }

// Stats implements port.Queue.
func (q *queue) Stats() port.QueueStats {
	k := q.kernel()
	return port.QueueStats{
		Received: q.received.Load(), Bytes: q.bytes.Load(), Dropped: k.Rx_dropped + k.Rx_ring_full,
	}
}

// kernel returns the kernel's counters of all the queue's sources so far.
func (q *queue) kernel() unix.XDPStatistics {
	q.statsMu.Lock()
	defer q.statsMu.Unlock()
	if q.live == nil {
		return q.past
	}
	return add(q.past, q.live.statistics())
}

// Queues implements port.Port. Queue i is the device's queue i.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port. Dropped of a queue is what found no chunk of memory or did not fit one; Dropped of the
// port is what the device itself had no buffer for, which in zerocopy mode is the same want of chunks.
func (p *Port) Stats() port.Stats {
	why, reopens := p.watch.State()
	p.mu.Lock()
	mode := p.mode
	p.mu.Unlock()
	s := port.Stats{Device: p.device, Driver: "afxdp", Mode: mode, Err: why, Reopens: reopens}
	var sum unix.XDPStatistics
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		sum = add(sum, q.kernel())
	}
	missed, dropped := p.watch.Losses()
	s.Dropped = missed
	s.Extra = map[string]uint64{
		"rx_dropped": sum.Rx_dropped, "rx_ring_full": sum.Rx_ring_full, "rx_invalid_descs": sum.Rx_invalid_descs,
		"fill_ring_empty": sum.Rx_fill_ring_empty_descs, "device_dropped": dropped, "device_missed": missed,
	}
	return s
}

// releaseWithin is how long Close waits for a worker that still holds a burst, or waits for frames.
const releaseWithin = 3 * time.Second

// Close implements port.Port. A worker that keeps a burst for more than three seconds keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	p.watch.Close()
	return p.detach(releaseWithin)
}
