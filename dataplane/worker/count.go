package worker

import (
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// So many frames are decoded while the memory that the ones before will touch is on its way; a whole burst of prefetches
// at once would fill the processor's miss queue and be waited for. Each is at most two packets.
const chunk = traffic.ChunkPackets / 2

// scratch is the pointer-free memory between the passes.
type scratch struct {
	chunk   traffic.Chunk
	numbers [traffic.ChunkPackets]uint8 // of the frames that the packets came in, when not all are plain
	all     traffic.Charges
	results [traffic.BurstPackets]flowtrack.Result
}

// count counts a burst. It is the hot path: see the package comment for what it never does.
func (w *Worker) count(h *traffic.Half, b *port.Burst, lt wire.LinkType) {
	all := &w.scratch.all
	all.Reset()
	var set *flowtrack.Set
	if w.tracker != nil {
		set = w.tracker.Set(h.FlowSet())
	}
	for at := 0; at < b.N; at += chunk {
		w.ahead(h, set, b.Frames[at:min(at+chunk, b.N)], lt)
	}
	h.LocateFetch(all.All())
	if set != nil {
		set.InsertAll(all.Hashes(0), w.scratch.results[:])
		w.flows(h)
	}
	h.Add(all.All())
}

// ahead decodes a chunk of a burst and prefetches what it will be looked up in.
func (w *Worker) ahead(h *traffic.Half, set *flowtrack.Set, frames []port.Frame, lt wire.LinkType) {
	c, all := &w.scratch.chunk, &w.scratch.all
	plain := w.decode(h, frames, lt)
	packets := c.Packets[:c.N]
	if w.bytesIP {
		for i := range packets {
			c.Lengths[i%traffic.ChunkPackets] = packets[i].Length
		}
	}
	if w.probe != nil {
		w.keep(h, packets, plain, frames, lt)
	}
	h.Nets().LookupAll(packets, c.Ends[:])
	from := all.NumFlows()
	h.ChargeAll(w.rules, c, all, set != nil)
	if set != nil {
		set.PrepareFetch(all.Hashes(from))
	}
}

// decode is the first pass: from frames to packets. It returns whether all frames are plain, packet i being frame i.
func (w *Worker) decode(h *traffic.Half, frames []port.Frame, lt wire.LinkType) bool {
	c := &w.scratch.chunk
	h.Frames += uint64(len(frames))
	h.Codes[wire.OK] += uint64(len(frames)) // but for those that odd sees
	sum := uint64(0)
	for i := range frames {
		n := frames[i].WireLen
		c.Lengths[i%traffic.ChunkPackets] = n
		sum += uint64(n)
	}
	h.Bytes += sum
	c.N, c.Second = uint(len(frames)), 0
	plain := uint64(0)
	if lt == wire.LinkEthernet && !w.twice {
		plain = w.decoder.PlainAll(&frames[0].Data, frameSize, len(frames), c.Packets[:])
	}
	if plain == 1<<len(frames)-1 {
		return true
	}
	w.mixed(h, frames, plain, lt)
	return false
}

// mixed is decode for frames of which those that plain has a bit for are decoded.
func (w *Worker) mixed(h *traffic.Half, frames []port.Frame, plain uint64, lt wire.LinkType) {
	s := &w.scratch
	c := &s.chunk
	c.N = 0
	for i := range frames {
		f := &frames[i]
		n := c.N % traffic.ChunkPackets
		s.numbers[n], c.Lengths[n] = uint8(i), f.WireLen
		switch {
		case plain>>(i&63)&1 != 0: // and none was two packets, or plain would be 0
			c.Packets[n] = c.Packets[i%traffic.ChunkPackets]
			c.N++
		case lt == wire.LinkEthernet && w.decoder.Plain(f.Data, &c.Packets[n]):
			c.N++
		default:
			w.odd(h, f, lt)
		}
	}
}

// odd decodes any frame as the next packet or two.
func (w *Worker) odd(h *traffic.Half, f *port.Frame, lt wire.LinkType) {
	s := &w.scratch
	c := &s.chunk
	code := w.decoder.Walk(lt, f.Data, &w.headers)
	h.Codes[wire.OK]--
	h.Codes[code]++
	if !code.Addressed() {
		return
	}
	ip, second := w.headers.Charged()
	n := c.N % traffic.ChunkPackets
	c.Packets[n] = *ip
	c.N++
	if second == nil {
		return
	}
	next := c.N % traffic.ChunkPackets
	c.Packets[next], c.Lengths[next], s.numbers[next] = *second, f.WireLen, s.numbers[n]
	c.Second |= 1 << next
	c.N++
}

// flows credits new flows, between the prefetch of the rows and their use.
func (w *Worker) flows(h *traffic.Half) {
	all := &w.scratch.all
	for k, r := range w.scratch.results[:all.NumFlows()] {
		if r == flowtrack.Seen {
			continue
		}
		if r == flowtrack.Full {
			h.Saturated++
			continue
		}
		h.NewFlow(all, uint(k))
	}
}

// keep keeps those of packets that are wanted.
func (w *Worker) keep(h *traffic.Half, packets []wire.IP, plain bool, frames []port.Frame, lt wire.LinkType) {
	targets, sampled := w.probe.Targets(), w.probe.Sampled(len(frames))
	if targets == nil && sampled < 0 {
		return
	}
	s := &w.scratch
	for i := range packets {
		ip, number := &packets[i], i
		if !plain {
			number = int(s.numbers[i%traffic.ChunkPackets])
		}
		f := &frames[number]
		if targets != nil {
			w.evidenceOf(h, &ip.Dst, traffic.Incoming, f, lt, targets)
			w.evidenceOf(h, &ip.Src, traffic.Outgoing, f, lt, targets)
		}
		if number == sampled && s.chunk.Second>>(i&63)&1 == 0 {
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
