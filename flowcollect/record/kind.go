package record

// Protocol is an export protocol and its version.
type Protocol uint8

// The protocols.
const (
	UnknownProtocol Protocol = iota
	NetFlow1
	NetFlow5
	NetFlow7
	NetFlow9
	IPFIX
	SFlow2
	SFlow4
	SFlow5
	NumProtocols
)

var protocolNames = [NumProtocols]string{"unknown", "netflow1", "netflow5", "netflow7", "netflow9", "ipfix", "sflow2", "sflow4", "sflow5"}

// String returns the name used in every interface: netflow9, ipfix, sflow5 and so on.
func (p Protocol) String() string { return name(protocolNames[:], uint8(p)) }

// Kind is what sort of record a Record is.
type Kind uint8

// The kinds.
const (
	// Data is a plain flow record.
	Data Kind = iota
	// BiflowReverse is the other direction of a record that carried two (RFC 5103, or initiator and responder counters). Its ends are
	// already turned round. It is not counted in Stats.Records, which counts what was on the wire.
	BiflowReverse
	// Section is one packet whose head was exported: IE 104, 313, 315, sFlow raw header.
	Section
	// SectionTunnel is the second charged header of such a packet, where tunnels are charged on both levels. Not in Stats.Records.
	SectionTunnel
	// Discard is an sFlow discarded-packet sample; Dropped is set too.
	Discard
	NumKinds
)

var kindNames = [NumKinds]string{"data", "biflow_reverse", "section", "section_tunnel", "discard"}

// String returns the kind's name in snake_case.
func (k Kind) String() string { return name(kindNames[:], uint8(k)) }

// Direction is on which way through the exporter packets were metered (IE 61).
type Direction uint8

// The directions.
const (
	UnknownDirection Direction = iota
	Ingress
	Egress
	NumDirections
)

var directionNames = [NumDirections]string{"unknown", "ingress", "egress"}

// String returns unknown, ingress or egress.
func (d Direction) String() string { return name(directionNames[:], uint8(d)) }

// RateSource says where a sampling rate comes from.
type RateSource uint8

// The sources, unknown first, then in the order in which they are asked.
const (
	RateUnknown    RateSource = iota
	RateOverride              // the configuration overrides what the exporter says
	RatePrescaled             // the configuration says that counts are already multiplied: 1
	RateRecord                // in the record itself: IE 34, 50, 305 and their like, sFlow's sample
	RateSelector              // options of the record's sampler or selector (48, 302)
	RateTemplate              // options scoped to the record's template (145)
	RateInterface             // options scoped to an interface of the record
	RateDomain                // options of the whole observation domain
	RateOther                 // options of another domain of the same exporter
	RateHeader                // the header of NetFlow v5
	RateConfigured            // the configured default
	NumRateSources
)

var rateNames = [NumRateSources]string{"unknown", "override", "prescaled", "record", "selector", "template", "interface", "domain", "other_domain", "header", "configured"}

// String returns the source's name in snake_case.
func (s RateSource) String() string { return name(rateNames[:], uint8(s)) }

// TimeSource says how a record's times were known.
type TimeSource uint8

// The sources.
const (
	TimeUnknown  TimeSource = iota
	TimeUptime              // sysUptime and export time of the header (21, 22 in NetFlow)
	TimeInit                // 21, 22 and systemInitTimeMilliseconds (160) in IPFIX
	TimeAbsolute            // 150 to 157, 322 to 325
	TimeDelta               // 158, 159: microseconds before the export
	TimeDuration            // only a duration: 161, 162, or 21 and 22 without a base
	NumTimeSources
)

var timeNames = [NumTimeSources]string{"unknown", "uptime", "system_init", "absolute", "delta", "duration"}

// String returns the source's name in snake_case.
func (s TimeSource) String() string { return name(timeNames[:], uint8(s)) }

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "invalid"
}
