package record

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Record is one flow, in one direction. Fields that the exporter did not send are zero; Has says which were sent where zero is a value.
type Record struct {
	// Src and Dst are 16-byte addresses, IPv4 v4-mapped. They are those of the packets, before any NAT. All zero: not exported.
	Src, Dst [16]byte
	// NextHop is the IP next hop (IE 15, 62), or the BGP next hop (18, 63) when only that was sent. All zero: unknown.
	NextHop [16]byte
	// Exporter is the address that the datagram came from (in sFlow too: Agent is apart), IPv4 v4-mapped.
	Exporter [16]byte
	// Agent is sFlow's agent address; in NetFlow and IPFIX it equals Exporter.
	Agent [16]byte

	// Packets and Bytes are as exported: before scaling. Bytes are IP bytes, in sFlow frame bytes without FCS.
	Packets, Bytes uint64
	// PostPackets and PostBytes are the counters behind the exporter's egress (IE 24, 23) where 2 and 1 were exported besides.
	PostPackets, PostBytes uint64
	// PriorPackets and PriorBytes are what earlier records of the same flow have counted already, where Packets and Bytes are Totals.
	PriorPackets, PriorBytes uint64
	// L2Bytes is the length with layer 2 headers (IE 352, 353, 312; sFlow frame length), 0 unknown.
	L2Bytes uint64
	// DroppedPackets and DroppedBytes are what the exporter says it discarded of this flow (IE 132 to 135). They are not part of
	// Packets and Bytes. A flow that was dropped as a whole has Dropped set and its counts in Packets and Bytes.
	DroppedPackets, DroppedBytes uint64

	// SamplingRate is how many packets each exported one stands for; 1 is unsampled, 0 unknown. It may be fractional (3 of 10).
	SamplingRate float64

	// Start and End are the exporter's times of the first and last packet, ns since the Unix epoch; 0 unknown. Exporters' clocks are
	// often wrong: for rates use Duration and anchor it at Arrived.
	Start, End int64
	// Duration is from the first to the last packet in ns, never negative; meaningful when Has has HasDuration. Where there are
	// PriorPackets it is not longer than the time since they were counted.
	Duration int64
	// Arrived is when the datagram was received, ns since the Unix epoch.
	Arrived int64

	// SamplerID is what joins the record with its sampling options: IE 302 (selectorId) or 48 (samplerId); in sFlow the source id.
	SamplerID uint64

	// Has says which of the optional parts were exported.
	Has Has
	// Domain is the observation domain (IPFIX), source id (v9), engine type<<8 | engine id (v5, v7) or sub-agent (sFlow v5).
	Domain uint32
	// Input and Output are interface indexes (ifIndex), 0 unknown.
	Input, Output uint32
	// SrcAS and DstAS are autonomous systems, 0 unknown.
	SrcAS, DstAS uint32
	// MPLSLabel is the top label's 20 bits.
	MPLSLabel uint32
	// Template is the template id that the record was described by, 0 in protocols without.
	Template uint16
	// SrcPort and DstPort are valid with HasPorts.
	SrcPort, DstPort uint16
	// SrcVLAN and DstVLAN are VLAN ids before and after the exporter (IE 58 or 243, 59 or 254), 0 unknown.
	SrcVLAN, DstVLAN uint16
	// FragmentOffset is IE 88 in 8-byte units.
	FragmentOffset uint16
	// ICMPType and ICMPCode are valid with HasICMP.
	ICMPType, ICMPCode uint8
	// Proto is the IP protocol.
	Proto uint8
	// TCPFlags is every flag seen on the flow.
	TCPFlags uint8
	// TOS is the type of service or traffic class.
	TOS uint8
	// TTL is the time to live or hop limit, the lowest that was seen on the flow; valid with HasTTL.
	TTL uint8
	// SrcMask and DstMask are prefix lengths of the routes.
	SrcMask, DstMask uint8
	// ForwardingStatus is IE 89 (RFC 7270), valid with HasForwarding.
	ForwardingStatus uint8
	// FlowEndReason is IE 136: 1 idle, 2 active timeout, 3 end of flow, 4 forced end, 5 lack of resources; 0 unknown.
	FlowEndReason uint8
	// Direction is where on the exporter the packets were seen.
	Direction Direction
	// Protocol is what the record came in.
	Protocol Protocol
	// Kind is what sort of record this is.
	Kind Kind
	// RateFrom says where SamplingRate comes from.
	RateFrom RateSource
	// TimeFrom says how Start, End and Duration were known.
	TimeFrom TimeSource
	// Dropped is set when the exporter did not forward these packets: forwarding status 0b10, Juniper's drop code, sFlow discards.
	Dropped bool
	// Fragment is set when the packets are known to be IP fragments.
	Fragment bool
	// Totals is set when Packets and Bytes are totals since the flow's start (IE 85, 86) and not the change since its last record.
	Totals bool
	// _ makes the padding explicit, so that records can be compared byte by byte.
	_ [6]byte
}

// Has is a set of parts that a record has.
type Has uint32

// The parts.
const (
	HasSrc Has = 1 << iota
	HasDst
	HasProto
	HasPorts
	HasFlags
	HasICMP
	HasPackets
	HasBytes
	HasDirection
	HasForwarding
	HasDuration
	HasInput
	HasOutput
	HasSampler
	HasMPLS
	HasDroppedCounts
	HasTTL
)

// Counts is what the record counts, before scaling: Packets and Bytes less what was counted before, or the post counters of a flow that
// was metered at egress only and so has nothing in those.
func (r *Record) Counts() (packets, bytes uint64) {
	if r.Packets|r.Bytes == 0 {
		return r.PostPackets, r.PostBytes
	}
	return r.Packets - r.PriorPackets, r.Bytes - r.PriorBytes
}

// Traffic says that the record can be charged: it has both addresses and something to count.
func (r *Record) Traffic() bool {
	p, b := r.Counts()
	return r.Has&(HasSrc|HasDst) == HasSrc|HasDst && p|b != 0
}

// Class is the class that the record is counted in. A flow with SYN among its flags is counted as SYN: exporters or all flags together.
func (r *Record) Class() traffic.Class { return traffic.ClassOf(r.Proto, r.TCPFlags, r.Fragment) }

// Scale multiplies a count of this record by its sampling rate, rounded and saturated; an unknown rate counts as 1.
func (r *Record) Scale(n uint64) uint64 {
	if r.SamplingRate <= 1 {
		return n
	}
	f := float64(n)*r.SamplingRate + 0.5
	if f >= 1<<63 {
		return 1 << 63
	}
	return uint64(f)
}

// SetIP takes addresses, ports, flags and fragment of a decoded packet head.
func (r *Record) SetIP(ip *wire.IP) {
	copyWords(&r.Src, &ip.Src)
	copyWords(&r.Dst, &ip.Dst)
	r.Proto, r.TCPFlags, r.Fragment = ip.Proto, ip.TCPFlags, ip.Fragment
	r.TTL = ip.TTL
	r.Has |= HasSrc | HasDst | HasProto | HasTTL
	r.Has &^= HasPorts | HasFlags | HasICMP
	r.SrcPort, r.DstPort, r.ICMPType, r.ICMPCode = 0, 0, 0, 0
	if ip.HasPorts {
		r.SrcPort, r.DstPort = ip.SrcPort, ip.DstPort
		r.Has |= HasPorts
		if ip.Proto == wire.ProtoTCP {
			r.Has |= HasFlags
		}
	}
}

// copyWords copies an address word by word, as the packet decoder has just written it: one load of what two stores wrote is waited for.
func copyWords(to, from *[16]byte) {
	binary.NativeEndian.PutUint64(to[:8], binary.NativeEndian.Uint64(from[:8]))
	binary.NativeEndian.PutUint64(to[8:], binary.NativeEndian.Uint64(from[8:]))
}

// Reverse turns the record's ends round: addresses, ports, interfaces, systems, masks, VLANs. Counts stay.
func (r *Record) Reverse() {
	r.Src, r.Dst = r.Dst, r.Src
	r.SrcPort, r.DstPort = r.DstPort, r.SrcPort
	r.Input, r.Output = r.Output, r.Input
	r.SrcAS, r.DstAS = r.DstAS, r.SrcAS
	r.SrcMask, r.DstMask = r.DstMask, r.SrcMask
	r.SrcVLAN, r.DstVLAN = r.DstVLAN, r.SrcVLAN
	r.Has = swap(swap(r.Has, HasSrc, HasDst), HasInput, HasOutput)
}

func swap(h, a, b Has) Has {
	out := h &^ (a | b)
	if h&a != 0 {
		out |= b
	}
	if h&b != 0 {
		out |= a
	}
	return out
}

// Sink takes records. Record is called once for each, on the decoder's goroutine; r is reused and valid only during the call. It must not
// be changed, but for the sampling rate of an sFlow sample.
type Sink interface {
	Record(r *Record)
}

// SinkFunc is a function that is a Sink.
type SinkFunc func(*Record)

// Record calls f.
func (f SinkFunc) Record(r *Record) { f(r) }

// MapIPv4 writes the v4-mapped form of the four bytes of b to a, in two words: an address that is written byte by byte is waited for
// when it is read.
func MapIPv4(a *[16]byte, b *[4]byte) {
	binary.BigEndian.PutUint64(a[:8], 0)
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(b[:])))
}
