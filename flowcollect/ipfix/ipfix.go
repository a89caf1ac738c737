package ipfix

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/template"
)

var be = binary.BigEndian

// Decoder reads IPFIX messages. It belongs to one goroutine.
type Decoder struct {
	reader  *dataset.Reader
	earlier []record.Header
}

// New returns a Decoder.
func New(deps dataset.Deps) *Decoder { return &Decoder{reader: dataset.NewReader(deps)} }

// Earlier are the headers of the messages before the last one in the datagram that was last read: nearly always none. They are valid
// until the next Decode.
func (d *Decoder) Earlier() []record.Header { return d.earlier }

// headerLen is the length of the message header (RFC 7011 3.1):
//
//	version(2) length(2) exportTime(4) sequence(4) observationDomain(4)
const headerLen = 16

// maxMessages is how many messages of one datagram are read.
const maxMessages = 64

// Decode reads dg, gives every record to sink and counts in st, which is the exporter's. It returns the first trouble, else OK. dg's
// Payload is not kept. A datagram should be one message; where another whole one follows it is read too.
func (d *Decoder) Decode(dg *record.Datagram, st *record.Stats, sink record.Sink) record.Code {
	st.Datagrams++
	st.Last = record.Header{}
	d.earlier = d.earlier[:0]
	first, rest := d.message(dg, dg.Payload, st, sink)
	for n := 1; len(rest) > 0; n++ {
		if n == maxMessages {
			first = st.Count(first, record.TooMany)
			break
		}
		d.earlier = append(d.earlier, st.Last)
		var c record.Code
		if c, rest = d.message(dg, rest, st, sink); first == record.OK {
			first = c
		}
	}
	if first == record.OK {
		st.Codes[record.OK]++
	}
	return first
}

// message reads the message at the front of b and returns what lies behind it, when that is another message.
func (d *Decoder) message(dg *record.Datagram, b []byte, st *record.Stats, sink record.Sink) (first record.Code, rest []byte) {
	if len(b) >= 2 && be.Uint16(b) != 10 {
		return st.Count(record.OK, record.BadVersion), nil
	}
	if len(b) < headerLen {
		return st.Count(record.OK, record.ShortDatagram), nil
	}
	if n := int(be.Uint16(b[2:])); n != len(b) {
		if rest = behind(b, n); rest == nil {
			first = st.Count(record.OK, record.LengthLies)
		}
		b = b[:max(headerLen, min(n, len(b)))]
	}
	ctx := template.Context{Arrived: dg.Arrived, Exported: int64(be.Uint32(b[4:])) * 1e9}
	key := template.Key{Exporter: dg.Exporter, Domain: be.Uint32(b[12:]), Protocol: record.IPFIX}
	st.Last = record.Header{
		Protocol: record.IPFIX, Domain: key.Domain, Sequence: be.Uint32(b[8:]), HasSequence: true, Exported: ctx.Exported,
	}
	records := st.Records
	d.reader.Begin(key, ctx, st, sink)
	if c := d.reader.Sets(b, headerLen); first == record.OK {
		first = c
	}
	st.Last.Units, st.Last.KnownUnits = d.reader.End()
	st.Last.Data = st.Records != records
	return first, rest
}

// behind is what follows a message of n bytes at the front of b, nil unless that is the header of another one that is not longer than b.
func behind(b []byte, n int) []byte {
	if n < headerLen || len(b)-n < headerLen {
		return nil
	}
	b = b[n:]
	if be.Uint16(b) != 10 || int(be.Uint16(b[2:])) < headerLen || int(be.Uint16(b[2:])) > len(b) {
		return nil
	}
	return b
}
