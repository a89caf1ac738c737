package rule

import "github.com/weir-ddos/weir/dataplane/traffic"

// Metric is one of the thirteen quantities that a threshold can limit; each has a limit per direction, so there are 26.
type Metric uint8

// The metrics, in the order in which they are judged. Packet metrics are in packets/s,
// bandwidth metrics in Mbit/s (10^6 bits), flows in distinct 5-tuples per second.
const (
	PPS Metric = iota
	Mbps
	Flows
	TCPPPS
	TCPMbps
	UDPPPS
	UDPMbps
	ICMPPPS
	ICMPMbps
	TCPSYNPPS
	TCPSYNMbps
	FragmentsPPS
	FragmentsMbps
	NumMetrics
)

var thresholdNames = [NumMetrics]string{
	"threshold_pps", "threshold_mbps", "threshold_flows",
	"threshold_tcp_pps", "threshold_tcp_mbps", "threshold_udp_pps", "threshold_udp_mbps",
	"threshold_icmp_pps", "threshold_icmp_mbps", "threshold_tcp_syn_pps", "threshold_tcp_syn_mbps",
	"threshold_ip_fragments_pps", "threshold_ip_fragments_mbps",
}

var banNames = [NumMetrics]string{
	"ban_for_pps", "ban_for_bandwidth", "ban_for_flows",
	"ban_for_tcp_pps", "ban_for_tcp_bandwidth", "ban_for_udp_pps", "ban_for_udp_bandwidth",
	"ban_for_icmp_pps", "ban_for_icmp_bandwidth", "ban_for_tcp_syn_pps", "ban_for_tcp_syn_bandwidth",
	"ban_for_ip_fragments_pps", "ban_for_ip_fragments_bandwidth",
}

// Threshold is the configuration key of the metric's limit: threshold_udp_pps, or threshold_udp_pps_outgoing.
func (m Metric) Threshold(d traffic.Direction) string { return thresholdNames[m] + suffix(d) }

// Ban is the configuration key of the metric's switch: ban_for_udp_pps, or ban_for_udp_pps_outgoing.
func (m Metric) Ban(d traffic.Direction) string { return banNames[m] + suffix(d) }

// Bandwidth reports whether the metric is in Mbit/s.
func (m Metric) Bandwidth() bool {
	switch m {
	case Mbps, TCPMbps, UDPMbps, ICMPMbps, TCPSYNMbps, FragmentsMbps:
		return true
	default:
		return false
	}
}

// Unit is the unit of the metric's values: pps, mbps or flows.
func (m Metric) Unit() string {
	switch {
	case m == Flows:
		return "flows"
	case m.Bandwidth():
		return "mbps"
	default:
		return "pps"
	}
}

func suffix(d traffic.Direction) string {
	if d == traffic.Outgoing {
		return "_outgoing"
	}
	return ""
}
