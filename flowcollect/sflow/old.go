package sflow

import "github.com/weir-ddos/weir/flowcollect/record"

// Tags of versions 2 and 4.
const (
	tagFlow     = 1
	tagCounters = 2

	tagHeader = 1
	tagIPv4   = 2
	tagIPv6   = 3

	tagSwitch  = 1
	tagRouter  = 2
	tagGateway = 3
	tagUser    = 4
	tagURL     = 5

	flow4Size = 28 // up to the packet data
)

// samples4 reads n samples of version 2 or 4, or as many as there are. These versions have no lengths, so the first thing that cannot be
// read ends the datagram.
func (d *Decoder) samples4(c *cursor, n uint32) {
	for ; n > 0 && len(c.b) > 0; n-- {
		ok := false
		switch tag := c.u32(); {
		case tag == tagFlow:
			ok = d.flow4(c)
		case tag == tagCounters:
			ok = d.counters4(c)
		case !c.short:
			d.count(record.UnknownSample)
			return
		}
		if c.short {
			d.count(record.TruncatedSample)
			return
		}
		if !ok {
			return
		}
	}
	d.end(c, n)
}

// flow4 reads a flow sample; false when nothing behind it can be found. The record of a sample with a complete packet is given out even
// when what follows the packet cannot be read.
func (d *Decoder) flow4(c *cursor) bool {
	s := &d.sample
	b := c.fixed(flow4Size)
	if b == nil {
		return false
	}
	*s = Sample{
		Sequence: be.Uint32(b), Source: compactSource(be.Uint32(b[4:])),
		Rate: be.Uint32(b[8:]), Pool: be.Uint32(b[12:]), Drops: be.Uint32(b[16:]),
		Input: Interface{Value: be.Uint32(b[20:])}, Output: Interface{Value: be.Uint32(b[24:])},
	}
	if s.Output.Value&(1<<31) != 0 {
		s.Output = Interface{Multiple, s.Output.Value &^ (1 << 31)}
	}
	d.begin(record.Section)
	if !d.packet4(c) {
		return false
	}
	ok := true
	for n := c.u32(); n > 0 && ok && !c.short; n-- {
		ok = d.extended4(c)
	}
	d.emit()
	return ok
}

// packet4 reads the sample's packet_data.
func (d *Decoder) packet4(c *cursor) bool {
	p := &d.packet
	switch tag := c.u32(); {
	case c.short:
		return false
	case tag == tagHeader:
		protocol, length := c.u32(), c.u32()
		p.rawHeader(protocol, length, 0, c.bytes(c.u32()))
	case tag == tagIPv4:
		p.fields = c.fixed(ipv4Size)
	case tag == tagIPv6:
		p.fields = c.fixed(ipv6Size)
	default:
		d.count(record.UnknownTag)
		return false
	}
	return !c.short
}

// extended4 reads one extended item; false when its end cannot be found.
func (d *Decoder) extended4(c *cursor) bool {
	switch tag := c.u32(); {
	case c.short:
	case tag == tagSwitch:
		if !d.switched(c) {
			c.b, c.short = nil, true
		}
	case tag == tagRouter:
		return d.routed(c)
	case tag == tagGateway:
		return d.gateway(c)
	case tag == tagUser:
		c.bytes(c.u32())
		c.bytes(c.u32())
	case tag == tagURL:
		c.skip(1) // direction
		c.bytes(c.u32())
	default:
		d.count(record.UnknownTag)
		return false
	}
	return !c.short
}
