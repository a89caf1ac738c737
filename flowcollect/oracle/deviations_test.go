package oracle

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/weir-ddos/weir/flowcollect/record"
	sflowdec "github.com/weir-ddos/weir/flowcollect/sflow"
)

// deviation is a known way in which goflow2 v2.2.6 differs from us.
type deviation struct {
	name string
	// why says what goflow2 does, and what the standard or the exporter means. Where we are the poorer, it says so.
	why string
	// fields are where it shows.
	fields []string
	// explains says that it is the reason for a difference. It must not explain more than its reason does.
	explains func(d *difference) bool
}

// Information elements and formats that deviations look for.
const (
	ieOutBytes, ieOutPackets          = 23, 24
	ieSection                         = 315
	ieTotalBytes, ieTotalPackets      = 85, 86
	ieInitiatorBytes, ieResponder     = 231, 232
	ieInitiatorPackets, ieRespPackets = 298, 299
	ieL2Bytes                         = 352

	formatRaw, formatEthernet, formatIPv4, formatIPv6 = 1, 2, 3, 4
	formatGateway                                     = 1003
	formatTunnelFirst, formatTunnelLast               = 1021, 1030
)

// ieSampling are elements that make a rate.
var ieSampling = []uint16{34, 50, 305, 306, 309, 310}

// refused are codes of templates that we do not take.
var refused = []record.Code{
	record.TemplateZeroWidth, record.TemplateTruncated, record.TemplateBadID, record.TemplateTooManyFields, record.TemplateTooWide,
	record.TemplateBadScope, record.TemplateLimit,
}

// extensions are IPv6 extension headers: hop-by-hop options, routing, fragment, authentication, destination options.
var extensions = []uint32{0, 43, 44, 51, 60}

func (d *difference) has(fields ...uint16) bool {
	return slices.ContainsFunc(fields, func(f uint16) bool { return slices.Contains(d.f.Fields, f) })
}

func (d *difference) met(codes ...record.Code) bool {
	return slices.ContainsFunc(codes, func(c record.Code) bool { return d.stats.Codes[c] > 0 })
}

// metBefore also looks at what was met before in the group: what goflow2 lost then it lacks now.
func (d *difference) metBefore(codes ...record.Code) bool {
	return d.met(codes...) || slices.ContainsFunc(codes, func(c record.Code) bool { return d.before.Codes[c] > 0 })
}

func (d *difference) sflow() bool { return d.r != nil && d.r.Protocol >= record.SFlow2 }

// beyondCount says that a v9 datagram has more flow sets than its header's count.
func (d *difference) beyondCount() bool {
	return version(d.payload) == 9 && d.sets() > int(binary.BigEndian.Uint16(d.payload[2:]))
}

// sets is how many sets a datagram of v9 or IPFIX has.
func (d *difference) sets() (n int) {
	head := 20
	if version(d.payload) == 10 {
		head = 16
	}
	for b := d.payload[min(head, len(d.payload)):]; len(b) >= 4; n++ {
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			break
		}
		b = b[size:]
	}
	return n
}

var deviations = []deviation{
	{
		"v5 count is believed", "it makes as many records as the header says, zero beyond the datagram; a datagram of 1464 bytes holds 30",
		[]string{"records"},
		func(d *difference) bool {
			return version(d.payload) == 5 && d.met(record.CountLies) && d.nTheirs == int(binary.BigEndian.Uint16(d.payload[2:])) &&
				d.nTheirs > d.nOurs
		},
	},
	{
		"v9 count bounds flow sets", "it reads no more flow sets than the header's count, which is of records and often wrong (softflowd); we read to the end",
		[]string{"records"},
		func(d *difference) bool {
			return d.beyondCount() && d.nTheirs < d.nOurs && d.answer.Error == ""
		},
	},
	{
		"v9 count hid the template", "for the same reason it misses templates, and then the data of later datagrams",
		[]string{"records"},
		func(d *difference) bool { return d.lostSets && d.answer.Missing && d.nTheirs < d.nOurs },
	},
	{
		"v9 count hid the options", "for the same reason it misses option data with the sampling rate, and then says 0",
		[]string{"rate"},
		func(d *difference) bool {
			return d.lostSets && version(d.payload) == 9 && d.f.Rate == 0 && d.r.RateFrom > record.RateRecord
		},
	},
	{
		"an empty template hangs it", "records of no bytes are appended without end, and templates that are otherwise wrong may have none; we refuse them",
		[]string{"hang"},
		func(d *difference) bool { return d.metBefore(refused...) },
	},
	{
		"message length below the header", "a length below 16 underflows to 64 Ki, so that what lies behind the message is read as sets, templates too",
		[]string{"hang", "records"},
		func(d *difference) bool { return version(d.payload) == 10 && d.metBefore(record.LengthLies) },
	},
	{
		"a short rest is a record", "it asks for the template's fixed bytes only, so that a rest shorter than the lengths of its variable fields becomes a record cut short; " +
			"only the fuzzer makes such sets, and elsewhere this must explain nothing",
		[]string{"records"},
		func(d *difference) bool {
			return d.fuzz && (version(d.payload) == 9 || version(d.payload) == 10) && d.nTheirs > d.nOurs && d.nTheirs-d.nOurs <= d.sets()
		},
	},
	{
		"a withdrawal is an empty template", "IPFIX withdraws templates by field count 0 (RFC 7011 8.1); it stores that as a template and hangs on data",
		[]string{"hang"},
		func(d *difference) bool { return version(d.payload) == 10 && d.metBefore(record.Withdrawn) },
	},
	{
		"withdrawal of all is not known", "template id 2 or 3 with field count 0 withdraws all; it keeps them and reads data that has none",
		[]string{"records"},
		func(d *difference) bool {
			return version(d.payload) == 10 && d.metBefore(record.Withdrawn) && d.met(record.UnknownTemplate) && d.nTheirs > d.nOurs
		},
	},
	{
		"an error drops the set", "a record that is cut off drops all records of its set; we keep those before it",
		[]string{"records"},
		func(d *difference) bool {
			return d.answer.Error != "" && d.nTheirs < d.nOurs && d.met(record.TruncatedRecord, record.SetTruncated)
		},
	},
	{
		"padding of a set with variable length", "it reads the zero padding of the set as one more record, which ends in an error; RFC 7011 3.3.1 allows the padding",
		[]string{"records"},
		func(d *difference) bool {
			return version(d.payload) == 10 && d.answer.Error != "" && d.nTheirs < d.nOurs && !d.met(record.TruncatedRecord)
		},
	},
	{
		"v9 error ends the datagram", "an unknown set id, or a template that is cut off, ends the datagram; we skip the set",
		[]string{"records"},
		func(d *difference) bool {
			return d.answer.Error != "" && d.nTheirs < d.nOurs && d.met(record.ReservedSet, record.TemplateTruncated, record.TemplateBadScope, record.SetTooShort)
		},
	},
	{
		"sFlow record shorter than its type", "it drops the datagram; we skip the record by its length and count it",
		[]string{"records"},
		func(d *difference) bool {
			return version(d.payload) == sflow5 && d.answer.Error != "" && d.nTheirs < d.nOurs && d.met(record.TruncatedItem, record.TruncatedSample)
		},
	},
	{
		"unknown sFlow samples", "it ends at a sample whose format it does not know, or that is cut off; we skip it by its length",
		[]string{"records"},
		func(d *difference) bool {
			return version(d.payload) == sflow5 && d.nTheirs < d.nOurs && d.met(record.UnknownSample, record.TruncatedSample)
		},
	},
	{
		"OUT counters overwrite IN", "23 and 24 overwrite 1 and 2 whatever their value; we keep them apart, since they are the same packets after the exporter",
		[]string{"bytes", "packets"},
		func(d *difference) bool {
			return d.has(ieOutBytes, ieOutPackets) && (d.field == "bytes" && d.f.Bytes == d.r.PostBytes || d.field == "packets" && d.f.Packets == d.r.PostPackets)
		},
	},
	{
		"an element twice", "the last one counts; we take the first, since OVS and others repeat elements for other interfaces behind those of the flow",
		[]string{"src", "dst", "proto", "src_port", "dst_port", "flags", "tos", "input", "output", "src_as", "dst_as", "bytes", "packets", "rate"},
		func(d *difference) bool {
			return d.r.Protocol <= record.IPFIX && len(slices.Compact(slices.Sorted(slices.Values(d.f.Fields)))) < len(d.f.Fields)
		},
	},
	{
		"wider than the element is", "it keeps numbers that no port, protocol or flag byte can be, from templates with too wide fields; we keep what fits",
		[]string{"proto", "src_port", "dst_port", "flags", "tos"},
		func(d *difference) bool {
			highest := uint64(0xff)
			if d.field == "src_port" || d.field == "dst_port" {
				highest = 0xffff
			}
			v, err := strconv.ParseUint(d.theirs, 10, 64)
			return err == nil && v > highest
		},
	},
	{
		"addresses of other lengths", "it takes whatever length the template says as an address; we take 4 and 16 bytes, in the elements that have them",
		[]string{"src", "dst"},
		func(d *difference) bool {
			return !d.sflow() && (d.theirs == "none" || d.has(8) && d.has(27) || d.has(12) && d.has(28))
		},
	},
	{
		"totals are not read", "85, 86, 171 and 172 are ignored: 0 where an exporter sends nothing else",
		[]string{"bytes", "packets"},
		func(d *difference) bool {
			return d.r.Totals && d.has(ieTotalBytes, ieTotalPackets, 171, 172) && (d.field == "bytes" && d.f.Bytes == 0 || d.field == "packets" && d.f.Packets == 0)
		},
	},
	{
		"initiator and responder are not read", "231, 232, 298 and 299 (ASA) are ignored; we count two directions",
		[]string{"bytes", "packets"},
		func(d *difference) bool {
			return d.has(ieInitiatorBytes, ieResponder, ieInitiatorPackets, ieRespPackets) && (d.field == "bytes" && d.f.Bytes == 0 || d.field == "packets" && d.f.Packets == 0)
		},
	},
	{
		"layer 2 counters are not read", "352 and 353 are ignored where nothing else was exported",
		[]string{"bytes"},
		func(d *difference) bool { return d.has(ieL2Bytes) && !d.has(1, ieTotalBytes) && d.f.Bytes == 0 },
	},
	{
		"section length as bytes", "with 315 it counts the exported section, padding included; we count the packet's IP length",
		[]string{"bytes"},
		func(d *difference) bool { return d.r.Kind == record.Section && d.has(ieSection) && d.f.Bytes > 0 },
	},
	{
		"v5 without sampling", "a header interval of 0 is shown as rate 0; it means unsampled, 1",
		[]string{"rate"},
		func(d *difference) bool {
			return d.r.Protocol == record.NetFlow5 && d.f.Rate == 0 && d.r.SamplingRate == 1
		},
	},
	{
		"305 without 306", "it takes samplingPacketInterval as the rate, whatever the space (306), size or population (309, 310) beside it",
		[]string{"rate"},
		func(d *difference) bool {
			return d.r.Protocol == record.IPFIX && d.f.Rate == 1 && d.r.RateFrom > record.RateRecord
		},
	},
	{
		"rate in the record is not read", "34, 50, 305 and the like in a data record are ignored: Huawei, H3C; there 0 means unsampled",
		[]string{"rate"},
		func(d *difference) bool { return d.r.RateFrom == record.RateRecord && d.has(ieSampling...) },
	},
	{
		"rates have four bytes", "its producer reads sampling options as 32 bits and fails on any other width; reduced-size encoding (RFC 7011 6.2) is usual",
		[]string{"rate"},
		func(d *difference) bool { return d.producerFailed && d.f.Rate == 0 && d.r.RateFrom > record.RateRecord },
	},
	{
		"one rate for all samplers", "the last option record of a domain is the rate of all its flows; we join by sampler, selector, template or interface",
		[]string{"rate"},
		func(d *difference) bool {
			return d.f.Rate > 0 && (d.r.RateFrom == record.RateSelector || d.r.RateFrom == record.RateTemplate || d.r.RateFrom == record.RateInterface)
		},
	},
	{
		"rate of another domain", "options that come in another domain of the exporter are not used; we use them when the domain has none",
		[]string{"rate"},
		func(d *difference) bool { return d.f.Rate == 0 && d.r.RateFrom == record.RateOther },
	},
	{
		"sFlow interface formats", "a value of another format (discarded, several, none that is known) and the values of the agent itself are shown as an index; " +
			"only format 0 is an index (sFlow 5, interface and interface_expanded), for inputs too",
		[]string{"input", "output"},
		func(d *difference) bool {
			if !d.sflow() || d.ours != "0" {
				return false
			}
			i := d.sample.Input
			if d.field == "output" {
				i = d.sample.Output
			}
			return i.Format != sflowdec.Index || i.Value == sflowdec.Internal || i.Value == sflowdec.InternalExpanded
		},
	},
	{
		"physical interfaces", "252 and 253 are ignored; we take them where 10 and 14 are missing or 0",
		[]string{"input", "output"},
		func(d *difference) bool { return d.has(252, 253) },
	},
	{
		"AS path of several segments", "it takes the last AS of the first segment as the destination's; we take the last of the last",
		[]string{"dst_as"},
		func(d *difference) bool { return d.sflow() && d.has(formatGateway) && d.r.DstAS != 0 },
	},
	{
		"IPv6 extension headers", "it does not walk hop-by-hop options and the like in a sampled header, and shows a fragment header as the protocol; we find the transport behind them",
		[]string{"proto", "src_port", "dst_port", "flags"},
		func(d *difference) bool {
			return d.sflow() && d.has(formatRaw) && slices.Contains(extensions, d.f.Proto)
		},
	},
	{
		"sampled Ethernet length", "format 2 has the frame's length, which it leaves out",
		[]string{"bytes"},
		func(d *difference) bool {
			return d.sflow() && d.has(formatEthernet) && !d.has(formatRaw) && d.f.Bytes == 0
		},
	},
	{
		"tunnel records", "formats 1021 to 1030 are skipped; we take addresses from them where the sample has no header",
		[]string{"src", "dst", "proto", "src_port", "dst_port", "bytes"},
		func(d *difference) bool {
			tunnel := slices.ContainsFunc(d.f.Fields, func(f uint16) bool { return f >= formatTunnelFirst && f <= formatTunnelLast })
			return d.sflow() && tunnel && !d.has(formatRaw, formatIPv4, formatIPv6) && len(d.f.Src) == 0
		},
	},
}
