package export

import (
	"container/list"
	"net/netip"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// cache is the flow cache of a NetFlow or IPFIX exporter.
type cache struct {
	e       *Exporter
	sampler sampler
	flows   map[flowKey]*flow
	silent  list.List // of *flow, the longest silent first
	old     list.List // of *flow, the oldest first
	packer  packer
}

// flowKey is what makes packets one flow.
type flowKey struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
	in, out      uint32
}

// flow is one flow in the cache.
type flow struct {
	flowKey
	packets, bytes uint64
	first, last    int64
	flags          uint8
	silent, old    *list.Element
}

// packer writes reports into datagrams.
type packer interface {
	// add puts one flow into the pending datagram, which is sent before that when it has no room.
	add(f *flow, reason uint8) error
	// flush sends the pending datagram, if any.
	flush() error
	// pendingSince is the time of the oldest report in the pending datagram; false when there is none.
	pendingSince() (int64, bool)
}

// Reasons for the end of a flow (IE 136).
const (
	endIdle      = 1
	endActive    = 2
	endDetected  = 3
	endForced    = 4
	endResources = 5
)

// maxFlowBytes ends a flow before the 32-bit counters of NetFlow v5 overflow.
const maxFlowBytes = 1 << 31

func newCache(e *Exporter) *cache {
	c := &cache{e: e, sampler: newSampler(e.cfg.Sampling, e.cfg.Seed, 0x0f10), flows: make(map[flowKey]*flow)}
	if e.cfg.Protocol == NetFlow5 {
		c.packer = &packer5{e: e}
	} else {
		c.packer = newPackerT(e)
	}
	return c
}

// add meters one frame at the exporter's present time.
func (c *cache) add(frame *gen.Frame) error {
	h := frame.Outer
	if h == nil || c.e.cfg.Protocol == NetFlow5 && h.Src.Is6() {
		c.e.truth.res.Unexported++
		return nil
	}
	if !c.sampler.next() {
		return nil
	}
	k := flowKey{src: h.Src, dst: h.Dst, proto: h.Proto}
	if h.HasPorts {
		k.sport, k.dport = h.SrcPort, h.DstPort
	}
	k.in, k.out = c.e.interfaces(h)
	f := c.flows[k]
	if f == nil {
		if len(c.flows) >= c.e.cfg.MaxFlows {
			if err := c.end(c.silent.Front().Value.(*flow), endResources); err != nil {
				return err
			}
		}
		f = &flow{flowKey: k, first: frame.Time}
		c.flows[k] = f
		f.silent, f.old = c.silent.PushBack(f), c.old.PushBack(f)
	}
	f.packets++
	f.bytes += uint64(h.Length)
	f.last = frame.Time
	f.flags |= h.TCPFlags
	c.silent.MoveToBack(f.silent)
	const fin, rst, tcp = 1, 4, 6
	switch {
	case h.Proto == tcp && h.TCPFlags&(fin|rst) != 0:
		return c.end(f, endDetected)
	case f.bytes >= maxFlowBytes:
		return c.end(f, endForced)
	}
	return nil
}

// advance expires flows and sends waiting datagrams in the order in which they are due, up to now.
func (c *cache) advance(now int64) error {
	for {
		at, do := c.due()
		if do == nil || at > now {
			break
		}
		c.e.now = max(c.e.now, at)
		if err := do(); err != nil {
			return err
		}
	}
	c.e.now = now
	return nil
}

// due is what happens next, and when; nil when nothing will.
func (c *cache) due() (at int64, do func() error) {
	sooner := func(t int64, f func() error) {
		if do == nil || t < at {
			at, do = t, f
		}
	}
	if since, ok := c.packer.pendingSince(); ok {
		sooner(since+int64(c.e.cfg.Linger), c.packer.flush)
	}
	if front := c.silent.Front(); front != nil {
		f := front.Value.(*flow)
		sooner(f.last+int64(c.e.cfg.Inactive), func() error { return c.end(f, endIdle) })
	}
	if front := c.old.Front(); front != nil {
		f := front.Value.(*flow)
		sooner(f.first+int64(c.e.cfg.Active), func() error { return c.end(f, endActive) })
	}
	return at, do
}

// end takes a flow out of the cache and reports it.
func (c *cache) end(f *flow, reason uint8) error {
	delete(c.flows, f.flowKey)
	c.silent.Remove(f.silent)
	c.old.Remove(f.old)
	if err := c.packer.add(f, reason); err != nil {
		return err
	}
	c.e.truth.record(f.src, f.dst, f.packets, f.bytes)
	return nil
}

func (c *cache) close() error {
	for front := c.old.Front(); front != nil; front = c.old.Front() {
		if err := c.end(front.Value.(*flow), endForced); err != nil {
			return err
		}
	}
	return c.packer.flush()
}
