package dataset

import (
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// ethernet is dataLinkFrameType's value for IEEE 802.3 (IE 408).
const ethernet = 1

// section reads the head of a packet that the record carries, through the same decoder as packets, and hands the record on.
func (d *Reader) section(p *template.Program, r *record.Record) record.Code {
	v := &d.values.V
	r.Kind = record.Section
	if r.Packets == 0 {
		r.Packets = 1
		r.Has |= record.HasPackets
	}
	if p.Slots.Has(template.FrameSize) {
		r.L2Bytes = v[template.FrameSize]
	}
	if r.Has&(record.HasSrc|record.HasDst) == record.HasSrc|record.HasDst {
		d.sink.Record(r) // the exporter has read it already
		return record.OK
	}
	head := d.values.Section
	if n := v[template.SectionOctets]; p.Slots.Has(template.SectionOctets) && n > 0 && n < uint64(len(head)) {
		head = head[:n] // a field of fixed length, zero filled
	}
	if p.Slots.Has(template.FrameType) && v[template.FrameType] != ethernet {
		head = nil
	}
	if c := d.deps.Wire.Decode(p.SectionLink, head, &d.headers); !c.Addressed() {
		if r.Bytes == 0 {
			r.Bytes = r.L2Bytes
		}
		d.sink.Record(r)
		return record.SectionUnreadable
	}
	if r.Bytes == 0 {
		if r.Bytes = uint64(d.headers.Outer.Length); r.Bytes == 0 {
			r.Bytes = r.L2Bytes
		}
		r.Has |= record.HasBytes
	}
	a, b := d.headers.Charged()
	r.SetIP(a)
	r.SetHead(p.SectionLink, head, a)
	d.sink.Record(r)
	if b != nil {
		r.Kind = record.SectionTunnel
		r.SetIP(b)
		r.SetHead(p.SectionLink, head, b)
		d.sink.Record(r)
	}
	return record.OK
}
