package netflow

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

var be = binary.BigEndian

// Decoder reads NetFlow datagrams. It belongs to one goroutine.
type Decoder struct {
	deps   dataset.Deps
	reader *dataset.Reader
	rec    record.Record
}

// New returns a Decoder.
func New(deps dataset.Deps) *Decoder {
	return &Decoder{deps: deps, reader: dataset.NewReader(deps)}
}

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
	if len(b) < 2 {
		return st.Count(record.OK, record.ShortDatagram)
	}
	switch be.Uint16(b) {
	case 1:
		return d.flat(&v1, dg, st, sink)
	case 5:
		return d.flat(&v5, dg, st, sink)
	case 7:
		return d.flat(&v7, dg, st, sink)
	case 9:
		return d.decode9(dg, st, sink)
	}
	return st.Count(record.OK, record.BadVersion)
}

// seconds turns an unsigned Unix time into ns.
func seconds(s uint32) int64 { return int64(s) * 1e9 }

// decode9 reads a datagram of v9 (RFC 3954 5).
//
//	version(2) count(2) sysUptime(4) unixSeconds(4) sequence(4) sourceID(4)
func (d *Decoder) decode9(dg *record.Datagram, st *record.Stats, sink record.Sink) record.Code {
	const head = 20
	b := dg.Payload
	if len(b) < head {
		return st.Count(record.OK, record.ShortDatagram)
	}
	ctx := template.Context{Arrived: dg.Arrived, Exported: seconds(be.Uint32(b[8:])), Uptime: be.Uint32(b[4:])}
	key := template.Key{Exporter: dg.Exporter, Domain: be.Uint32(b[16:]), Protocol: record.NetFlow9}
	st.Last = record.Header{
		Protocol: record.NetFlow9, Domain: key.Domain, Sequence: be.Uint32(b[12:]), Units: 1, HasSequence: true, KnownUnits: true,
		Uptime: ctx.Uptime, Exported: ctx.Exported,
	}
	before, records := st.Templates+st.OptionTemplates, st.Records
	d.reader.Begin(key, ctx, st, sink)
	first := d.reader.Sets(b, head)
	units, known := d.reader.End()
	st.Last.Data = st.Records != records
	// The count is of records of all kinds, but many exporters get it wrong (softflowd counts templates only): it is noted, not used.
	if known && uint64(be.Uint16(b[2:])) != uint64(units)+st.Templates+st.OptionTemplates-before {
		st.Codes[record.CountLies]++
	}
	return first
}

// resolve asks the sampling configuration and the header. In v5 an interval of 0 is no sampling, unless the configuration has a default:
// some routers sample and do not say so (Huawei).
func (d *Decoder) resolve(dg *record.Datagram, l *layout, domain uint32, header float64) (float64, record.RateSource) {
	view := d.deps.Sampling.View(&dg.Exporter, l.protocol, domain)
	rate, from := view.Rate(&sampling.Query{Header: header})
	if from == record.RateUnknown && l.engine {
		return 1, record.RateHeader
	}
	return rate, from
}
