package gen

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Header is what one IP header of a frame and the transport header behind it say.
type Header struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	// Length is the IP datagram's length in bytes.
	Length uint32
	// Proto is the transport protocol, behind extension headers.
	Proto    uint8
	TCPFlags uint8
	Fragment bool
	// HasPorts is set when a reader can know the ports of TCP, UDP or SCTP.
	HasPorts bool
}

// Frame is one generated frame with its label. Next overwrites it.
type Frame struct {
	// Time is when it is sent, nanoseconds since the Unix epoch.
	Time int64
	// Data is the frame from the Ethernet header on, without FCS, padded to 60 bytes.
	Data []byte
	// Stream is the index of its stream in Generator.Streams.
	Stream int
	// Attack is set unless the stream is benign.
	Attack bool
	// Code is what a decoder should call it: "ok", or the name of what is wrong.
	Code string
	// Outer is the first IP header that can be charged (L2TP's carrier cannot), Inner the innermost; equal without a tunnel.
	// Both are nil for frames without IP.
	Outer, Inner *Header
}

// Generator yields the frames of a scenario in the order of time.
type Generator struct {
	scenario Scenario
	streams  []*stream
	queue    []*stream // a heap by next packet's time, then index
	headers  [2]Header
}

// stream is the state of one Stream.
type stream struct {
	Stream
	index       int
	kind        kind
	templates   []*template
	rng         *rand.Rand
	n, total    int64
	next        int64 // time of the next packet
	start       int64
	step        float64 // nanoseconds between packets
	target      netip.Prefix
	peer        netip.Prefix
	hosts       uint64 // addresses of target to go round, 0: random ones
	tunnel      [2]netip.Addr
	toIn, toOut [2]netip.Prefix // for addresses in the other family
}

// Outside is where the other side of a stream is unless it says otherwise: the benchmarking networks (RFC 2544, RFC 5180).
var (
	outside4 = netip.MustParsePrefix("198.18.0.0/15")
	outside6 = netip.MustParsePrefix("2001:2::/48")
)

// New checks the scenario and prepares its frames. The error names each faulty stream.
func New(s Scenario) (*Generator, error) {
	s, err := s.filled()
	if err != nil {
		return nil, err
	}
	g := &Generator{scenario: s}
	for i, st := range s.Streams {
		x, err := newStream(s, st, i)
		if err != nil {
			return nil, fmt.Errorf("stream %d (%s %s): %w", i+1, st.Kind, st.Target, err)
		}
		g.streams = append(g.streams, x)
		if x.total > 0 {
			g.queue = append(g.queue, x)
		}
	}
	heap.Init((*byTime)(g))
	return g, nil
}

func newStream(s Scenario, st Stream, index int) (*stream, error) {
	x := &stream{
		Stream: st, index: index, kind: kinds[st.Kind], total: st.count(),
		rng:  rand.New(rand.NewPCG(s.Seed, uint64(index)+1)),
		step: 1e9 / st.PPS, start: s.Epoch.UnixNano() + int64(st.Start),
	}
	if st.SourcePort != 0 {
		x.kind.sport = st.SourcePort
	}
	if st.DestPort != 0 {
		x.kind.dport = st.DestPort
	}
	via := st.Via
	if x.kind.via != "" {
		via = append(append([]string(nil), via...), x.kind.via)
	}
	v6 := false
	if x.kind.link == "" {
		if err := x.addresses(s); err != nil {
			return nil, err
		}
		v6 = x.target.Addr().Is6()
	}
	sizes := st.Sizes
	if len(sizes) == 0 {
		sizes = x.kind.sizes
	}
	for _, size := range sizes {
		t, err := makeTemplate(x.kind, via, v6, size)
		if err != nil {
			return nil, err
		}
		if len(t.frame) > 65535 {
			return nil, fmt.Errorf("a payload of %d bytes makes a frame of %d", size, len(t.frame))
		}
		x.templates = append(x.templates, t)
	}
	x.schedule()
	return x, nil
}

func (x *stream) addresses(s Scenario) (err error) {
	if x.target, err = parseTarget(x.Target); err != nil {
		return err
	}
	x.peer = outside4
	if x.target.Addr().Is6() {
		x.peer = outside6
	}
	if x.Peer != "" {
		if x.peer, err = parseTarget(x.Peer); err != nil {
			return fmt.Errorf("peer: %w", err)
		}
		if x.peer.Addr().Is4() != x.target.Addr().Is4() {
			return fmt.Errorf("peer: %s is not of the target's address family", x.Peer)
		}
	}
	if free := x.target.Addr().BitLen() - x.target.Bits(); free <= 16 {
		x.hosts = 1 << free
	}
	for i, text := range []string{x.TunnelTarget, x.TunnelPeer} {
		if text == "" {
			continue
		}
		if x.tunnel[i], err = netip.ParseAddr(text); err != nil {
			return fmt.Errorf("tunnel address: %w", err)
		}
	}
	x.toIn, x.toOut = [2]netip.Prefix{outside4, outside6}, [2]netip.Prefix{outside4, outside6}
	for i := len(s.Networks) - 1; i >= 0; i-- {
		family := 0
		if s.Networks[i].Addr().Is6() {
			family = 1
		}
		x.toIn[family] = s.Networks[i]
	}
	return nil
}

// schedule sets the time of packet n: at a random moment of its own interval, so that order and rate are exact.
func (x *stream) schedule() {
	x.next = x.start + int64((float64(x.n)+x.rng.Float64()*0.999)*x.step)
}

// Scenario returns the scenario with all defaults and the background's streams put in.
func (g *Generator) Scenario() Scenario { return g.scenario }

// Streams are all streams, the background's included; Frame.Stream is an index into it.
func (g *Generator) Streams() []Stream { return g.scenario.Streams }

// Packets is how many frames there are in all.
func (g *Generator) Packets() (n int64) {
	for _, x := range g.streams {
		n += x.total
	}
	return n
}

// Next fills f with the next frame, valid until the next call; false at the end.
func (g *Generator) Next(f *Frame) bool {
	if len(g.queue) == 0 {
		return false
	}
	x := g.queue[0]
	f.Time, f.Stream, f.Attack = x.next, x.index, !x.Benign
	f.Code = x.kind.code
	if f.Code == "" {
		f.Code = "ok"
	}
	x.fill(f, &g.headers)
	if x.n++; x.n == x.total {
		heap.Pop((*byTime)(g))
		return true
	}
	x.schedule()
	heap.Fix((*byTime)(g), 0)
	return true
}

// Seconds is how long the scenario lasts.
func (g *Generator) Seconds() float64 { return time.Duration(g.scenario.Length).Seconds() }

// fill makes packet n of the stream in one of its templates.
func (x *stream) fill(f *Frame, h *[2]Header) {
	t := x.templates[0]
	if len(x.templates) > 1 {
		t = x.templates[x.rng.IntN(len(x.templates))]
	}
	f.Data, f.Outer, f.Inner = t.frame, nil, nil
	if len(t.ips) == 0 {
		return
	}
	rng := x.rng
	if x.Flows > 0 { // the flow's own generator draws the same addresses and ports each time
		rng = rand.New(rand.NewPCG(uint64(x.index)<<32|uint64(x.rng.IntN(x.Flows)), uint64(x.index)^0x5eed))
	}
	target, peer := x.pickTarget(rng), randomIn(x.peer, rng)
	in := &h[1]
	*in = Header{Src: peer, Dst: target, Proto: t.proto, TCPFlags: t.flags, Fragment: t.frag, HasPorts: t.ports}
	if x.Outgoing {
		in.Src, in.Dst = target, peer
	}
	in.SrcPort, in.DstPort = x.ports(rng)
	t.patch(in, uint32(x.rng.Uint64()))
	if !t.ports {
		in.SrcPort, in.DstPort = 0, 0
	}
	f.Inner, f.Outer = in, in
	inner := len(t.ips) - 1
	in.Length = t.ips[inner].length
	for i := inner - 1; i >= 0; i-- { // each tunnel's own header
		ref := &t.ips[i]
		if ref.carrier {
			continue
		}
		src, dst := x.tunnelAddr(ref.v6, 1, peer), x.tunnelAddr(ref.v6, 0, target)
		if x.Outgoing {
			src, dst = dst, src
		}
		putAddrs(t.frame[ref.at:], ref.v6, src, dst)
		h[0] = Header{Src: src, Dst: dst, Proto: ref.proto, Length: ref.length, HasPorts: ref.ports, SrcPort: ref.sport, DstPort: ref.dport}
		f.Outer = &h[0]
	}
	for i := range t.sums {
		t.sum(&t.sums[i])
	}
}

func (x *stream) pickTarget(rng *rand.Rand) netip.Addr {
	switch {
	case x.hosts == 1:
		return x.target.Addr()
	case x.hosts > 0 && x.Flows == 0:
		return offset(x.target.Addr(), uint64(x.n)%x.hosts)
	}
	return randomIn(x.target, rng)
}

func (x *stream) ports(rng *rand.Rand) (src, dst uint16) {
	r := rng.Uint64()
	src, dst = x.kind.sport, x.kind.dport
	if src == 0 {
		src = 10000 + uint16(r)%40000
	}
	if dst == 0 {
		dst = 10000 + uint16(r>>16)%40000
	}
	return src, dst
}

// tunnelAddr is the outer address that stands for a: the stream's own, a itself, or its counterpart in the other family.
func (x *stream) tunnelAddr(v6 bool, side int, a netip.Addr) netip.Addr {
	if own := x.tunnel[side]; own.IsValid() && own.Is6() == v6 {
		return own
	}
	if a.Is6() == v6 {
		return a
	}
	pools := &x.toOut
	if side == 0 {
		pools = &x.toIn
	}
	b := a.As16()
	low := uint64(binary.BigEndian.Uint32(b[12:]))
	if v6 {
		return offset(pools[1].Addr(), low)
	}
	return offset(pools[0].Addr(), low&(1<<(32-pools[0].Bits())-1))
}

// offset is the n-th address after a.
func offset(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+n)
	if low+n < low {
		binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])+1)
	}
	return netip.AddrFrom16(b)
}

// randomIn draws an address of p. The whole address is drawn, whatever p's length, so that the sequence does not depend on it.
func randomIn(p netip.Prefix, rng *rand.Rand) netip.Addr {
	hi, lo := rng.Uint64(), rng.Uint64()
	n := p.Bits()
	if p.Addr().Is4() {
		b := p.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(lo)&uint32(1<<(32-n)-1))
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	hiMask, loMask := uint64(0), uint64(1)<<(128-max(n, 64))-1
	if n < 64 {
		hiMask = 1<<(64-n) - 1
	}
	binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])|hi&hiMask)
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])|lo&loMask)
	return netip.AddrFrom16(b)
}

// byTime is the heap of streams.
type byTime Generator

func (q *byTime) Len() int { return len(q.queue) }
func (q *byTime) Less(i, j int) bool {
	a, b := q.queue[i], q.queue[j]
	return a.next < b.next || (a.next == b.next && a.index < b.index)
}
func (q *byTime) Swap(i, j int) { q.queue[i], q.queue[j] = q.queue[j], q.queue[i] }
func (q *byTime) Push(any)      { panic("gen: streams are never added") }
func (q *byTime) Pop() any {
	n := len(q.queue) - 1
	x := q.queue[n]
	q.queue = q.queue[:n]
	return x
}
