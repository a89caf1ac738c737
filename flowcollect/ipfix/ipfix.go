package ipfix

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/template"
)

var be = binary.BigEndian

// Decoder reads IPFIX messages. It belongs to one goroutine.
type Decoder struct{ reader *dataset.Reader }

// New returns a Decoder.
func New(deps dataset.Deps) *Decoder { return &Decoder{reader: dataset.NewReader(deps)} }

// headerLen is the length of the message header (RFC 7011 3.1):
//
//	version(2) length(2) exportTime(4) sequence(4) observationDomain(4)
const headerLen = 16

// Decode reads dg, gives every record to sink and counts in st, which is the exporter's. It returns the first trouble, else OK. dg's
// Payload is not kept.
func (d *Decoder) Decode(dg *record.Datagram, st *record.Stats, sink record.Sink) record.Code {
	st.Datagrams++
	st.Last = record.Header{}
	c := d.decode(dg, st, sink)
	if c == record.OK {
		st.Codes[record.OK]++
	}
	return c
}

func (d *Decoder) decode(dg *record.Datagram, st *record.Stats, sink record.Sink) record.Code {
	b := dg.Payload
	if len(b) >= 2 && be.Uint16(b) != 10 {
		return st.Count(record.OK, record.BadVersion)
	}
	if len(b) < headerLen {
		return st.Count(record.OK, record.ShortDatagram)
	}
	first := record.OK
	if n := int(be.Uint16(b[2:])); n != len(b) {
		first = st.Count(first, record.LengthLies)
		b = b[:max(headerLen, min(n, len(b)))]
	}
	ctx := template.Context{Arrived: dg.Arrived, Exported: int64(be.Uint32(b[4:])) * 1e9}
	key := template.Key{Exporter: dg.Exporter, Domain: be.Uint32(b[12:]), Protocol: record.IPFIX}
	st.Last = record.Header{
		Protocol: record.IPFIX, Domain: key.Domain, Sequence: be.Uint32(b[8:]), HasSequence: true, Exported: ctx.Exported,
	}
	d.reader.Begin(key, ctx, st, sink)
	if c := d.sets(b, headerLen, st); first == record.OK {
		first = c
	}
	st.Last.Units, st.Last.KnownUnits = d.reader.End()
	return first
}

// sets walks the sets of b from pos on. Each round goes on by 4 bytes at least, or ends the walk.
func (d *Decoder) sets(b []byte, pos int, st *record.Stats) record.Code {
	first := record.OK
	for len(b)-pos >= 4 {
		id, n := be.Uint16(b[pos:]), int(be.Uint16(b[pos+2:]))
		if n < 4 {
			if id == 0 && n == 0 {
				return st.Count(first, record.ZeroFill)
			}
			return st.Count(first, record.SetTooShort)
		}
		end := pos + n
		if end > len(b) {
			end = len(b)
			first = st.Count(first, record.SetTruncated)
		}
		var c record.Code
		switch {
		case id >= template.FirstData:
			c = d.reader.Data(id, b, pos+4, end)
		case id == template.SetIPFIXData:
			c = d.reader.Templates(b[pos+4:end], template.Data)
		case id == template.SetIPFIXOption:
			c = d.reader.Templates(b[pos+4:end], template.Options)
		default:
			c = st.Count(record.OK, record.ReservedSet)
		}
		if first == record.OK {
			first = c
		}
		pos = end
	}
	if pos < len(b) {
		first = st.Count(first, record.TrailingBytes)
	}
	return first
}
