package worker

import (
	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// A frame adds to at most two rows for each charged header, and looks at one flow for each.
const (
	maxHeaders = 2 * port.MaxBurst
	maxCharges = 2 * maxHeaders
)

// packet is one charged header between the two passes.
type packet struct {
	flow    uint64 // hash of its 5-tuple
	family  traffic.Family
	dir     traffic.Direction
	charges uint8
	hasFlow bool
	inTotal bool // the header by which the frame is counted in the totals
}

// scratch is the pointer-free memory between the two passes.
type scratch struct {
	packets  [maxHeaders]packet
	charges  [maxCharges]traffic.Charge
	addrs    [maxCharges + maxHeaders]uintptr
	npackets int
	ncharges int
	naddrs   int
}

// count counts a burst. It is the hot path: see the package comment for what it never does.
func (w *Worker) count(h *traffic.Half, b *port.Burst, lt wire.LinkType) {
	s := &w.scratch
	s.npackets, s.ncharges, s.naddrs = 0, 0, 0
	var flows *flowtrack.Set
	if w.tracker != nil {
		flows = w.tracker.Set(h.Index())
	}
	w.decode(h, b, lt, flows)
	if s.npackets == 0 {
		return
	}
	arena.Prefetch(&s.addrs[0], s.naddrs)
	charges := s.charges[:s.ncharges]
	h.Locate(charges, s.addrs[:])
	arena.Prefetch(&s.addrs[0], s.ncharges)
	if flows != nil {
		w.flows(h, flows)
	}
	h.Add(charges)
}

// decode is the first pass: from frames to what they add, without touching a row.
func (w *Worker) decode(h *traffic.Half, b *port.Burst, lt wire.LinkType, flows *flowtrack.Set) {
	table := h.Nets()
	var targets *probe.Targets
	sampled := -1
	if w.probe != nil {
		targets, sampled = w.probe.Targets(), w.probe.Sampled(b.N)
	}
	var bytes uint64
	frames := b.Frames[:b.N]
	for i := range frames {
		f := &frames[i]
		bytes += uint64(f.WireLen)
		code := w.decoder.Decode(lt, f.Data, &w.headers)
		h.Codes[code]++
		if !code.Addressed() {
			continue
		}
		ip, second := w.headers.Charged()
		w.header(h, table, ip, f, flows, true)
		if second != nil {
			w.header(h, table, second, f, flows, false)
		}
		if targets != nil || i == sampled {
			w.evidenceOf(h, ip, second, f, lt, targets, i == sampled)
		}
	}
	h.Frames += uint64(len(frames))
	h.Bytes += bytes
}

// header notes what one IP header adds.
func (w *Worker) header(h *traffic.Half, table *nets.Table, ip *wire.IP, f *port.Frame, flows *flowtrack.Set, inTotal bool) {
	s := &w.scratch
	src, dst := table.Lookup(&ip.Src), table.Lookup(&ip.Dst)
	dir := traffic.DirectionOf(src, dst)
	class := traffic.ClassOf(ip.Proto, ip.TCPFlags, ip.Fragment)
	n := uint64(f.WireLen)
	if w.bytesIP {
		n = uint64(ip.Length)
	}
	p := &s.packets[s.npackets%maxHeaders]
	s.npackets++
	p.family, p.dir, p.inTotal, p.charges = traffic.IPv6, dir, inTotal, 0
	if ip.Version == 4 {
		p.family = traffic.IPv4
	}
	if inTotal {
		c := &h.Totals[p.family][dir].Cells[class]
		c.Packets++
		c.Bytes += n
	}
	in, out := w.policy.Rows(dir)
	if in {
		w.charge(h, p, &ip.Dst, dst, traffic.Incoming, class, n)
	}
	if out {
		w.charge(h, p, &ip.Src, src, traffic.Outgoing, class, n)
	}
	if p.hasFlow = flows != nil && ip.HasPorts; p.hasFlow {
		p.flow = w.seed.HashFlow(&ip.Src, &ip.Dst, ip.Proto, uint32(ip.SrcPort)<<16|uint32(ip.DstPort))
		s.addrs[s.naddrs] = flows.Address(p.flow)
		s.naddrs++
	}
}

// charge notes an addition to one row.
func (w *Worker) charge(h *traffic.Half, p *packet, addr *[16]byte, place nets.ID, d traffic.Direction, class traffic.Class, bytes uint64) {
	s := &w.scratch
	c := &s.charges[s.ncharges%maxCharges]
	s.ncharges++
	p.charges++
	c.Word, c.Class, c.NewFlows = traffic.OnePacket+bytes, class, 0
	s.addrs[s.naddrs] = h.Prepare(c, addr, place, d)
	s.naddrs++
}

// flows looks the flows up, between the prefetch of the rows and their use.
func (w *Worker) flows(h *traffic.Half, set *flowtrack.Set) {
	s := &w.scratch
	next := 0
	for i := range s.packets[:s.npackets] {
		p := &s.packets[i]
		first := next
		next += int(p.charges)
		if !p.hasFlow {
			continue
		}
		switch set.Insert(p.flow) {
		case flowtrack.Added:
			if p.inTotal {
				h.Totals[p.family][p.dir].Flows++
			}
			for k := range s.charges[first:next] {
				s.charges[first+k].NewFlows = 1
			}
		case flowtrack.Full:
			h.Saturated++
		}
	}
}

// evidenceOf keeps a packet that is wanted.
func (w *Worker) evidenceOf(h *traffic.Half, ip, second *wire.IP, f *port.Frame, lt wire.LinkType, targets *probe.Targets, sampled bool) {
	for _, ip := range [2]*wire.IP{ip, second} {
		if ip == nil {
			continue
		}
		for _, side := range [2]traffic.Direction{traffic.Incoming, traffic.Outgoing} {
			addr := &ip.Dst
			if side == traffic.Outgoing {
				addr = &ip.Src
			}
			if targets != nil {
				if t := targets.Match(addr, side); t >= 0 {
					w.probe.Take(h.Index(), targets, t, addr, side, f, lt)
				}
			}
		}
	}
	if !sampled {
		return
	}
	addr, side := &ip.Dst, traffic.Incoming
	switch traffic.DirectionOf(h.Nets().Lookup(&ip.Src), h.Nets().Lookup(&ip.Dst)) {
	case traffic.Outgoing:
		addr, side = &ip.Src, traffic.Outgoing
	case traffic.Other:
		side = traffic.Other
	}
	w.probe.Take(h.Index(), nil, -1, addr, side, f, lt)
}
