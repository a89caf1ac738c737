package netflow

import (
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// layout is a version whose records all have one form. They differ in so little that one reader does:
//
//	src(4) dst(4) nextHop(4) input(2) output(2) packets(4) octets(4) first(4) last(4) srcPort(2) dstPort(2)
//	v1:      pad(2) proto(1) tos(1) flags(1) ...
//	v5, v7:  pad(1) flags(1) proto(1) tos(1) srcAS(2) dstAS(2) srcMask(1) dstMask(1) ...
type layout struct {
	protocol record.Protocol
	head     int // bytes of the header
	size     int // bytes of a record
	short    int // bytes of a record of exporters that leave the tail out, 0 none
	// engine says that the header has a sequence number, an engine and, in v5, a sampling interval.
	sequence, engine bool
	flags, proto     int // offsets in the record
	tos              int
	systems          bool // has AS numbers and masks
}

var (
	// softflowd writes v1 records of 48 bytes instead of 52.
	v1 = layout{protocol: record.NetFlow1, head: 16, size: 52, short: 48, flags: 40, proto: 38, tos: 39}
	v5 = layout{protocol: record.NetFlow5, head: 24, size: 48, sequence: true, engine: true, flags: 37, proto: 38, tos: 39, systems: true}
	v7 = layout{protocol: record.NetFlow7, head: 24, size: 52, sequence: true, flags: 37, proto: 38, tos: 39, systems: true}
)

// flat reads a datagram of records of one layout.
//
//	version(2) count(2) sysUptime(4) unixSeconds(4) unixNanos(4) [sequence(4) engineType(1) engineID(1) sampling(2)]
func (d *Decoder) flat(l *layout, dg *record.Datagram, st *record.Stats, sink record.Sink) record.Code {
	b := dg.Payload
	if len(b) < l.head {
		return st.Count(record.OK, record.ShortDatagram)
	}
	count := int(be.Uint16(b[2:]))
	h := record.Header{
		Protocol: l.protocol, Uptime: be.Uint32(b[4:]), Exported: seconds(be.Uint32(b[8:])) + int64(be.Uint32(b[12:])),
		HasSequence: l.sequence, KnownUnits: true,
	}
	header := 0.0
	if l.sequence {
		h.Sequence = be.Uint32(b[16:])
	}
	if l.engine {
		h.Domain = uint32(be.Uint16(b[20:]))
		// The upper two bits are the mode, which Juniper leaves at 0 while it samples.
		header = float64(be.Uint16(b[22:]) & 0x3fff)
	}
	size := l.size
	body := b[l.head:]
	if l.short != 0 && len(body) == count*l.short {
		size = l.short
	}
	first := record.OK
	if have := len(body) / size; count > have || len(body) != count*size {
		c := record.TrailingBytes
		if count > have {
			c = record.CountLies
		}
		first = st.Count(first, c)
		count = min(count, have)
	}
	h.Units = uint32(count)
	st.Last = h
	base := record.Record{
		Exporter: dg.Exporter, Agent: dg.Exporter, Arrived: dg.Arrived, Domain: h.Domain, Protocol: l.protocol,
		Has: record.HasSrc | record.HasDst | record.HasProto | record.HasPorts | record.HasPackets | record.HasBytes |
			record.HasInput | record.HasOutput | record.HasFlags,
	}
	base.SamplingRate, base.RateFrom = d.resolve(dg, l, h.Domain, header)
	st.Records += uint64(count)
	if base.RateFrom == record.RateUnknown {
		st.UnknownRate += uint64(count)
	}
	return d.flows(l, &h, body, size, count, &base, st, sink, first)
}

// flows reads count records of size bytes, which body has. What differs from record to record is written in each, the rest once.
func (d *Decoder) flows(l *layout, h *record.Header, body []byte, size, count int, base *record.Record, st *record.Stats, sink record.Sink, first record.Code) record.Code {
	r := &d.rec
	*r = *base
	for range count {
		if len(body) < 48 || len(body) < size {
			break // cannot be: count was cut to what is there
		}
		b := (*[48]byte)(body)
		body = body[size:]
		record.MapIPv4(&r.Src, (*[4]byte)(b[0:4]))
		record.MapIPv4(&r.Dst, (*[4]byte)(b[4:8]))
		r.NextHop = [16]byte{}
		if be.Uint32(b[8:]) != 0 {
			record.MapIPv4(&r.NextHop, (*[4]byte)(b[8:12]))
		}
		r.Input, r.Output = uint32(be.Uint16(b[12:])), uint32(be.Uint16(b[14:]))
		r.Packets, r.Bytes = uint64(be.Uint32(b[16:])), uint64(be.Uint32(b[20:]))
		r.SrcPort, r.DstPort = be.Uint16(b[32:]), be.Uint16(b[34:])
		r.Proto, r.TOS = b[38], b[39]
		r.TCPFlags = b[l.flags%48] // the remainder changes nothing and saves the bounds check
		if l.systems {
			r.SrcAS, r.DstAS = uint32(be.Uint16(b[40:])), uint32(be.Uint16(b[42:]))
			r.SrcMask, r.DstMask = b[44], b[45]
		}
		r.Has = base.Has
		r.ICMPType, r.ICMPCode = 0, 0
		if r.Proto == wire.ProtoICMP {
			r.ICMPType, r.ICMPCode = b[34], b[35]
			r.Has |= record.HasICMP
		}
		r.Duration = 0
		if !r.SetUptimes(h.Exported, h.Uptime, be.Uint32(b[24:]), be.Uint32(b[28:])) {
			first = st.Count(first, record.TimeBackwards)
		}
		sink.Record(r)
	}
	return first
}
