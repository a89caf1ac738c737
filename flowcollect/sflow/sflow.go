package sflow

import (
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// ByteCount says what Record.Bytes of a sampled packet is.
type ByteCount uint8

// The ways to count. Record.L2Bytes is the exported frame length in each of them, where there was one.
const (
	// FrameLength: the frame length as exported. It includes the FCS with exporters that follow the standard.
	FrameLength ByteCount = iota
	// FrameWithoutFCS: four bytes less where the sample says that an FCS was stripped: what a packet port counts.
	FrameWithoutFCS
	// IPLength: the length in the charged IP header. Exporters with wrong frame lengths exist (Brocade, Huawei). Where the header says
	// none (a jumbogram, segmentation offload), the frame length.
	IPLength
)

// Config says how samples are read. The zero value is useful.
type Config struct {
	// Wire decodes raw headers; its Charge settings say which header of a tunnel becomes the record's. Trace has no use here.
	Wire wire.Decoder
	// Bytes is what Record.Bytes counts.
	Bytes ByteCount
	// Heads reads type of service and ICMP type of sampled headers too: nothing that counts needs them, but filters may.
	Heads bool
}

// Visitor takes what is no record.
type Visitor interface {
	// Counters is called for each generic interface counter block, on the decoder's goroutine; c is valid during the call.
	Counters(c *Counters)
}

// Decoder reads datagrams. It is not safe for concurrent use. Make it with New.
type Decoder struct {
	cfg     Config
	visitor Visitor
	now     *record.Datagram
	st      *record.Stats
	out     record.Sink
	first   record.Code // of this datagram

	rec      record.Record
	alike    bool // rec is of a sample that lone read
	version  record.Protocol
	agent    [16]byte
	domain   uint32
	uptime   uint32
	sample   Sample
	packet   packet
	counters Counters
	headers  wire.Headers
	codes    [wire.NumCodes]uint64
}

// New returns a decoder. visitor may be nil.
func New(cfg Config, visitor Visitor) *Decoder { return &Decoder{cfg: cfg, visitor: visitor} }

// ReadHeads changes Config.Heads.
func (d *Decoder) ReadHeads(on bool) { d.cfg.Heads = on }

// Agent is the agent address of the datagram that is or was last read, IPv4 v4-mapped. With Record.Domain, the sub-agent, it is what a
// datagram's sequence number counts for.
func (d *Decoder) Agent() [16]byte { return d.agent }

// Sample is the flow sample whose record the Sink has just been given: valid during that call only.
func (d *Decoder) Sample() *Sample { return &d.sample }

// HeaderCodes counts how the decoding of raw headers ended, since New. It belongs to the decoder's goroutine.
func (d *Decoder) HeaderCodes() *[wire.NumCodes]uint64 { return &d.codes }

// Decode reads one datagram, gives its records to out, and counts in st. It returns the first code that is trouble, else OK; records
// before the trouble, and behind it where that can be found, are given to out all the same.
func (d *Decoder) Decode(dg *record.Datagram, st *record.Stats, out record.Sink) record.Code {
	d.now, d.st, d.out, d.first, d.alike = dg, st, out, record.OK, false
	st.Datagrams++
	d.datagram(dg.Payload)
	if d.first == record.OK {
		st.Codes[record.OK]++
	}
	d.now, d.st, d.out, d.packet = nil, nil, nil, packet{}
	return d.first
}

// count counts a code of this datagram.
func (d *Decoder) count(c record.Code) { d.first = d.st.Count(d.first, c) }

// datagram reads the header, which the versions share but for the sub-agent, and then the samples.
func (d *Decoder) datagram(b []byte) {
	c := cursor{b: b}
	d.st.Last = record.Header{}
	d.agent, d.domain = [16]byte{}, 0
	switch v := c.u32(); {
	case c.short:
		d.count(record.ShortDatagram)
		return
	case v == 5:
		d.version = record.SFlow5
	case v == 4:
		d.version = record.SFlow4
	case v == 2:
		d.version = record.SFlow2
	default:
		d.count(record.BadVersion)
		return
	}
	d.st.Last.Protocol = d.version
	if !c.address(&d.agent) {
		d.count(shortOr(&c, record.ShortDatagram, record.BadAddressType))
		return
	}
	if d.version == record.SFlow5 {
		d.domain = c.u32()
	}
	sequence := c.u32()
	d.uptime = c.u32()
	samples := c.u32()
	if c.short {
		d.count(record.ShortDatagram)
		return
	}
	d.st.Last = record.Header{Protocol: d.version, Domain: d.domain, Sequence: sequence, Units: 1, HasSequence: true, KnownUnits: true, Uptime: d.uptime}
	if d.version == record.SFlow5 {
		d.samples5(&c, samples)
		return
	}
	d.samples4(&c, samples)
}

// samples5 reads n samples of version 5, or as many as there are.
func (d *Decoder) samples5(c *cursor, n uint32) {
	for ; n > 0 && len(c.b) >= 8; n-- {
		format, size := c.u32(), c.u32()
		body := cursor{b: c.bytes(size)}
		if c.short {
			d.count(record.TruncatedSample)
		}
		switch format {
		case sampleFlow, sampleExpandedFlow:
			d.flow5(body, format == sampleExpandedFlow)
		case sampleCounters, sampleExpandedCounters:
			d.counters5(body, format == sampleExpandedCounters)
		case sampleDiscard:
			d.discard5(body)
		default:
			d.count(record.UnknownSample)
		}
	}
	d.end(c, n)
}

// end counts what is left over: samples that were announced, or bytes.
func (d *Decoder) end(c *cursor, missing uint32) {
	switch {
	case c.short: // counted already
	case missing > 0:
		d.count(record.CountLies)
	case len(c.b) > 0:
		d.count(record.TrailingBytes)
	}
}

// shortOr is short when c ran out of bytes, else other.
func shortOr(c *cursor, short, other record.Code) record.Code {
	if c.short {
		return short
	}
	return other
}

// Sample formats of version 5, with enterprise 0 in the upper 20 bits.
const (
	sampleFlow             = 1
	sampleCounters         = 2
	sampleExpandedFlow     = 3
	sampleExpandedCounters = 4
	sampleDiscard          = 5
)
