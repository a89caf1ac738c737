package worker

import (
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
	chunk      = 32
	maxPackets = 2 * chunk
)

// flow says whom the flow of one charged header counts for, in one word: the first of its charges, how many they are, family,
// direction, and whether the frame is counted by this header in the totals.
type flow uint32

const (
	flowCharges, flowDir, flowFamily = 8, 16, 24
	flowTotal                        = 1 << 31
)

// frame is the frame of a packet in one word: its length on the wire, its number in the chunk, and whether this is the second header
// that is charged, by which the totals do not count it.
type frame uint64

const (
	frameNumber = 32
	frameSecond = 1 << 63
)

// scratch is the pointer-free memory between the passes.
type scratch struct {
	packets  [maxPackets]wire.IP // the charged headers of a chunk
	frames   [maxPackets]frame   // of the packets
	ends     [maxPackets]nets.Ends
	charges  [maxCharges]traffic.Charge
	hashes   [maxHeaders]uint64 // of flows
	flows    [maxHeaders]flow
	results  [maxHeaders]flowtrack.Result
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
	h.LocateFetch(charges)
	if set != nil {
		set.InsertAll(hashes, s.results[:])
		w.flows(h)
	}
	h.Add(charges)
}

// ahead decodes a chunk of a burst and prefetches what it will be looked up in.
func (w *Worker) ahead(h *traffic.Half, set *flowtrack.Set, frames []port.Frame, lt wire.LinkType) {
	s := &w.scratch
	packets := s.packets[:w.decode(h, frames, lt)]
	if w.probe != nil {
		w.keep(h, packets, frames, lt)
	}
	h.Nets().LookupAll(packets, s.ends[:])
	at := s.ncharges
	w.charge(h, packets)
	h.PrepareFetch(s.charges[at:s.ncharges])
	if set != nil {
		hashes := s.hashes[s.nflows:]
		n := w.seed.HashFlows(packets, hashes)
		set.PrepareFetch(hashes[:n])
		s.nflows += uint(n)
	}
}

// decode is the first pass: from frames to packets. It returns their number.
func (w *Worker) decode(h *traffic.Half, frames []port.Frame, lt wire.LinkType) uint {
	s := &w.scratch
	h.Frames += uint64(len(frames))
	h.Codes[wire.OK] += uint64(len(frames)) // but for those that odd sees
	for i := range frames {
		h.Bytes += uint64(frames[i].WireLen)
	}
	n := uint(0)
	for i := range frames {
		f := &frames[i]
		s.frames[n%maxPackets] = frame(f.WireLen) | frame(i)<<frameNumber
		if lt == wire.LinkEthernet && w.decoder.Plain(f.Data, &s.packets[n%maxPackets]) {
			n++
		} else {
			n = w.odd(h, f, lt, n)
		}
	}
	return n
}

// odd decodes any frame as packet n, and maybe n+1. It returns the number of the next.
func (w *Worker) odd(h *traffic.Half, f *port.Frame, lt wire.LinkType, n uint) uint {
	s := &w.scratch
	code := w.decoder.Walk(lt, f.Data, &w.headers)
	h.Codes[wire.OK]--
	h.Codes[code]++
	if !code.Addressed() {
		return n
	}
	ip, second := w.headers.Charged()
	word := s.frames[n%maxPackets]
	s.packets[n%maxPackets] = *ip
	if n++; second != nil {
		s.packets[n%maxPackets], s.frames[n%maxPackets] = *second, word|frameSecond
		n++
	}
	return n
}

// charge is the second pass: it notes what packets add to whom.
func (w *Worker) charge(h *traffic.Half, packets []wire.IP) {
	s := &w.scratch
	n, nflows := s.ncharges, s.nflows
	for i := range packets {
		ip, frame, ends := &packets[i], s.frames[i%maxPackets], s.ends[i%maxPackets]
		dir := traffic.DirectionOf(ends.Src, ends.Dst)
		class := traffic.ClassOf(ip.Proto, ip.TCPFlags, ip.Fragment)
		length := uint32(frame)
		if w.bytesIP {
			length = ip.Length
		}
		family := traffic.IPv6
		if ip.Version == 4 {
			family = traffic.IPv4
		}
		note := flow(n) | flow(dir)<<flowDir | flow(family)<<flowFamily
		if frame&frameSecond == 0 {
			c := &h.Totals[family][dir].Cells[class]
			c.Packets++
			c.Bytes += uint64(length)
			note |= flowTotal
		}
		in, out := w.policy.Rows(dir)
		if in {
			c := &s.charges[n%maxCharges]
			c.Set(&ip.Dst, ends.Dst, traffic.Incoming)
			c.Word, c.Class, c.NewFlows = traffic.OnePacket+uint64(length), class, 0
			n++
			note += 1 << flowCharges
		}
		if out {
			c := &s.charges[n%maxCharges]
			c.Set(&ip.Src, ends.Src, traffic.Outgoing)
			c.Word, c.Class, c.NewFlows = traffic.OnePacket+uint64(length), class, 0
			n++
			note += 1 << flowCharges
		}
		s.flows[nflows%maxHeaders] = note
		if ip.HasPorts {
			nflows++
		}
	}
	s.ncharges = n
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
		f := s.flows[k]
		if f&flowTotal != 0 {
			h.Totals[f>>flowFamily&1][f>>flowDir&3].Flows++
		}
		for i := range uint(f >> flowCharges & 3) {
			s.charges[(uint(f&0xff)+i)%maxCharges].NewFlows = 1
		}
	}
}

// keep keeps those of packets that are wanted.
func (w *Worker) keep(h *traffic.Half, packets []wire.IP, frames []port.Frame, lt wire.LinkType) {
	targets, sampled := w.probe.Targets(), w.probe.Sampled(len(frames))
	if targets == nil && sampled < 0 {
		return
	}
	for i := range packets {
		ip, word := &packets[i], w.scratch.frames[i%maxPackets]
		number := int(uint8(word >> frameNumber))
		f := &frames[number]
		if targets != nil {
			w.evidenceOf(h, &ip.Dst, traffic.Incoming, f, lt, targets)
			w.evidenceOf(h, &ip.Src, traffic.Outgoing, f, lt, targets)
		}
		if number == sampled && word&frameSecond == 0 {
			w.sample(h, ip, f, lt)
		}
	}
}

// evidenceOf keeps a packet of a target.
func (w *Worker) evidenceOf(h *traffic.Half, addr *[16]byte, side traffic.Direction, f *port.Frame, lt wire.LinkType, targets *probe.Targets) {
	if t := targets.Match(addr, side); t >= 0 {
		w.probe.Take(h.Index(), targets, t, addr, side, f, lt)
	}
}

// sample keeps any packet.
func (w *Worker) sample(h *traffic.Half, ip *wire.IP, f *port.Frame, lt wire.LinkType) {
	addr, side := &ip.Dst, traffic.Incoming
	switch traffic.DirectionOf(h.Nets().Lookup(&ip.Src), h.Nets().Lookup(&ip.Dst)) {
	case traffic.Outgoing:
		addr, side = &ip.Src, traffic.Outgoing
	case traffic.Other:
		side = traffic.Other
	}
	w.probe.Take(h.Index(), nil, -1, addr, side, f, lt)
}
