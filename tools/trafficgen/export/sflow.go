package export

import (
	"net/netip"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// agent is an sFlow version 5 agent that samples at each input interface.
type agent struct {
	e        *Exporter
	sources  [2]source // interface 1, 2
	samples  []byte
	n        uint32
	since    int64
	sequence uint32
	counters int64 // when counters are due, 0 before the first frame
	buf      []byte
}

// source is one interface: a sampler, and the interface's counters.
type source struct {
	sampler                                 sampler
	samples                                 uint32
	pool                                    uint32
	counterSamples                          uint32
	inOctets, outOctets, inFrames, outFrame uint64
}

// headBytes is how much of a frame is sent.
const headBytes = 128

func newAgent(e *Exporter) *agent {
	a := &agent{e: e}
	for i := range a.sources {
		a.sources[i].sampler = newSampler(e.cfg.Sampling, e.cfg.Seed, 0x5f10+uint64(i))
	}
	return a
}

func (a *agent) add(f *gen.Frame) error {
	in, out := uint32(Outside), uint32(Inside)
	if f.Outer != nil {
		in, out = a.e.interfaces(f.Outer)
	}
	size := uint64(len(f.Data))
	s, to := &a.sources[in-1], &a.sources[out-1]
	s.pool++
	s.inOctets, s.inFrames = s.inOctets+size, s.inFrames+1
	to.outOctets, to.outFrame = to.outOctets+size, to.outFrame+1
	if !s.sampler.next() {
		return nil
	}
	var stripped uint32
	if !a.e.cfg.WithoutFCS {
		size, stripped = size+4, 4
	}
	head := f.Data[:min(len(f.Data), headBytes)]
	const around = 8 + 32 + 8 + 16 // sample, its fixed part, item, its fixed part
	if err := a.room(around + len(head) + 3); err != nil {
		return err
	}
	s.samples++
	padded := len(head) + -len(head)&3
	b := appendU32(a.samples, 1, uint32(32+8+16+padded), s.samples, in, a.e.cfg.Sampling, s.pool, 0, in, out, 1,
		1, uint32(16+padded), 1, uint32(size), stripped, uint32(len(head)))
	b = append(b, head...)
	a.samples = append(b, make([]byte, -len(head)&3)...)
	a.n++
	var src, dst netip.Addr
	if f.Outer != nil {
		src, dst = f.Outer.Src, f.Outer.Dst
	}
	a.e.truth.record(src, dst, 1, size)
	return nil
}

// headerSize is at most that of the datagram.
const sflowHeaderSize = 40

// room sends the pending datagram when n more bytes do not fit.
func (a *agent) room(n int) error {
	if a.n > 0 && sflowHeaderSize+len(a.samples)+n > a.e.cfg.MaxDatagram {
		if err := a.flush(); err != nil {
			return err
		}
	}
	if a.n == 0 {
		a.since = a.e.now
	}
	return nil
}

// advance sends what is due until now: a datagram that lingered, and counters.
func (a *agent) advance(now int64) error {
	if a.counters == 0 {
		a.counters = now + int64(a.e.cfg.Counters)
	}
	for {
		linger, counters := a.since+int64(a.e.cfg.Linger), a.counters
		if a.e.cfg.Counters < 0 {
			counters = now + 1
		}
		var err error
		switch {
		case a.n > 0 && linger <= now && linger <= counters:
			a.e.now = max(a.e.now, linger)
			err = a.flush()
		case counters <= now:
			a.e.now = max(a.e.now, counters)
			a.counters += int64(a.e.cfg.Counters)
			err = a.count()
		default:
			a.e.now = now
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// count puts a counter sample of each interface into the pending datagram.
func (a *agent) count() error {
	const body, speed = 88, 10e9
	for i := range a.sources {
		if err := a.room(8 + 12 + 8 + body); err != nil {
			return err
		}
		s := &a.sources[i]
		s.counterSamples++
		index := uint32(i + 1)
		b := appendU32(a.samples, 2, 12+8+body, s.counterSamples, index, 1, 1, body, index, 6)
		b = be.AppendUint64(b, speed)
		b = appendU32(b, 1, 3) // full duplex, up and up
		b = be.AppendUint64(b, s.inOctets)
		b = appendU32(b, uint32(s.inFrames), 0, 0, 0, 0, 0)
		b = be.AppendUint64(b, s.outOctets)
		a.samples = appendU32(b, uint32(s.outFrame), 0, 0, 0, 0, 1)
		a.n++
		a.e.truth.res.CounterSamples++
	}
	return nil
}

func (a *agent) flush() error {
	if a.n == 0 {
		return nil
	}
	family := uint32(1)
	if a.e.cfg.Agent.Is6() {
		family = 2
	}
	a.sequence++
	b := appendU32(a.buf[:0], 5, family)
	b = append(b, a.e.cfg.Agent.AsSlice()...)
	b = appendU32(b, a.e.cfg.Domain, a.sequence, a.e.uptime(a.e.now), a.n)
	a.buf = append(b, a.samples...)
	a.samples, a.n = a.samples[:0], 0
	return a.e.send(a.buf)
}

func appendU32(b []byte, v ...uint32) []byte {
	for _, x := range v {
		b = be.AppendUint32(b, x)
	}
	return b
}
