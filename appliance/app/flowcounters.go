package app

import (
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// flowFamilies are the protocols whose counters FastNetMon has, by the beginning of their names.
var flowFamilies = []struct {
	prefix    string
	protocols []record.Protocol
}{
	{"netflow_v5", []record.Protocol{record.NetFlow1, record.NetFlow5, record.NetFlow7}},
	{"netflow_v9", []record.Protocol{record.NetFlow9}},
	{"ipfix", []record.Protocol{record.IPFIX}},
	{"sflow", []record.Protocol{record.SFlow2, record.SFlow4, record.SFlow5}},
}

// flows adds what collectors have counted, under FastNetMon's names where the meaning is the same.
func (l *counterList) flows(s *collector.Stats) {
	var all, netflow, dropped uint64
	for _, f := range flowFamilies {
		var datagrams, records uint64
		for _, p := range f.protocols {
			datagrams += s.Datagrams[p]
			records += s.Records[p]
		}
		l.add(f.prefix+"_total_packets", float64(datagrams), "packets", "datagrams received")
		if f.prefix == "sflow" {
			l.add("sflow_flow_samples", float64(records), "samples", "flow samples read")
			continue
		}
		l.add(f.prefix+"_total_flows", float64(records), "flows", "flow records read")
		netflow += datagrams
		all += records
		if records == 0 {
			continue
		}
		for i, name := range collector.DurationNames() {
			var n uint64
			for _, p := range f.protocols {
				n += s.Durations[p][i]
			}
			l.add(f.prefix+"_duration_"+name, float64(n), "flows", "records that report so long a time")
		}
	}
	for _, x := range s.Sockets {
		dropped += x.Dropped
	}
	l.add("netflow_ipfix_total_packets", float64(netflow), "packets", "datagrams of NetFlow and IPFIX")
	l.add("netflow_ipfix_all_protocols_total_flows", float64(all), "flows", "their records")
	l.add("netflow_ipfix_unknown_protocol_version", float64(s.Sums.Codes[record.BadVersion]), "packets", "datagrams that are none of ours, sFlow included")
	l.add("flow_udp_packet_drops", float64(dropped), "packets", "datagrams that the kernel dropped at the sockets, of all protocols")
	l.add("sflow_counter_sample", float64(s.Sums.CounterSamples), "samples", "")
	l.add("sflow_packets_discarded", float64(s.Sums.DiscardSamples), "samples", "packets that exporters say they discarded")
	l.add("flow_templates_received", float64(s.Sums.Templates+s.Sums.OptionTemplates), "templates", "repetitions included")
	l.add("flow_option_records", float64(s.Sums.OptionRecords), "records", "")
	l.add("flow_sets_with_unknown_templates", float64(s.Sums.UnknownTemplateSets), "sets", "data before its template; some of it was read later")
	l.add("flow_template_changes", float64(s.Templates.Changed), "templates", "announced anew with other fields")
	l.add("flow_templates", float64(s.Templates.Templates), "templates", "known now")
	l.add("flow_templates_refused", float64(s.Templates.Refused), "templates", "")
	l.add("flow_records_unknown_sampling_rate", float64(s.Sums.UnknownRate), "flows", "counted as they are")
	l.add("flow_packets_counted", float64(s.Counted.Packets), "packets", "records' packets times their sampling rates")
	l.add("flow_bytes_counted", float64(s.Counted.Bytes), "bytes", "")
	l.add("flow_packets_not_forwarded", float64(s.Dropped.Packets), "packets", "of flows that the exporter did not forward")
	l.add("flow_records_filtered", float64(s.Filtered), "flows", "refused by the filter")
	l.add("flow_records_skipped", float64(s.Skipped), "flows", "of a direction or interface that does not count")
	l.add("flow_records_useless", float64(s.Useless), "flows", "without addresses or counts")
	l.add("flow_spread_entries", float64(s.Spread.Entries), "entries", "hosts, directions and classes with records that are being spread")
	l.add("flow_spread_pending_bytes", float64(s.Spread.Pending.Bytes), "bytes", "announced, and charged in the seconds to come")
	l.add("flow_spread_coarse", float64(s.Spread.Coarse), "flows", "spread for their network: flows.spread_hosts was reached")
	l.add("flow_exporters", float64(s.Exporters), "exporters", "")
	l.add("flow_exporters_forgotten", float64(s.Forgotten), "exporters", "made room for others")
	l.add("flow_exporters_unlisted", float64(s.Unlisted), "exporters", "counted without being remembered: flows.max_exporters was reached")
	l.add("flow_decoder_panics", float64(s.Panics), "packets", "never above 0")
	var refused uint64
	for _, r := range s.Refused {
		refused += r.Datagrams
	}
	l.add("flow_packets_refused", float64(refused), "packets", "from senders that flows.allow does not name")
	for i, n := range s.Sums.Codes {
		if c := record.Code(i); n > 0 && c != record.OK {
			l.add("flow_"+c.String(), float64(n), "", "met by the decoders")
		}
	}
}
