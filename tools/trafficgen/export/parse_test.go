package export

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// reader is the other side of this package: a plain collector that checks the framing as it goes.
type reader struct {
	t         *testing.T
	datagrams []datagram
	templates map[uint16][]field
	options   map[uint16]bool
	sequence  uint32
	records   []rec
	rates     []uint32 // announced
	counters  int
	announced int // datagrams with templates
}

type datagram struct {
	at      int64
	payload []byte
}

// rec is one record or flow sample.
type rec struct {
	at             int64
	src, dst       netip.Addr
	sport, dport   uint16
	proto          uint8
	flags          uint8
	packets, bytes uint64
	first, last    int64 // ns since the epoch, to the ms
	in, out        uint32
	reason         uint8
}

func (r *reader) take(at int64, payload []byte) error {
	r.datagrams = append(r.datagrams, datagram{at, append([]byte(nil), payload...)})
	return nil
}

func (r *reader) parse(p Protocol) {
	r.templates, r.options = map[uint16][]field{}, map[uint16]bool{}
	for i, d := range r.datagrams {
		if i > 0 && d.at < r.datagrams[i-1].at {
			r.t.Errorf("datagram %d goes back in time", i)
		}
		if len(d.payload) > 1400 {
			r.t.Errorf("datagram %d has %d bytes", i, len(d.payload))
		}
		switch p {
		case NetFlow5:
			r.netflow5(d)
		case SFlow:
			r.sflow(d)
		default:
			r.sets(d, p == NetFlow9)
		}
	}
}

func (r *reader) equal(what string, got, want uint64) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// base is the device's start by the header's clocks.
func base(b []byte, uptime, secs, nanos int) int64 {
	return int64(be.Uint32(b[secs:]))*1e9 + int64(nanos) - int64(be.Uint32(b[uptime:]))*1e6
}

func (r *reader) netflow5(d datagram) {
	b := d.payload
	n := int(be.Uint16(b[2:]))
	r.equal("version", uint64(be.Uint16(b)), 5)
	r.equal("length", uint64(len(b)), uint64(24+48*n))
	r.equal("sequence", uint64(be.Uint32(b[16:])), uint64(r.sequence))
	r.sequence += uint32(n)
	if s := be.Uint16(b[22:]); s != 0 {
		r.equal("mode", uint64(s>>14), 2)
		r.rates = append(r.rates, uint32(s&0x3fff))
	}
	start := base(b, 4, 8, int(be.Uint32(b[12:])))
	for b = b[24:]; len(b) > 0; b = b[48:] {
		r.records = append(r.records, rec{
			at: d.at, src: netip.AddrFrom4([4]byte(b)), dst: netip.AddrFrom4([4]byte(b[4:])), in: uint32(be.Uint16(b[12:])),
			out: uint32(be.Uint16(b[14:])), packets: uint64(be.Uint32(b[16:])), bytes: uint64(be.Uint32(b[20:])),
			first: start + int64(be.Uint32(b[24:]))*1e6, last: start + int64(be.Uint32(b[28:]))*1e6,
			sport: be.Uint16(b[32:]), dport: be.Uint16(b[34:]), flags: b[37], proto: b[38],
		})
	}
}

func (r *reader) sets(d datagram, v9 bool) {
	b := d.payload
	header, templates, options := 16, uint16(2), uint16(3)
	if v9 {
		header, templates, options = 20, 0, 1
		r.equal("version", uint64(be.Uint16(b)), 9)
		r.equal("sequence", uint64(be.Uint32(b[12:])), uint64(r.sequence))
		r.equal("domain", uint64(be.Uint32(b[16:])), 77)
		r.sequence++
	} else {
		r.equal("version", uint64(be.Uint16(b)), 10)
		r.equal("length", uint64(be.Uint16(b[2:])), uint64(len(b)))
		r.equal("sequence", uint64(be.Uint32(b[8:])), uint64(r.sequence))
		r.equal("domain", uint64(be.Uint32(b[12:])), 77)
	}
	start := int64(0)
	if v9 {
		start = base(b, 4, 8, 0)
	}
	count := 0
	for rest := b[header:]; len(rest) > 0; {
		id, size := be.Uint16(rest), int(be.Uint16(rest[2:]))
		r.equal("alignment", uint64(size%4), 0)
		body := rest[4:size]
		rest = rest[size:]
		switch id {
		case templates:
			r.announced++
			count += r.template(body, false, v9)
		case options:
			count += r.template(body, true, v9)
		default:
			n := r.data(d.at, start, id, body)
			count += n
			if !v9 {
				r.sequence += uint32(n)
			}
		}
	}
	if v9 {
		r.equal("count", uint64(be.Uint16(b[2:])), uint64(count))
	}
}

func (r *reader) template(b []byte, options, v9 bool) (n int) {
	for len(b) >= 4 {
		id, fields := be.Uint16(b), int(be.Uint16(b[2:]))
		b = b[4:]
		if options && v9 {
			fields = fields/4 + int(be.Uint16(b))/4
		}
		if options {
			b = b[2:]
		}
		var list []field
		for range fields {
			list = append(list, field{be.Uint16(b), be.Uint16(b[2:])})
			b = b[4:]
		}
		r.templates[id], r.options[id] = list, options
		n++
	}
	return n
}

func (r *reader) data(at, start int64, id uint16, b []byte) (n int) {
	fields, ok := r.templates[id]
	if !ok {
		r.t.Fatalf("data of template %d before it", id)
	}
	size := 0
	for _, f := range fields {
		size += int(f.size)
	}
	for ; len(b) >= size; b = b[size:] {
		n++
		values, x := map[uint16]uint64{}, rec{at: at}
		at := b
		for i, f := range fields {
			v := at[:f.size]
			at = at[f.size:]
			switch a, ok := netip.AddrFromSlice(v); {
			case f.id == ieSrc4 || f.id == ieSrc6:
				x.src = a
			case f.id == ieDst4 || f.id == ieDst6:
				x.dst = a
			case r.options[id] && i == 0: // the scope
				if be.Uint32(v) != 77 {
					r.t.Errorf("scope %x", v)
				}
			default:
				_ = ok
				for _, c := range v {
					values[f.id] = values[f.id]<<8 | uint64(c)
				}
			}
		}
		if r.options[id] {
			rate := values[ieInterval]
			if taken := values[iePacketsTaken]; taken > 0 {
				rate = (taken + values[iePacketsPassed]) / taken
			}
			r.rates = append(r.rates, uint32(rate))
			continue
		}
		x.sport, x.dport, x.proto, x.flags = uint16(values[ieSrcPort]), uint16(values[ieDstPort]), uint8(values[ieProto]), uint8(values[ieFlags])
		x.packets, x.bytes, x.in, x.out, x.reason = values[iePackets], values[ieBytes], uint32(values[ieInput]), uint32(values[ieOutput]), uint8(values[ieEndReason])
		x.first, x.last = int64(values[ieStartMillis])*1e6, int64(values[ieEndMillis])*1e6
		if start != 0 {
			x.first, x.last = start+int64(values[ieFirstUptime])*1e6, start+int64(values[ieLastUptime])*1e6
		}
		r.equal("ip version", values[ieIPVersion], map[bool]uint64{false: 4, true: 6}[x.src.Is6()])
		r.records = append(r.records, x)
	}
	if len(b) > 3 {
		r.t.Errorf("%d bytes of padding", len(b))
	}
	return n
}

func (r *reader) sflow(d datagram) {
	b := d.payload
	u := func() uint32 {
		v := be.Uint32(b)
		b = b[4:]
		return v
	}
	r.equal("version", uint64(u()), 5)
	if family := u(); family == 1 {
		b = b[4:]
	} else {
		b = b[16:]
	}
	r.equal("sub-agent", uint64(u()), 77)
	r.sequence++
	r.equal("sequence", uint64(u()), uint64(r.sequence))
	u()
	n := 0
	samples := int(u())
	for ; len(b) > 0; n++ {
		kind, size := u(), u()
		rest := b[size:]
		switch kind {
		case 1:
			b = b[8:]
			r.rates = append(r.rates, u())
			b = b[8:]
			x := rec{at: d.at, packets: 1, in: u(), out: u()}
			r.equal("items", uint64(u()), 1)
			r.equal("item", uint64(u()), 1)
			r.equal("item's length", uint64(u()), uint64(size-40))
			r.equal("protocol", uint64(u()), 1)
			x.bytes = uint64(u())
			r.equal("stripped", uint64(u()), 4)
			if head := u(); head > 128 || int(head) > len(b) {
				r.t.Errorf("head of %d bytes", head)
			}
			r.records = append(r.records, x)
		case 2:
			r.equal("counters", uint64(size), 108)
			r.counters++
		default:
			r.t.Errorf("sample of kind %d", kind)
		}
		b = rest
	}
	r.equal("samples", uint64(n), uint64(samples))
}

// play exports a scenario and reads the datagrams back.
func play(t *testing.T, s gen.Scenario, cfg Config) (*reader, Result, gen.Result) {
	t.Helper()
	g, err := gen.New(s)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t}
	cfg.Domain = 77
	e, err := New(cfg, r.take)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := gen.NewTruth(g, gen.Options{CountIP: cfg.Protocol != SFlow})
	if err != nil {
		t.Fatal(err)
	}
	var f gen.Frame
	for g.Next(&f) {
		truth.Add(&f)
		if err := e.Add(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	r.parse(cfg.Protocol)
	return r, e.Result(), truth.Result()
}

func seconds(n float64) gen.Duration { return gen.Duration(n * float64(time.Second)) }
