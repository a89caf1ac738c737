package sflow

import (
	"github.com/weir-ddos/weir/flowcollect/record"
)

// Source is what a sample was taken at.
type Source struct {
	// Class says what Index is: 0 an ifIndex, 1 smonVlanDataSource, 2 entPhysicalEntry.
	Class uint8
	// Index is 24 bits in compact samples, 32 in expanded ones.
	Index uint32
}

// id is the source as Record.SamplerID.
func (s Source) id() uint64 { return uint64(s.Class)<<32 | uint64(s.Index) }

// Interface is one side of a flow sample.
type Interface struct {
	// Format says what Value is.
	Format InterfaceFormat
	// Value is an ifIndex (0 unknown), a reason, or a number of interfaces (0 unknown).
	Value uint32
}

// InterfaceFormat is the meaning of an interface's value.
type InterfaceFormat uint8

// The formats. Input interfaces are only of format Index; what says otherwise has no index.
const (
	Index     InterfaceFormat = iota // an ifIndex
	Discarded                        // the packet was discarded; a reason
	Multiple                         // sent out of several interfaces; their number
)

// Internal is the ifIndex of traffic from or to the exporter itself; InternalExpanded is it in expanded samples, where not every agent
// follows that rule.
const (
	Internal         = 0x3fffffff
	InternalExpanded = 0xffffffff
)

// compact splits the 32 bits of a compact sample's interface.
func compact(v uint32) Interface { return Interface{InterfaceFormat(v >> 30), v & 0x3fffffff} }

// ifIndex is the interface's ifIndex when it has one.
func (i Interface) ifIndex() (uint32, bool) {
	if i.Format != Index || i.Value == 0 || i.Value == Internal || i.Value == InternalExpanded {
		return 0, false
	}
	return i.Value, true
}

// Sample is the part of a flow or discarded-packet sample that is not about the packet.
type Sample struct {
	// Sequence counts the source's samples.
	Sequence uint32
	Source   Source
	// Rate is the announced sampling rate, 0 unknown (and in discard samples).
	Rate uint32
	// Pool counts the packets that could have been sampled, Drops the samples (in discard samples: notifications) lost for lack of
	// resources; both wrap, both since the agent's start.
	Pool, Drops uint32
	// Input and Output are where the packet came from and went.
	Input, Output Interface
	// Reason is why a discard sample's packet was discarded (sFlow Dropped Packet Notification Structures), 0 in flow samples.
	Reason uint32
}

// Sizes of the fixed parts of version 5 samples.
const (
	flowSize         = 32
	expandedFlowSize = 44
	discardSize      = 32
)

// flow5 reads a flow sample of version 5.
func (d *Decoder) flow5(c cursor, expanded bool) {
	s := &d.sample
	var n uint32
	if expanded {
		b := c.fixed(expandedFlowSize)
		if b == nil {
			d.count(record.TruncatedItem)
			return
		}
		*s = Sample{
			Sequence: be.Uint32(b), Source: Source{uint8(be.Uint32(b[4:])), be.Uint32(b[8:])},
			Rate: be.Uint32(b[12:]), Pool: be.Uint32(b[16:]), Drops: be.Uint32(b[20:]),
			Input: wide(b[24:32]), Output: wide(b[32:40]),
		}
		n = be.Uint32(b[40:])
	} else {
		if d.lone(c.b) {
			return
		}
		b := c.fixed(flowSize)
		if b == nil {
			d.count(record.TruncatedItem)
			return
		}
		s.compact((*[flowSize]byte)(b))
		n = be.Uint32(b[28:])
	}
	d.begin(record.Section)
	d.items(&c, n)
	d.emit()
}

// compact fills s from the fixed part of a compact sample.
func (s *Sample) compact(b *[flowSize]byte) {
	s.Sequence, s.Source = be.Uint32(b[:]), compactSource(be.Uint32(b[4:]))
	s.Rate, s.Pool, s.Drops = be.Uint32(b[8:]), be.Uint32(b[12:]), be.Uint32(b[16:])
	s.Input, s.Output, s.Reason = compact(be.Uint32(b[20:])), compact(be.Uint32(b[24:])), 0
}

// wide is the interface in two words of an expanded sample.
func wide(b []byte) Interface {
	return Interface{InterfaceFormat(min(be.Uint32(b), 255)), be.Uint32(b[4:])}
}

// compactSource splits the 32 bits of a compact sample's source.
func compactSource(id uint32) Source { return Source{uint8(id >> 24), id & 0xffffff} }

// discard5 reads a discarded-packet sample: one packet that the exporter threw away, and why.
func (d *Decoder) discard5(c cursor) {
	b := c.fixed(discardSize)
	if b == nil {
		d.count(record.TruncatedItem)
		return
	}
	d.sample = Sample{
		Sequence: be.Uint32(b), Source: Source{uint8(be.Uint32(b[4:])), be.Uint32(b[8:])}, Drops: be.Uint32(b[12:]),
		Input: Interface{Value: be.Uint32(b[16:])}, Output: Interface{Value: be.Uint32(b[20:])}, Reason: be.Uint32(b[24:]),
	}
	n := be.Uint32(b[28:])
	d.begin(record.Discard)
	d.items(&c, n)
	d.emit()
}

// begin starts the record of d.sample.
func (d *Decoder) begin(k record.Kind) {
	d.empty()
	d.alike = false
	d.packet = packet{}
	d.take(k)
}

// empty starts the record of a sample, or of samples that all set the same of it.
func (d *Decoder) empty() {
	r := &d.rec
	*r = record.Record{} // field by field, since a literal would be built aside and copied
	r.Exporter, r.Agent, r.Arrived, r.Domain, r.Protocol = d.now.Exporter, d.agent, d.now.Arrived, d.domain, d.version
	r.Packets = 1
}

// take writes to the record what d.sample says: the same fields each time.
func (d *Decoder) take(k record.Kind) {
	s, r := &d.sample, &d.rec
	r.Kind, r.SamplerID = k, s.Source.id()
	r.Has = record.HasPackets | record.HasSampler
	r.SamplingRate, r.RateFrom = 0, record.RateUnknown
	r.Dropped, r.ForwardingStatus, r.Direction = false, 0, record.UnknownDirection
	switch {
	case k == record.Discard: // each stands for itself
		r.SamplingRate, r.RateFrom = 1, record.RateRecord
		r.Dropped = true
		r.ForwardingStatus = forwardingStatus(s.Reason)
		r.Has |= record.HasForwarding
	case s.Rate != 0:
		r.SamplingRate, r.RateFrom = float64(s.Rate), record.RateRecord
	}
	var ok bool
	if r.Input, ok = s.Input.ifIndex(); ok {
		r.Has |= record.HasInput
	}
	if r.Output, ok = s.Output.ifIndex(); ok {
		r.Has |= record.HasOutput
	}
	if s.Output.Format == Discarded {
		r.Dropped = true
		r.ForwardingStatus = forwardingStatus(s.Output.Value)
		r.Has |= record.HasForwarding
	}
	d.direction()
}

// direction tells from the source, where that is an interface, on which side of the exporter the packet was sampled.
func (d *Decoder) direction() {
	s, r := &d.sample, &d.rec
	if s.Source.Class != 0 || s.Source.Index == 0 {
		return
	}
	switch s.Source.Index {
	case r.Input:
		r.Direction = record.Ingress
	case r.Output:
		r.Direction = record.Egress
	default:
		return
	}
	r.Has |= record.HasDirection
}

// forwardingStatus is the RFC 7270 forwardingStatus, with "dropped" in its upper two bits, of an sFlow discard reason: an ICMP
// unreachable code below 256, sFlow's own numbers from there on.
func forwardingStatus(reason uint32) uint8 {
	const dropped = 0b10 << 6
	switch reason {
	case 0, 1, 6, 7, 11, 12: // network or host unreachable or unknown
		return dropped | 3 // unroutable
	case 9, 10, 13, 258: // administratively prohibited, ACL
		return dropped | 1 // ACL deny
	case 4, 262: // fragmentation needed, packet too big
		return dropped | 5 // fragmentation and DF set
	case 257: // TTL exceeded
		return dropped | 9 // bad TTL
	case 260: // random early discard
		return dropped | 11 // WRED
	case 261: // traffic shaping, rate limiting
		return dropped | 10 // policer
	}
	return dropped // unknown
}
