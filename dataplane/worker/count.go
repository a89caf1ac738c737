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
	// So many frames are decoded while the memory that the ones before will touch is on its way; a whole burst of prefetches
	// at once would fill the processor's miss queue and be waited for.
	chunk = 32
)

// flow is whom the flow of one charged header counts for.
type flow struct {
	first, charges uint8 // its charges
	family         traffic.Family
	dir            traffic.Direction
	inTotal        bool // it is the header by which the frame is counted in the totals
}

// scratch is the pointer-free memory between the passes.
type scratch struct {
	charges  [maxCharges]traffic.Charge
	hashes   [maxHeaders]uint64 // of flows
	flows    [maxHeaders]flow
	results  [maxHeaders]flowtrack.Result
	addrs    [6 * chunk]uintptr
	ncharges uint
	nflows   uint
}

// count counts a burst. It is the hot path: see the package comment for what it never does.
func (w *Worker) count(h *traffic.Half, b *port.Burst, lt wire.LinkType) {
	s := &w.scratch
	s.ncharges, s.nflows = 0, 0
	var set *flowtrack.Set
	if w.tracker != nil {
		set = w.tracker.Set(h.FlowSet())
	}
	for at := 0; at < b.N; at += chunk {
		w.ahead(h, set, b.Frames[at:min(at+chunk, b.N)], lt)
	}
	charges, hashes := s.charges[:s.ncharges], s.hashes[:s.nflows]
	for at := 0; at < len(charges); at += chunk {
		part := charges[at:min(at+chunk, len(charges))]
		h.Locate(part, s.addrs[:])
		arena.Prefetch(&s.addrs[0], len(part))
	}
	if set != nil {
		set.InsertAll(hashes, s.results[:])
		w.flows(h)
	}
	h.Add(charges)
}

// ahead decodes a chunk of a burst and prefetches what it will be looked up in.
func (w *Worker) ahead(h *traffic.Half, set *flowtrack.Set, frames []port.Frame, lt wire.LinkType) {
	s := &w.scratch
	charges, flows := s.ncharges, s.nflows
	w.decode(h, frames, lt, set != nil)
	h.Prepare(s.charges[charges:s.ncharges], s.addrs[:])
	n := s.ncharges - charges
	if set != nil {
		set.Prepare(s.hashes[flows:s.nflows], s.addrs[n:])
		n += s.nflows - flows
	}
	arena.Prefetch(&s.addrs[0], int(n))
}

// decode is the first pass: from frames to what they add, without touching a row.
func (w *Worker) decode(h *traffic.Half, frames []port.Frame, lt wire.LinkType, flows bool) {
	table := h.Nets()
	var targets *probe.Targets
	sampled := -1
	if w.probe != nil {
		targets, sampled = w.probe.Targets(), w.probe.Sampled(len(frames))
	}
	var bytes uint64
	for i := range frames {
		f := &frames[i]
		bytes += uint64(f.WireLen)
		code := w.decoder.Decode(lt, f.Data, &w.headers)
		h.Codes[code]++
		if !code.Addressed() {
			continue
		}
		ip, second := w.headers.Charged()
		w.header(h, table, ip, f.WireLen, flows, true)
		if second != nil {
			w.header(h, table, second, f.WireLen, flows, false)
		}
		if targets != nil || i == sampled {
			w.evidenceOf(h, ip, second, f, lt, targets, i == sampled)
		}
	}
	h.Frames += uint64(len(frames))
	h.Bytes += bytes
}

// header notes what one IP header adds. The remainders change nothing and save bounds checks.
func (w *Worker) header(h *traffic.Half, table *nets.Table, ip *wire.IP, wireLen uint32, flows, inTotal bool) {
	s := &w.scratch
	src, dst := table.Lookup(&ip.Src), table.Lookup(&ip.Dst)
	dir := traffic.DirectionOf(src, dst)
	class := traffic.ClassOf(ip.Proto, ip.TCPFlags, ip.Fragment)
	if w.bytesIP {
		wireLen = ip.Length
	}
	family := traffic.IPv6
	if ip.Version == 4 {
		family = traffic.IPv4
	}
	if inTotal {
		c := &h.Totals[family][dir].Cells[class]
		c.Packets++
		c.Bytes += uint64(wireLen)
	}
	first := s.ncharges
	in, out := w.policy.Rows(dir)
	if in {
		c := &s.charges[s.ncharges%maxCharges]
		c.Set(&ip.Dst, dst, traffic.Incoming)
		c.Word, c.Class, c.NewFlows = traffic.OnePacket+uint64(wireLen), class, 0
		s.ncharges++
	}
	if out {
		c := &s.charges[s.ncharges%maxCharges]
		c.Set(&ip.Src, src, traffic.Outgoing)
		c.Word, c.Class, c.NewFlows = traffic.OnePacket+uint64(wireLen), class, 0
		s.ncharges++
	}
	if flows && ip.HasPorts {
		k := s.nflows % maxHeaders
		s.hashes[k] = w.seed.HashFlow(&ip.Src, &ip.Dst, ip.Proto, uint32(ip.SrcPort)<<16|uint32(ip.DstPort))
		fl := &s.flows[k] // field by field: a literal is made on the stack a byte at a time and then waited for
		fl.first, fl.charges, fl.family, fl.dir, fl.inTotal = uint8(first), uint8(s.ncharges-first), family, dir, inTotal
		s.nflows++
	}
}

// flows credits new flows, between the prefetch of the rows and their use.
func (w *Worker) flows(h *traffic.Half) {
	s := &w.scratch
	for k, r := range s.results[:s.nflows] {
		if r == flowtrack.Seen {
			continue
		}
		if r == flowtrack.Full {
			h.Saturated++
			continue
		}
		f := &s.flows[k]
		if f.inTotal {
			h.Totals[f.family][f.dir].Flows++
		}
		for i := range f.charges {
			s.charges[uint(f.first+i)%maxCharges].NewFlows = 1
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
