package filter

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	lua "github.com/yuin/gopher-lua"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// flow is the record that a script looks at; nil outside of a call.
type flow struct{ record *record.Record }

// attributes are the fields of flow.
var attributes = map[string]func(*record.Record) lua.LValue{
	"src":     func(r *record.Record) lua.LValue { return address(&r.Src, r.Has&record.HasSrc != 0) },
	"dst":     func(r *record.Record) lua.LValue { return address(&r.Dst, r.Has&record.HasDst != 0) },
	"nexthop": func(r *record.Record) lua.LValue { return address(&r.NextHop, r.NextHop != [16]byte{}) },
	"agent":   func(r *record.Record) lua.LValue { return address(&r.Agent, r.Agent != [16]byte{}) },
	"exporter": func(r *record.Record) lua.LValue {
		return address(&r.Exporter, r.Exporter != [16]byte{})
	},

	"src_port": numeric(fieldSrcPort), "dst_port": numeric(fieldDstPort), "proto": numeric(fieldProto), "tcp_flags": numeric(fieldFlags),
	"tos": numeric(fieldTOS), "ttl": numeric(fieldTTL), "dscp": numeric(fieldDSCP), "packets": numeric(fieldPackets), "bytes": numeric(fieldBytes),
	"length": numeric(fieldLength), "input": numeric(fieldInput), "output": numeric(fieldOutput), "src_as": numeric(fieldSrcAS),
	"dst_as": numeric(fieldDstAS), "src_vlan": numeric(fieldSrcVLAN), "dst_vlan": numeric(fieldDstVLAN), "domain": numeric(fieldDomain),
	"icmp_type": numeric(fieldICMPType), "icmp_code": numeric(fieldICMPCode), "mpls_label": numeric(fieldMPLS),
	"forwarding_status": numeric(fieldForwarding), "sampler_id": numeric(fieldSampler),
	"src_mask":        func(r *record.Record) lua.LValue { return lua.LNumber(r.SrcMask) },
	"dst_mask":        func(r *record.Record) lua.LValue { return lua.LNumber(r.DstMask) },
	"l2_bytes":        func(r *record.Record) lua.LValue { return lua.LNumber(r.L2Bytes) },
	"dropped_packets": func(r *record.Record) lua.LValue { return lua.LNumber(r.DroppedPackets) },
	"dropped_bytes":   func(r *record.Record) lua.LValue { return lua.LNumber(r.DroppedBytes) },
	"flow_end_reason": func(r *record.Record) lua.LValue { return lua.LNumber(r.FlowEndReason) },
	"sampling_rate":   func(r *record.Record) lua.LValue { return lua.LNumber(r.SamplingRate) },
	"duration":        func(r *record.Record) lua.LValue { return lua.LNumber(float64(max(r.Duration, 0)) / 1e9) },
	"flow_start":      func(r *record.Record) lua.LValue { return milliseconds(r.Start) },
	"flow_finish":     func(r *record.Record) lua.LValue { return milliseconds(r.End) },

	"sampling_from":   func(r *record.Record) lua.LValue { return lua.LString(r.RateFrom.String()) },
	"template":        func(r *record.Record) lua.LValue { return lua.LNumber(r.Template) },
	"post_packets":    func(r *record.Record) lua.LValue { return lua.LNumber(r.PostPackets) },
	"post_bytes":      func(r *record.Record) lua.LValue { return lua.LNumber(r.PostBytes) },
	"fragment_offset": func(r *record.Record) lua.LValue { return lua.LNumber(r.FragmentOffset) },
	"ds_class":        func(r *record.Record) lua.LValue { return lua.LNumber(r.SamplerID >> 32) },
	"ds_index":        func(r *record.Record) lua.LValue { return lua.LNumber(uint32(r.SamplerID)) },

	"ip_version":      func(r *record.Record) lua.LValue { return version(r) },
	"direction":       func(r *record.Record) lua.LValue { return lua.LString(r.Direction.String()) },
	"export_protocol": func(r *record.Record) lua.LValue { return lua.LString(r.Protocol.String()) },
	"kind":            func(r *record.Record) lua.LValue { return lua.LString(r.Kind.String()) },
	"dropped":         func(r *record.Record) lua.LValue { return lua.LBool(r.Dropped) },
	"fragment":        func(r *record.Record) lua.LValue { return lua.LBool(r.Fragment) },
	"datagramVersion": func(r *record.Record) lua.LValue {
		return lua.LNumber(datagramVersions[r.Protocol%record.NumProtocols])
	},
}

// aliases are the names of FastNetMon's NetFlow v5 and sFlow structures.
var aliases = map[string]string{
	"src_ip": "src", "dst_ip": "dst", "dest_ip": "dst", "nexthop_ip": "nexthop", "dest_port": "dst_port", "protocol": "proto",
	"if_index_in": "input", "if_index_out": "output", "flow_packets": "packets", "flow_octets": "bytes", "dest_as": "dst_as",

	"ipsrc": "src", "ipdst": "dst", "nextHop": "nexthop", "sourceIP": "exporter", "agent_addr": "agent", "agentSubId": "domain",
	"inputPort": "input", "outputPort": "output", "meanSkipCount": "sampling_rate", "sampledPacketSize": "l2_bytes",
	"dcd_ipProtocol": "proto", "dcd_ipTos": "tos", "dcd_sport": "src_port", "dcd_dport": "dst_port", "dcd_tcpFlags": "tcp_flags",
	"dcd_ipTTL": "ttl", "ip_fragmentOffset": "fragment_offset", "in_vlan": "src_vlan", "out_vlan": "dst_vlan", "srcMask": "src_mask", "dstMask": "dst_mask",
}

var datagramVersions = [record.NumProtocols]uint8{
	record.NetFlow1: 1, record.NetFlow5: 5, record.NetFlow7: 7, record.NetFlow9: 9, record.IPFIX: 10, record.SFlow2: 2, record.SFlow4: 4,
	record.SFlow5: 5,
}

// Attributes are the fields that flow has in a hook, sorted: Weir's names and FastNetMon's. Addresses are text; flow_start and
// flow_finish are milliseconds since 1970, duration is seconds; packets and bytes are as exported, before scaling.
func Attributes() []string {
	return slices.Sorted(maps.Keys(lookup))
}

// lookup has attributes under all their names.
var lookup = func() map[string]func(*record.Record) lua.LValue {
	m := maps.Clone(attributes)
	for alias, name := range aliases {
		m[alias] = attributes[name]
	}
	return m
}()

// numeric is a field of the filter language as an attribute.
func numeric(f field) func(*record.Record) lua.LValue {
	return func(r *record.Record) lua.LValue { return lua.LNumber(number(f, r)) }
}

func address(a *[16]byte, has bool) lua.LValue {
	if !has {
		return lua.LString("")
	}
	return lua.LString(netip.AddrFrom16(*a).Unmap().String())
}

func milliseconds(ns int64) lua.LValue { return lua.LNumber(math.Trunc(float64(ns) / 1e6)) }

// version is 4 or 6, and 0 when no address was exported.
func version(r *record.Record) lua.LValue {
	a := &r.Dst
	if r.Has&record.HasDst == 0 {
		a = &r.Src
	}
	switch {
	case r.Has&(record.HasSrc|record.HasDst) == 0:
		return lua.LNumber(0)
	case v4Range.contains(load128(a)):
		return lua.LNumber(4)
	}
	return lua.LNumber(6)
}

// newFlow makes the one value through which a state's script sees records.
func newFlow(l *lua.LState) (*flow, *lua.LUserData) {
	f := &flow{}
	meta := l.NewTable()
	meta.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		name, ok := l.Get(2).(lua.LString)
		get := lookup[string(name)]
		switch {
		case f.record == nil:
			l.RaiseError("a flow is only valid during the call that it was given to")
		case !ok || get == nil:
			l.RaiseError("flow has no field %q", clip(l.Get(2).String()))
		}
		l.Push(get(f.record))
		return 1
	}))
	meta.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("a flow cannot be changed")
		return 0
	}))
	meta.RawSetString("__metatable", lua.LString("flow")) // no script changes it
	view := l.NewUserData()
	view.Metatable = meta
	return f, view
}
