package sflow

import "github.com/weir-ddos/weir/flowcollect/record"

// Counters is a generic interface counter block (if_counters, RFC 2863 terms): totals since the interface came up, which wrap.
type Counters struct {
	// Exporter, Agent, Domain (the sub-agent), Arrived and Protocol are as in record.Record.
	Exporter, Agent [16]byte
	Domain          uint32
	Arrived         int64
	Protocol        record.Protocol
	// Uptime is the agent's, in ms, when it sent the datagram.
	Uptime uint32
	// Sequence counts the source's counter samples.
	Sequence uint32
	Source   Source

	// Index is ifIndex, Type ifType (6 Ethernet), Speed ifSpeed in bit/s.
	Index, Type uint32
	Speed       uint64
	// Direction is 0 unknown, 1 full duplex, 2 half duplex, 3 in, 4 out. Status has ifAdminStatus in bit 0 and ifOperStatus in bit 1.
	Direction, Status uint32

	InOctets                                                     uint64
	InUnicast, InMulticast, InBroadcast                          uint32
	InDiscards, InErrors, InUnknown                              uint32
	OutOctets                                                    uint64
	OutUnicast, OutMulticast, OutBroadcast, OutDiscards, OutErrs uint32
	// Promiscuous is ifPromiscuousMode.
	Promiscuous uint32
}

// Counter formats and sizes.
const (
	counterGeneric = 1 // version 5

	genericSize = 88

	// counters_type of versions 2 and 4, all but VLAN begin with a generic block.
	countersEthernet  = 2
	countersTokenRing = 3
	countersFDDI      = 4
	countersVG        = 5
	countersWAN       = 6
	countersVLAN      = 7
)

// counters5 reads a counter sample of version 5: items of which the generic block is of interest.
func (d *Decoder) counters5(c cursor, expanded bool) {
	sequence := c.u32()
	var from Source
	if expanded {
		from = Source{uint8(c.u32()), c.u32()}
	} else {
		from = compactSource(c.u32())
	}
	n := c.u32()
	if c.short {
		d.count(record.TruncatedItem)
		return
	}
	d.st.CounterSamples++
	for ; n > 0 && len(c.b) >= 8; n-- {
		format, size := c.u32(), c.u32()
		item := cursor{b: c.bytes(size)}
		if c.short || format == counterGeneric && len(item.b) < genericSize {
			d.count(record.TruncatedItem)
			continue
		}
		if format == counterGeneric {
			d.generic(&item, sequence, from)
		}
	}
}

// counters4 reads a counter sample of version 2 or 4; false when its end cannot be found.
func (d *Decoder) counters4(c *cursor) bool {
	sequence, id := c.u32(), c.u32()
	c.skip(1) // sampling_interval
	kind := c.u32()
	if c.short {
		return false
	}
	var more uint32
	switch kind {
	case counterGeneric, countersFDDI, countersWAN:
	case countersEthernet:
		more = 52
	case countersTokenRing:
		more = 72
	case countersVG:
		more = 80
	case countersVLAN:
		c.skip(28 / 4)
		return d.countersDone(c)
	default:
		d.count(record.UnknownTag)
		return false
	}
	if len(c.b) < genericSize {
		c.b, c.short = nil, true
		return false
	}
	d.generic(c, sequence, compactSource(id))
	c.skip(more / 4)
	return d.countersDone(c)
}

// countersDone counts a complete counter sample.
func (d *Decoder) countersDone(c *cursor) bool {
	if c.short {
		return false
	}
	d.st.CounterSamples++
	return true
}

// generic gives a generic block of full size to the visitor.
func (d *Decoder) generic(c *cursor, sequence uint32, from Source) {
	if d.visitor == nil {
		c.skip(genericSize / 4)
		return
	}
	d.counters = Counters{
		Exporter: d.now.Exporter, Agent: d.agent, Domain: d.domain, Arrived: d.now.Arrived, Protocol: d.version, Uptime: d.uptime,
		Sequence: sequence, Source: from,
		Index: c.u32(), Type: c.u32(), Speed: c.u64(), Direction: c.u32(), Status: c.u32(),
		InOctets: c.u64(), InUnicast: c.u32(), InMulticast: c.u32(), InBroadcast: c.u32(),
		InDiscards: c.u32(), InErrors: c.u32(), InUnknown: c.u32(),
		OutOctets: c.u64(), OutUnicast: c.u32(), OutMulticast: c.u32(), OutBroadcast: c.u32(), OutDiscards: c.u32(), OutErrs: c.u32(),
		Promiscuous: c.u32(),
	}
	d.visitor.Counters(&d.counters)
}
