package sflow

import "github.com/weir-ddos/weir/flowcollect/record"

// Flow item formats of version 5 with enterprise 0 (sflow.org/developers/structures.php).
const (
	itemRawHeader       = 1
	itemEthernet        = 2
	itemIPv4            = 3
	itemIPv6            = 4
	itemSwitch          = 1001
	itemRouter          = 1002
	itemGateway         = 1003
	itemIPv4TunnelIn    = 1024
	itemIPv6TunnelIn    = 1026
	itemFirstExtended   = 1001
	itemLastExtended    = 1042
	itemSocketIPv4      = 2100 // up to 2103: sockets and proxies of the host structures
	itemLastHostRelated = 2207 // applications
)

// items reads n items of a version 5 sample, or as many as there are.
func (d *Decoder) items(c *cursor, n uint32) {
	for ; n > 0 && len(c.b) >= 8; n-- {
		format, size := be.Uint32(c.b), be.Uint32(c.b[4:])
		c.b = c.b[8:]
		item := cursor{b: c.bytes(size)}
		if !d.item(format, &item) || c.short {
			d.count(record.TruncatedItem)
		}
	}
	if n > 0 && !c.short {
		d.count(record.TruncatedItem)
	}
}

// item reads one item; false when it is shorter than its type.
func (d *Decoder) item(format uint32, c *cursor) bool {
	p := &d.packet
	switch format {
	case itemRawHeader:
		if len(c.b) < 16 {
			return false
		}
		b := c.b
		c.b = b[16:]
		p.rawHeader(be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:]), c.bytes(be.Uint32(b[12:])))
		return !c.short
	case itemEthernet:
		if len(c.b) < ethernetSize {
			return false
		}
		p.macLength, p.hasMAC = c.u32(), true
	case itemIPv4:
		return keep(&p.fields, c.b, ipv4Size)
	case itemIPv6:
		return keep(&p.fields, c.b, ipv6Size)
	case itemIPv4TunnelIn:
		return keep(&p.tunnel, c.b, ipv4Size)
	case itemIPv6TunnelIn:
		return keep(&p.tunnel, c.b, ipv6Size)
	case itemSwitch:
		return d.switched(c)
	case itemRouter:
		return d.routed(c)
	case itemGateway:
		return d.gateway(c)
	default:
		// What describes no packet but its context is known and left out: users, URLs, NAT, MPLS names, tunnels to come, queues,
		// sockets. Enterprise formats have a number in the upper 20 bits.
		known := format >= itemFirstExtended && format <= itemLastExtended || format >= itemSocketIPv4 && format <= itemLastHostRelated
		if !known {
			d.count(record.UnknownItem)
		}
	}
	return true
}

// keep points to at the first size bytes of b unless it points at something already; false when b is shorter.
func keep(to *[]byte, b []byte, size int) bool {
	if len(b) < size {
		return false
	}
	if *to == nil {
		*to = b[:size:size]
	}
	return true
}

// switched reads extended_switch: VLANs and priorities.
func (d *Decoder) switched(c *cursor) bool {
	if len(c.b) < 16 {
		return false
	}
	src, dst := be.Uint32(c.b), be.Uint32(c.b[8:])
	c.b = c.b[16:]
	d.packet.vlans = true
	d.rec.SrcVLAN, d.rec.DstVLAN = vlan(src), vlan(dst)
	return true
}

// vlan is a VLAN id, 0 for what is none: 0xffffffff stands for unknown.
func vlan(v uint32) uint16 {
	if v > 4095 {
		return 0
	}
	return uint16(v)
}

// routed reads extended_router: the next hop and the lengths of both prefixes.
func (d *Decoder) routed(c *cursor) bool {
	var hop [16]byte
	if !c.address(&hop) {
		return d.addressFault(c)
	}
	src, dst := c.u32(), c.u32()
	if c.short {
		return false
	}
	r := &d.rec
	r.NextHop = hop
	r.SrcMask, r.DstMask = mask(src), mask(dst)
	return true
}

// addressFault ends an item at an address of unknown type. In version 5 that is no lack of bytes: the next item can be found (true).
func (d *Decoder) addressFault(c *cursor) bool {
	if c.short {
		return false
	}
	c.b = nil
	d.count(record.BadAddressType)
	return d.version == record.SFlow5
}

// mask is a prefix length; agents send 0xffffffff for unknown.
func mask(v uint32) uint8 {
	if v > 128 {
		return 0
	}
	return uint8(v)
}

// gateway reads extended_gateway of version 4 or 5: the systems, and the path to the destination.
func (d *Decoder) gateway(c *cursor) bool {
	r := &d.rec
	if d.version == record.SFlow5 {
		var hop [16]byte
		if !c.address(&hop) {
			return d.addressFault(c)
		}
		if r.NextHop == ([16]byte{}) {
			r.NextHop = hop
		}
	}
	own, src := c.u32(), c.u32()
	c.skip(1) // src_peer_as
	dst := own
	if d.version == record.SFlow2 {
		if n := c.u32(); n > 0 {
			c.skip(n - 1)
			dst = c.u32()
		}
	} else {
		for n := c.u32(); n > 0 && !c.short; n-- {
			c.skip(1) // set or sequence
			if length := c.u32(); length > 0 {
				c.skip(length - 1)
				dst = c.u32()
			}
		}
		c.skip(c.u32()) // communities
		c.skip(1)       // localpref
	}
	if c.short {
		return false
	}
	r.SrcAS, r.DstAS = src, dst
	return true
}
