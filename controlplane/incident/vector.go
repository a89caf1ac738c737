package incident

import (
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Names that Classify gives besides the vectors' own.
const (
	TCPFlood      = "tcp_flood"      // TCP, mostly without SYN
	ProtocolFlood = "protocol_flood" // neither TCP, UDP nor ICMP: GRE, ESP, ...
	MultiVector   = "multi_vector"   // no class has more than half
)

// VectorOf is FastNetMon's rule: the first of syn, icmp, fragments and udp that has more than 90 % of the packets in the
// attack's direction, in whole packets per second.
func VectorOf(r *rule.Rates) Vector {
	total := uint64(r[rule.PPS])
	for _, c := range []struct {
		metric rule.Metric
		vector Vector
	}{
		{rule.TCPSYNPPS, SYNFlood},
		{rule.ICMPPPS, ICMPFlood},
		{rule.FragmentsPPS, Fragmentation},
		{rule.UDPPPS, UDPFlood},
	} {
		if n := uint64(r[c.metric]); total > 0 && float64(n) > 0.9*float64(total) {
			return c.vector
		}
	}
	return Unknown
}

// ProtocolOf is the largest of tcp, udp and icmp by packets; a tie goes to the first. "unknown" when there is none of them.
func ProtocolOf(r *rule.Rates) string {
	best, name := 0.0, "unknown"
	for _, c := range []struct {
		metric rule.Metric
		name   string
	}{{rule.TCPPPS, "tcp"}, {rule.UDPPPS, "udp"}, {rule.ICMPPPS, "icmp"}} {
		if r[c.metric] > best {
			best, name = r[c.metric], c.name
		}
	}
	return name
}

// volumes are the metrics of a set of rates in one unit: packets or bandwidth.
type volumes struct{ total, tcp, syn, udp, icmp, fragments rule.Metric }

var (
	byPackets   = volumes{rule.PPS, rule.TCPPPS, rule.TCPSYNPPS, rule.UDPPPS, rule.ICMPPPS, rule.FragmentsPPS}
	byBandwidth = volumes{rule.Mbps, rule.TCPMbps, rule.TCPSYNMbps, rule.UDPMbps, rule.ICMPMbps, rule.FragmentsMbps}
)

// Classify names the attack by the metric that breached. FastNetMon says "unknown" as soon as the victim has more than a
// tenth of ordinary traffic; here a limit on one class names that class, and a limit on everything names the class
// with more than half of what was limited (packets or bits). The share is that class's part of the total, 0..1.
func Classify(m rule.Metric, r *rule.Rates) (name string, share float64) {
	v := byPackets
	if m.Bandwidth() {
		v = byBandwidth
	}
	part := func(x float64) float64 {
		if r[v.total] <= 0 {
			return 0
		}
		return min(1, max(0, x/r[v.total]))
	}
	switch m {
	case v.syn:
		return string(SYNFlood), part(r[v.syn])
	case v.fragments:
		return string(Fragmentation), part(r[v.fragments])
	case v.udp, v.icmp, v.tcp:
		if 2*r[v.fragments] > r[m] && part(r[v.fragments]) > 0.5 {
			return string(Fragmentation), part(r[v.fragments])
		}
		switch {
		case m == v.udp:
			return string(UDPFlood), part(r[v.udp])
		case m == v.icmp:
			return string(ICMPFlood), part(r[v.icmp])
		case 2*r[v.syn] > r[v.tcp]:
			return string(SYNFlood), part(r[v.syn])
		}
		return TCPFlood, part(r[v.tcp])
	}
	for _, c := range []struct {
		name  string
		value float64
	}{
		{string(Fragmentation), r[v.fragments]},
		{string(SYNFlood), r[v.syn]},
		{string(UDPFlood), r[v.udp]},
		{string(ICMPFlood), r[v.icmp]},
		{TCPFlood, r[v.tcp]},
		{ProtocolFlood, r[v.total] - r[v.tcp] - r[v.udp] - r[v.icmp]},
	} {
		if part(c.value) > 0.5 {
			return c.name, part(c.value)
		}
	}
	return MultiVector, 1
}

// rates returns the rates in the attack's direction.
func rates(d traffic.Direction, in, out *rule.Rates) *rule.Rates {
	if d == traffic.Outgoing {
		return out
	}
	return in
}
