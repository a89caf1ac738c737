//go:build pcap && cgo

package pcaplive

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/internal/gate"
	"github.com/weir-ddos/weir/dataplane/port/internal/revive"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Port implements port.Port and port.Queue: libpcap has one queue.
type Port struct {
	device string
	opts   Options
	link   wire.LinkType
	keeper *revive.Keeper

	gate gate.Counted // guards the worker's use of live, from RxBurst to Release

	// mu makes libpcap's calls one at a time: RxBurst's, Stats'. It guards the next six.
	mu        sync.Mutex
	live      *handle // nil while the device is away and after Close
	why       string  // the device's last error
	dropped   uint64
	ifDrops   uint64
	lastDrop  [2]uint32 // libpcap's figures at the last look
	lastTrunc uint64
}

// linkTypes are those that package wire reads.
var linkTypes = []wire.LinkType{
	wire.LinkNull, wire.LinkEthernet, wire.LinkPPP, 12, 14, wire.LinkPPPHDLC, wire.LinkPPPEther, wire.LinkRaw, wire.LinkCHDLC,
	wire.LinkLoop, wire.LinkLinuxSLL, wire.LinkIPv4, wire.LinkIPv6, wire.LinkNFLOG, wire.LinkLinuxSLL2,
}

type driver struct{}

func init() { port.Register("pcap", driver{}) }

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, err := options(cfg)
	return err
}

// Open implements port.Driver. What rights it needs is the system's affair; on Linux CAP_NET_RAW.
func (driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	h, err := openHandle(cfg.Device, o)
	if err != nil {
		return nil, err
	}
	p := &Port{device: cfg.Device, opts: o, link: wire.LinkType(h.link())}
	if h.link() > 0xffff || !slices.Contains(linkTypes, p.link) {
		h.close()
		return nil, fmt.Errorf("frames of link type %d are not known", h.link())
	}
	p.live = h
	p.keeper = revive.Keep(cfg.Device, revive.Hooks{Lost: p.lost, Close: p.detach, Open: p.attach})
	return p, nil
}

// attach opens the device again.
func (p *Port) attach() error {
	h, err := openHandle(p.device, p.opts)
	if err != nil {
		return err
	}
	if wire.LinkType(h.link()) != p.link {
		h.close()
		return errors.New("it is now another kind of device")
	}
	p.gate.Shut(0)
	p.mu.Lock()
	p.live, p.why, p.lastDrop, p.lastTrunc = h, "", [2]uint32{}, 0
	p.mu.Unlock()
	p.gate.Open()
	return nil
}

func (p *Port) lost() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// detach closes the device. It waits at most for within for the worker to leave, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	if !p.gate.Shut(within) {
		return errors.New("its worker has not released a burst; its memory stays")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil {
		p.collect()
		p.live.close()
		p.live = nil
	}
	return nil
}

// collect adds what libpcap's counters grew by, which wrap. mu is held.
func (p *Port) collect() {
	_, dropped, ifDropped, truncated := p.live.figures()
	p.dropped += uint64(dropped-p.lastDrop[0]) + truncated - p.lastTrunc
	p.lastTrunc = truncated
	p.ifDrops += uint64(ifDropped - p.lastDrop[1])
	p.lastDrop = [2]uint32{dropped, ifDropped}
}

// RxBurst implements port.Queue.
func (p *Port) RxBurst(b *port.Burst) int {
	b.N = 0
	if !p.gate.Enter() {
		return 0 // the device is away, or being taken away or put in
	}
	p.mu.Lock()
	if p.live == nil || p.why != "" {
		p.mu.Unlock()
		p.gate.Leave()
		return 0
	}
	n, sum := p.live.fill(b)
	if n < 0 {
		p.why = "libpcap: " + p.live.problem()
	}
	p.mu.Unlock()
	return p.gate.Deliver(b, max(n, 0), sum)
}

// Release implements port.Queue.
func (p *Port) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	b.N = 0
	p.gate.Leave()
}

// LinkType implements port.Queue.
func (p *Port) LinkType() wire.LinkType { return p.link }

// Queues implements port.Port.
func (p *Port) Queues() []port.Queue { return []port.Queue{queue{p}} }

// queue is the port as its one queue: Stats differs.
type queue struct{ *Port }

// Stats implements port.Queue. Dropped is what found no room in libpcap's or the kernel's buffer.
func (q queue) Stats() port.QueueStats {
	s := q.gate.Counts()
	s.Dropped, _ = q.losses()
	return s
}

func (p *Port) losses() (dropped, ifDropped uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil {
		p.collect()
	}
	return p.dropped, p.ifDrops
}

// Stats implements port.Port. Dropped is what the device or its driver lost, where the system tells libpcap.
func (p *Port) Stats() port.Stats {
	s := port.Stats{Device: p.device, Driver: "pcap", Mode: libraryVersion(), Queues: []port.QueueStats{queue{p}.Stats()}}
	s.Err, s.Reopens = p.keeper.State()
	_, s.Dropped = p.losses()
	return s
}

// Close implements port.Port. A worker that keeps a burst for more than a second keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error { return p.keeper.Close() }
