package record

// Datagram is one received datagram. A decoder reads it and keeps no reference to Payload.
type Datagram struct {
	// Exporter is the address that it came from, IPv4 v4-mapped. The port is no part of an exporter's identity.
	Exporter [16]byte
	// Arrived is when it was received, ns since the Unix epoch.
	Arrived int64
	// Payload is the UDP payload.
	Payload []byte
}

// Header is what a decoder read of a datagram's own header: what loss, restart and clock accounting need.
type Header struct {
	// Protocol is UnknownProtocol when not even the version could be read.
	Protocol Protocol
	// Domain is as in Record.
	Domain uint32
	// Sequence is the header's sequence number and Units by how much the next one should be higher: flow records in v5, datagrams in v9
	// and sFlow, data records (options included) in IPFIX. HasSequence is false in v1. In IPFIX Units is only known when KnownUnits.
	Sequence, Units uint32
	// Options is how many of the Units are records of options, in IPFIX.
	Options                 uint32
	HasSequence, KnownUnits bool
	// Uptime is the exporter's uptime in ms, wrapping after 49.7 days; IPFIX has none.
	Uptime uint32
	// Exported is the exporter's clock, ns since the Unix epoch; sFlow has none.
	Exported int64
	// Data says that there were data records in it, in v9 and IPFIX.
	Data bool
	// ActiveTimeout and IdleTimeout are what the datagram said of the timeouts by which flows are reported (IE 36, 37), ns; 0 nothing.
	ActiveTimeout, IdleTimeout int64
}

// Stats are counters of one exporter at one socket worker: plain, written by that worker's goroutine only.
type Stats struct {
	// Datagrams is how many were given to a decoder, however that ended.
	Datagrams uint64
	// Records is how many data records (flow samples) were read. Reverse halves of biflows are not counted.
	Records uint64
	// OptionRecords, Templates and OptionTemplates count what was on the wire, repetitions included.
	OptionRecords, Templates, OptionTemplates uint64
	// CounterSamples and DiscardSamples are sFlow's.
	CounterSamples, DiscardSamples uint64
	// UnknownTemplateSets is how many data sets came before their template; some of them are read later (Replayed).
	UnknownTemplateSets uint64
	// UnknownRate is how many data records were read while their sampling rate was not known.
	UnknownRate uint64
	// Codes counts each code.
	Codes [NumCodes]uint64
	// Last is the header of the last datagram.
	Last Header
}

// Count counts c and returns the first trouble of the two.
func (s *Stats) Count(first, c Code) Code {
	s.Codes[c]++
	if first == OK && c.Trouble() {
		return c
	}
	return first
}

// Add adds the counters of o to s; Last is kept.
func (s *Stats) Add(o *Stats) {
	s.Datagrams += o.Datagrams
	s.Records += o.Records
	s.OptionRecords += o.OptionRecords
	s.Templates += o.Templates
	s.OptionTemplates += o.OptionTemplates
	s.CounterSamples += o.CounterSamples
	s.DiscardSamples += o.DiscardSamples
	s.UnknownTemplateSets += o.UnknownTemplateSets
	s.UnknownRate += o.UnknownRate
	for i, n := range o.Codes {
		s.Codes[i] += n
	}
}
