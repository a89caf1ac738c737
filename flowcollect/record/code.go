package record

// Code says what a decoder met. It is a small integer, an index into counter arrays, and a name for people. A datagram may raise several;
// each is counted in Stats.Codes. Decode returns the first one that is Trouble, else OK.
type Code uint8

// Codes of every protocol.
const (
	// OK: the datagram was read to its end without trouble. Counted once a datagram.
	OK Code = iota
	// ShortDatagram: it ends inside the protocol's own header.
	ShortDatagram
	// BadVersion: the version is none that this decoder reads.
	BadVersion
	// CountLies: the header's count does not fit the datagram; what is there was read.
	CountLies
	// LengthLies: IPFIX's message length is not that of the datagram; the shorter was read.
	LengthLies
	// TrailingBytes: bytes behind the last record that are no whole record.
	TrailingBytes

	// SetTooShort: a set with a length below its own header of 4 bytes; the rest of the datagram was left.
	SetTooShort
	// SetTruncated: a set longer than the rest of the datagram; what is there was read.
	SetTruncated
	// ReservedSet: a set id between the template sets and 255; skipped.
	ReservedSet
	// ZeroFill: a set of id 0 and length 0, the zero filled tail of some exporters; the datagram ends there.
	ZeroFill
	// UnknownTemplate: a data set whose template is not known (yet).
	UnknownTemplate
	// TruncatedRecord: a record with fields of variable length ends behind its set; the rest of the set was left.
	TruncatedRecord

	// TemplateTruncated: a template record longer than its set; refused.
	TemplateTruncated
	// TemplateBadID: a template id below 256; refused.
	TemplateBadID
	// TemplateZeroWidth: the template describes records of no bytes; refused.
	TemplateZeroWidth
	// TemplateTooManyFields: more fields than a template may have; refused.
	TemplateTooManyFields
	// TemplateTooWide: its records cannot fit a datagram; refused.
	TemplateTooWide
	// TemplateBadScope: an options template without scope, or with more scope fields than fields; refused in IPFIX only.
	TemplateBadScope
	// TemplateLimit: the exporter has, or all exporters have, as many templates as they may; refused.
	TemplateLimit
	// TemplateChanged: a known id was announced with other fields; replaced.
	TemplateChanged
	// Withdrawn: a template withdrawal (RFC 7011 8.1), of one or of all.
	Withdrawn

	// Held: a data set before its template was kept for later.
	Held
	// HeldDropped: it was not kept, since no room was left, or it waited too long.
	HeldDropped
	// Replayed: a kept data set was read after its template came.
	Replayed

	// SamplingLimit: a sampling announcement that did not fit the table.
	SamplingLimit
	// SectionUnreadable: an exported packet head without a readable IP header.
	SectionUnreadable
	// TimeBackwards: a flow that ends before it starts; its duration is taken as unknown.
	TimeBackwards

	// TruncatedSample: an sFlow sample that ends behind its datagram.
	TruncatedSample
	// TruncatedItem: an sFlow record that is shorter than its type, or longer than its sample.
	TruncatedItem
	// UnknownSample: an sFlow sample format that is not known; skipped (v5), or the end of the datagram (v2, v4).
	UnknownSample
	// UnknownItem: an sFlow record format that is not known; skipped by length (v5).
	UnknownItem
	// UnknownTag: an unknown tag in sFlow v2 or v4, which have no lengths: the rest of the datagram was left.
	UnknownTag
	// BadAddressType: an address of neither IPv4 nor IPv6.
	BadAddressType
	// TooMany: a budget of samples, records or sets was used up; the rest was left.
	TooMany
	// UnknownHeaderProtocol: an sFlow raw header of a protocol that is not read.
	UnknownHeaderProtocol

	NumCodes
)

var codeNames = [NumCodes]string{
	OK: "ok", ShortDatagram: "short_datagram", BadVersion: "bad_version", CountLies: "count_lies", LengthLies: "length_lies",
	TrailingBytes: "trailing_bytes", SetTooShort: "set_too_short", SetTruncated: "set_truncated", ReservedSet: "reserved_set",
	ZeroFill: "zero_fill", UnknownTemplate: "unknown_template", TruncatedRecord: "truncated_record",
	TemplateTruncated: "template_truncated", TemplateBadID: "template_bad_id", TemplateZeroWidth: "template_zero_width",
	TemplateTooManyFields: "template_too_many_fields", TemplateTooWide: "template_too_wide", TemplateBadScope: "template_bad_scope",
	TemplateLimit: "template_limit", TemplateChanged: "template_changed", Withdrawn: "withdrawn",
	Held: "held", HeldDropped: "held_dropped", Replayed: "replayed", SamplingLimit: "sampling_limit",
	SectionUnreadable: "section_unreadable", TimeBackwards: "time_backwards",
	TruncatedSample: "truncated_sample", TruncatedItem: "truncated_item", UnknownSample: "unknown_sample", UnknownItem: "unknown_item",
	UnknownTag: "unknown_tag", BadAddressType: "bad_address_type", TooMany: "too_many", UnknownHeaderProtocol: "unknown_header_protocol",
}

// String returns the code's name in every interface, in snake_case.
func (c Code) String() string {
	if c < NumCodes {
		return codeNames[c]
	}
	return "invalid"
}

// Trouble says that the code stands for something that an operator should know of, and not for ordinary life.
func (c Code) Trouble() bool {
	switch c {
	case OK, ZeroFill, TemplateChanged, Withdrawn, Held, Replayed, UnknownItem, UnknownSample, TrailingBytes:
		return false
	}
	return c < NumCodes
}
