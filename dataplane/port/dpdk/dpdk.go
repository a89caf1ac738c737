//go:build dpdk && cgo

package dpdk

import (
	"errors"
	"fmt"
	"maps"
	"strings"
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
	device string // as configured
	args   string // the same as DPDK writes it
	opts   Options
	queues []*Queue
	faces  []port.Queue // the same, as the interface
	keeper *revive.Keeper

	mu     sync.Mutex        // guards the rest
	dev    *device           // nil while the device is away and after Close
	past   map[string]uint64 // counters of devices that are closed
	driver string
}

// Queue implements port.Queue.
type Queue struct {
	gate gate.Counted // guards rx
	rx   receiver
	live bool

	// Written once a burst by the worker.
	hashed, typed, untagged, chained atomic.Uint64
}

type driver struct{}

func init() { port.Register("dpdk", driver{}) }

// Check implements port.Driver.
func (driver) Check(cfg port.Config) error {
	_, err := options(cfg)
	return err
}

// Open implements port.Driver. It needs root, or the rights to use huge pages and /dev/vfio. Zero queues mean all that a
// virtual device was made with, and one of a real device.
func (driver) Open(cfg port.Config) (port.Port, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if err := eal.start(o); err != nil {
		return nil, err
	}
	p := &Port{device: cfg.Device, args: canonical(cfg.Device), opts: o, past: map[string]uint64{}}
	if err := p.attach(cfg.Queues); err != nil {
		return nil, err
	}
	p.keeper = revive.Keep(deviceName(cfg.Device), revive.Hooks{
		Lost: p.lost, Close: p.detach, Open: func() error { return p.attach(len(p.queues)) },
	})
	return p, nil
}

// attach opens the device and lets the queues have it.
func (p *Port) attach(queues int) (err error) {
	var dev *device
	eal.do(func() {
		if dev, err = openDevice(p.args, queues, p.opts); err != nil {
			return
		}
		if err = dev.start(); err != nil {
			err = errors.Join(err, dev.close())
		}
	})
	if err != nil {
		return err
	}
	if p.queues == nil {
		for range dev.queues {
			q := &Queue{}
			p.queues = append(p.queues, q)
			p.faces = append(p.faces, q)
		}
	}
	for i, q := range p.queues {
		q.gate.Shut(0)
		q.rx, q.live = receiver{dev.queues[i]}, true
		q.gate.Open()
	}
	p.mu.Lock()
	p.dev, p.driver = dev, dev.driver
	p.mu.Unlock()
	return nil
}

// lost asks whether the device was pulled out.
func (p *Port) lost() string {
	p.mu.Lock()
	dev := p.dev
	p.mu.Unlock()
	gone := false
	eal.do(func() { gone = dev != nil && dev.removed() })
	if gone {
		return "it was removed"
	}
	return ""
}

// detach undoes attach. It waits at most for within for each worker to leave, 0 for ever.
func (p *Port) detach(within time.Duration) error {
	p.mu.Lock()
	dev := p.dev
	p.dev = nil
	p.mu.Unlock()
	if dev == nil {
		return nil
	}
	var errs []error
	for i, q := range p.queues {
		if !q.gate.Shut(within) {
			errs = append(errs, fmt.Errorf("queue %d: its worker has not released a burst; its memory stays", i))
			continue
		}
		q.live = false
	}
	held := len(errs) > 0
	eal.do(func() {
		last, err := dev.counters()
		if err == nil {
			p.keep(last)
		}
		errs = append(errs, dev.stop())
		if !held {
			errs = append(errs, dev.close())
		}
	})
	return errors.Join(errs...)
}

// keep adds the last counters of a device that is being closed.
func (p *Port) keep(last map[string]uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, v := range last {
		p.past[name] += v
	}
}

// RxBurst implements port.Queue.
func (q *Queue) RxBurst(b *port.Burst) int {
	b.N = 0
	if !q.gate.Enter() {
		return 0 // the device is away, or being taken away or put in
	}
	if !q.live {
		q.gate.Leave()
		return 0
	}
	n, sum := q.rx.fill(b)
	return q.gate.Deliver(b, n, sum)
}

// Release implements port.Queue. The frames go back to DPDK at the next RxBurst, in the same call into C.
func (q *Queue) Release(b *port.Burst) {
	if b.N == 0 {
		return
	}
	b.N = 0
	q.publish()
	q.gate.Leave()
}

// publish makes what the binding counted visible to Stats; only when it changed, for most devices offer nothing.
func (q *Queue) publish() {
	hashed, typed, untagged, chained := q.rx.offloads()
	for _, c := range [...]struct {
		to *atomic.Uint64
		v  uint64
	}{{&q.hashed, hashed}, {&q.typed, typed}, {&q.untagged, untagged}, {&q.chained, chained}} {
		if c.to.Load() != c.v {
			c.to.Store(c.v)
		}
	}
}

// Meta returns what the device found out about frame i of the burst in hand; valid between RxBurst and Release, for the worker.
// It is a call into C: nothing for every frame.
func (q *Queue) Meta(i int) Meta { return q.rx.meta(i) }

// LinkType implements port.Queue.
func (q *Queue) LinkType() wire.LinkType { return wire.LinkEthernet }

// Stats implements port.Queue. Dropped is 0: DPDK counts losses per device, see Port.Stats.
func (q *Queue) Stats() port.QueueStats { return q.gate.Counts() }

// Queues implements port.Port. Queue i is the device's queue i.
func (p *Port) Queues() []port.Queue { return p.faces }

// Stats implements port.Port. Dropped is what the device had no room for (imissed). When buffers run out (rx_nombuf) drivers
// of real devices leave the frame in the device, which counts it as missed when it must go, but net_pcap, net_tap and
// net_ring lose it, so there it counts too. The other counters of the device are in Extra.
func (p *Port) Stats() port.Stats {
	s := port.Stats{Device: p.device, Driver: "dpdk"}
	s.Err, s.Reopens = p.keeper.State()
	p.mu.Lock()
	dev := p.dev
	s.Mode = p.driver
	s.Extra = maps.Clone(p.past)
	p.mu.Unlock()
	if dev != nil {
		eal.do(func() {
			p.mu.Lock()
			gone := p.dev != dev // closed while we waited for our turn
			p.mu.Unlock()
			if !gone {
				p.ask(dev, &s)
			}
		})
	}
	var hashed, typed, untagged, chained uint64
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
		hashed += q.hashed.Load()
		typed += q.typed.Load()
		untagged += q.untagged.Load()
		chained += q.chained.Load()
	}
	s.Extra["nic_hashed"], s.Extra["nic_typed"], s.Extra["nic_untagged"], s.Extra["chained"] = hashed, typed, untagged, chained
	s.Dropped = s.Extra["imissed"]
	switch driver, _, _ := strings.Cut(s.Mode, ","); driver {
	case "net_pcap", "net_tap", "net_ring":
		s.Dropped += s.Extra["rx_nombuf"]
	}
	return s
}

// ask fills in what only the device knows; on the EAL's main thread.
func (p *Port) ask(dev *device, s *port.Stats) {
	text, up := dev.link()
	s.Mode += fmt.Sprintf(", %d of %d-frame rings, %s%s", len(p.queues), dev.o.descriptors, text, dev.offload(p.opts.RSS))
	if !up && s.Err == "" {
		s.Err = "link is down"
	}
	now, err := dev.counters()
	if err != nil {
		return
	}
	for name, v := range now {
		s.Extra[name] += v
	}
}

// Close implements port.Port. A worker that keeps a burst for more than a second keeps its memory: that is an error and
// a leak, but no crash.
func (p *Port) Close() error { return p.keeper.Close() }
