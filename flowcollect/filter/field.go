package filter

import (
	"maps"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// field is something of a record that a rule can test. The order groups them: first the verdict, then addresses, then numbers.
type field uint8

const (
	fieldVerdict field = iota // no test: the end of a rule

	fieldSrc
	fieldDst
	fieldExporter
	fieldAgent
	fieldNextHop

	fieldSrcPort
	fieldDstPort
	fieldProto
	fieldPackets
	fieldBytes
	fieldLength
	fieldFlags
	fieldInput
	fieldOutput
	fieldSrcAS
	fieldDstAS
	fieldSrcVLAN
	fieldDstVLAN
	fieldDirection
	fieldProtocol
	fieldTOS
	fieldDSCP
	fieldDuration
	fieldRate
	fieldDomain
	fieldICMPType
	fieldICMPCode
	fieldMPLS
	fieldForwarding
	fieldKind
	fieldSampler
	fieldTTL
	fieldDropped
	fieldFragment
	fieldPort // either port: the most frequent test, in one instruction instead of two
	numFields
)

// isAddress says that the field is tested against address ranges.
func (f field) isAddress() bool { return f >= fieldSrc && f <= fieldNextHop }

// unit is how a field's numbers may be written besides plainly.
type unit uint8

const (
	unitNone  unit = iota
	unitCount      // k, M, G: thousands, millions, thousand millions
	unitTime       // ms, s, m, h; a plain number is seconds
	unitFlags      // TCP flags
)

// fieldInfo is what the parser and the compiler know of a field.
type fieldInfo struct {
	// needs are the parts that a record must have; a test of a record without them is false.
	needs record.Has
	// max is the highest value that the field can have.
	max  uint64
	unit unit
	// names are values that have names; expect is how a value is described in an error.
	names  map[string][]uint64
	expect string
}

const (
	max8, max12, max16, max20, max32 = 1<<8 - 1, 1<<12 - 1, 1<<16 - 1, 1<<20 - 1, 1<<32 - 1
	max64                            = 1<<64 - 1
)

var fields = [numFields]fieldInfo{
	fieldSrc: {needs: record.HasSrc}, fieldDst: {needs: record.HasDst}, fieldExporter: {}, fieldAgent: {}, fieldNextHop: {},

	fieldSrcPort:  {needs: record.HasPorts, max: max16, expect: "a port"},
	fieldDstPort:  {needs: record.HasPorts, max: max16, expect: "a port"},
	fieldProto:    {needs: record.HasProto, max: max8, names: ipProtocols, expect: "an IP protocol"},
	fieldPackets:  {max: max64, unit: unitCount, expect: "a number of packets"},
	fieldBytes:    {max: max64, unit: unitCount, expect: "a number of bytes"},
	fieldLength:   {needs: record.HasPackets | record.HasBytes, max: max64, unit: unitCount, expect: "a length in bytes"},
	fieldFlags:    {needs: record.HasFlags, max: max8, unit: unitFlags, expect: "TCP flags like S or S/SA"},
	fieldInput:    {needs: record.HasInput, max: max32, expect: "an interface index"},
	fieldOutput:   {needs: record.HasOutput, max: max32, expect: "an interface index"},
	fieldSrcAS:    {max: max32, expect: "an AS number"},
	fieldDstAS:    {max: max32, expect: "an AS number"},
	fieldSrcVLAN:  {max: max12, expect: "a VLAN id"},
	fieldDstVLAN:  {max: max12, expect: "a VLAN id"},
	fieldProtocol: {max: max8, names: exportProtocols(), expect: "an export protocol"},
	fieldDirection: {max: max8, names: map[string][]uint64{
		"unknown": {uint64(record.UnknownDirection)}, "ingress": {uint64(record.Ingress)}, "egress": {uint64(record.Egress)},
	}, expect: "ingress, egress or unknown"},
	fieldTOS:        {max: max8, expect: "a type of service"},
	fieldDSCP:       {max: 63, expect: "a DSCP"},
	fieldTTL:        {needs: record.HasTTL, max: max8, expect: "a time to live"},
	fieldDuration:   {needs: record.HasDuration, max: max64, unit: unitTime, expect: "a duration"},
	fieldRate:       {max: max64, unit: unitCount, expect: "a sampling rate"},
	fieldDomain:     {max: max32, expect: "an observation domain"},
	fieldICMPType:   {needs: record.HasICMP, max: max8, expect: "an ICMP type"},
	fieldICMPCode:   {needs: record.HasICMP, max: max8, expect: "an ICMP code"},
	fieldMPLS:       {needs: record.HasMPLS, max: max20, expect: "an MPLS label"},
	fieldForwarding: {needs: record.HasForwarding, max: max8, expect: "a forwarding status"},
	fieldKind:       {max: max8, names: kinds(), expect: "a kind of record"},
	fieldSampler:    {needs: record.HasSampler, max: max64, expect: "a sampler id"},
	fieldDropped:    {max: 1}, fieldFragment: {max: 1},
	fieldPort: {needs: record.HasPorts, max: max16, expect: "a port"},
}

// numbers are the words that introduce a test of numbers; two fields stand for either.
var numbers = map[string][]field{
	"port": {fieldPort}, "proto": {fieldProto}, "packets": {fieldPackets}, "bytes": {fieldBytes},
	"length": {fieldLength}, "flags": {fieldFlags}, "input": {fieldInput}, "output": {fieldOutput},
	"interface": {fieldInput, fieldOutput}, "as": {fieldSrcAS, fieldDstAS}, "vlan": {fieldSrcVLAN, fieldDstVLAN},
	"direction": {fieldDirection}, "protocol": {fieldProtocol}, "tos": {fieldTOS}, "dscp": {fieldDSCP}, "duration": {fieldDuration},
	"rate": {fieldRate}, "domain": {fieldDomain}, "icmptype": {fieldICMPType}, "icmpcode": {fieldICMPCode}, "mpls": {fieldMPLS},
	"forwarding": {fieldForwarding}, "kind": {fieldKind}, "sampler": {fieldSampler}, "ttl": {fieldTTL},
}

// sided are the words that may follow src and dst, with the field of either side.
var sided = map[string][2]field{
	"port": {fieldSrcPort, fieldDstPort}, "as": {fieldSrcAS, fieldDstAS}, "vlan": {fieldSrcVLAN, fieldDstVLAN},
	"interface": {fieldInput, fieldOutput},
}

// addresses are the words that introduce a test of addresses.
var addresses = map[string][]field{
	"net": {fieldSrc, fieldDst}, "host": {fieldSrc, fieldDst}, "from": {fieldExporter}, "exporter": {fieldExporter}, "agent": {fieldAgent},
	"nexthop": {fieldNextHop},
}

// ipProtocols are the protocols that have names here; all have numbers.
var ipProtocols = map[string][]uint64{
	"icmp": {1, 58}, "icmp4": {1}, "icmp6": {58}, "igmp": {2}, "ipip": {4}, "tcp": {6}, "udp": {17}, "ipv6": {41}, "gre": {47},
	"esp": {50}, "ah": {51}, "ospf": {89}, "pim": {103}, "vrrp": {112}, "l2tp": {115}, "sctp": {132}, "udplite": {136},
}

// bare are the protocols that may stand alone, without proto before them.
var bare = []string{"tcp", "udp", "icmp", "icmp4", "icmp6", "gre", "esp", "sctp"}

// exportProtocols names every protocol and the two families.
func exportProtocols() map[string][]uint64 {
	m := map[string][]uint64{}
	for p := range record.NumProtocols {
		name := p.String()
		m[name] = []uint64{uint64(p)}
		for _, family := range []string{"netflow", "sflow"} {
			if strings.HasPrefix(name, family) {
				m[family] = append(m[family], uint64(p))
			}
		}
	}
	return m
}

// kinds names every kind of record.
func kinds() map[string][]uint64 {
	m := map[string][]uint64{}
	for k := range record.NumKinds {
		m[k.String()] = []uint64{uint64(k)}
	}
	return m
}

// nameList lists a field's names for an error message.
func (f *fieldInfo) nameList() string {
	return strings.Join(slices.Sorted(maps.Keys(f.names)), ", ")
}
