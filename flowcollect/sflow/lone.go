package sflow

import (
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// lone reads the body of a compact flow sample as nearly all are: one item, which is the head of an Ethernet frame that begins with IP.
// For anything else it returns false, and nothing has happened. What it reads, flow5 reads alike (TestLone).
func (d *Decoder) lone(b []byte) bool {
	const rest = flowSize + 8 // the item's type and size are the last words before it
	const front = rest + 16
	if len(b) < front+14 || be.Uint64(b[flowSize-4:]) != 1<<32|itemRawHeader || be.Uint32(b[rest:]) != headerEthernet {
		return false
	}
	size, n := uint64(be.Uint32(b[rest-4:])), uint64(be.Uint32(b[rest+12:]))
	if size != uint64(len(b)-rest) || n < 14 || n > size-16 || size-16-n > 3 {
		return false
	}
	head := b[front : front+int(n)]
	if t := be.Uint16(head[12:]); t != etherIPv4 && t != etherIPv6 {
		return false
	}
	if d.cfg.Wire.Decode(wire.LinkEthernet, head, &d.headers) != wire.OK {
		return false
	}
	ip, second := d.headers.Charged()
	if second != nil {
		return false
	}
	d.codes[wire.OK]++
	d.sample.compact((*[flowSize]byte)(b))
	if !d.alike {
		d.empty()
		d.alike = true
	}
	d.take(record.Section)
	d.countRecord()
	d.rec.SetIP(ip)
	if d.cfg.Heads {
		d.rec.SetHead(wire.LinkEthernet, head, ip)
	}
	d.frame(be.Uint32(b[rest+4:]), be.Uint32(b[rest+8:]), ip)
	d.out.Record(&d.rec)
	return true
}

// frame is length for an Ethernet head.
func (d *Decoder) frame(length, stripped uint32, ip *wire.IP) {
	r := &d.rec
	r.Bytes, r.L2Bytes = uint64(length), uint64(length)
	r.Has |= record.HasBytes
	switch {
	case d.cfg.Bytes == FrameWithoutFCS && stripped >= fcsSize && length >= fcsSize:
		r.Bytes -= fcsSize
	case d.cfg.Bytes == IPLength && ip.Length >= 20:
		r.Bytes = uint64(ip.Length)
	}
}
