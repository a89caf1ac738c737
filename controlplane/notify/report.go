package notify

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Text is what FastNetMon 1.1.5 to 1.2.5 gives a notify script on standard input for the event: the report for ban, the
// report and the packets for attack_details, nothing for unban. loc is the time zone of the packets' times.
//
// Scripts and mail filters in the field read these lines, so not a blank may change. Where FastNetMon has a bug (IPv6
// victims are reported as "IP: 0.0.0.0") the text is what was meant.
func Text(e Event, loc *time.Location) string {
	switch e.Action {
	case Ban:
		return Report(&e.Incident)
	case AttackDetails:
		var b strings.Builder
		b.WriteString(Report(&e.Incident))
		b.WriteString("\n\n")
		for i := range e.Packets {
			packetLine(&b, &e.Packets[i], e.At, loc)
		}
		return b.String()
	default:
		return ""
	}
}

// Report is the attack report of an incident: the rates are those of the moment at which it began.
func Report(inc *incident.Incident) string {
	var b strings.Builder
	in, out := &inc.Why.In, &inc.Why.Out
	if inc.Target.Host.IsValid() {
		fmt.Fprintf(&b, "IP: %s\n", inc.Target.Host)
	} else {
		fmt.Fprintf(&b, "Hostgroup: %s\n", inc.Target.Group)
	}
	fmt.Fprintf(&b, "Attack type: %s\n", inc.Vector)
	fmt.Fprintf(&b, "Initial attack power: %d packets per second\n", whole(inc.InitialPPS))
	fmt.Fprintf(&b, "Peak attack power: %d packets per second\n", whole(max(inc.PeakPPS, inc.InitialPPS)))
	fmt.Fprintf(&b, "Attack direction: %s\n", inc.Direction)
	fmt.Fprintf(&b, "Attack protocol: %s\n", inc.Protocol)

	// Our window is the average, so that both groups show the same figures.
	for _, name := range []string{"Total", "Average"} {
		for _, line := range []struct {
			metric     rule.Metric
			what, unit string
		}{
			{rule.Mbps, "traffic", "mbps"}, {rule.PPS, "pps", "packets per second"}, {rule.Flows, "flows", "flows per second"},
		} {
			fmt.Fprintf(&b, "%s incoming %s: %d %s\n", name, line.what, whole(in[line.metric]), line.unit)
			fmt.Fprintf(&b, "%s outgoing %s: %d %s\n", name, line.what, whole(out[line.metric]), line.unit)
		}
	}
	for _, class := range []struct {
		name      string
		mbps, pps rule.Metric
	}{
		{"ip fragmented", rule.FragmentsMbps, rule.FragmentsPPS},
		{"tcp", rule.TCPMbps, rule.TCPPPS},
		{"syn tcp", rule.TCPSYNMbps, rule.TCPSYNPPS},
		{"udp", rule.UDPMbps, rule.UDPPPS},
		{"icmp", rule.ICMPMbps, rule.ICMPPPS},
	} {
		fmt.Fprintf(&b, "Incoming %s traffic: %d mbps\nOutgoing %s traffic: %d mbps\n", class.name, whole(in[class.mbps]), class.name, whole(out[class.mbps]))
		fmt.Fprintf(&b, "Incoming %s pps: %d packets per second\nOutgoing %s pps: %d packets per second\n",
			class.name, whole(in[class.pps]), class.name, whole(out[class.pps]))
	}
	fmt.Fprintf(&b, "\nAverage packet size for incoming traffic: %.1f bytes \n", packetSize(in))
	fmt.Fprintf(&b, "Average packet size for outgoing traffic: %.1f bytes \n", packetSize(out))
	return b.String()
}

// whole cuts a rate to an integer, as FastNetMon does; what cannot be a rate is 0.
func whole(v float64) uint64 {
	if math.IsNaN(v) || v < 0 {
		return 0
	}
	return uint64(min(v, 1<<62))
}

// Power is the attack's size in packets per second, as the script gets it.
func Power(inc *incident.Incident) uint64 { return whole(inc.InitialPPS) }

func packetSize(r *rule.Rates) float64 {
	if !(r[rule.PPS] > 0) {
		return 0
	}
	return r[rule.Mbps] * 1e6 / 8 / r[rule.PPS]
}

// packetLine writes one packet. The doubled blanks are the format.
func packetLine(b *strings.Builder, p *Packet, now time.Time, loc *time.Location) {
	t := p.Time
	if t.IsZero() {
		t = now
	}
	b.WriteString(t.In(loc).Format("2006-01-02 15:04:05.000000"))
	fmt.Fprintf(b, " %s:%d > %s:%d protocol: %s", p.Src, p.SrcPort, p.Dst, p.DstPort, ProtocolName(p.Proto))
	if p.Proto == wire.ProtoTCP {
		b.WriteString(" flags: " + FlagNames(p.TCPFlags))
	}
	frag := 0
	if p.Fragment {
		frag = 1
	}
	fmt.Fprintf(b, " frag: %d  packets: 1 size: %d bytes ttl: %d sample ratio: %d  \n", frag, p.Length, p.TTL, max(p.SampleRate, 1))
}

// FlagNames lists the TCP flags that are set, comma-separated, in the order of the bits; "-" when none is.
func FlagNames(flags uint8) string {
	var names []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg"} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "-"
	}
	return strings.Join(names, ",")
}

// protocolNames are IANA's keywords in lower case for what is met on the Internet.
var protocolNames = map[uint8]string{
	0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 8: "egp", 17: "udp", 33: "dccp", 41: "ipv6", 43: "ipv6-route", 44: "ipv6-frag",
	46: "rsvp", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp", 59: "ipv6-nonxt", 60: "ipv6-opts", 88: "eigrp", 89: "ospfigp", 94: "ipip",
	97: "etherip", 103: "pim", 108: "ipcomp", 112: "vrrp", 115: "l2tp", 132: "sctp", 136: "udplite", 137: "mpls-in-ip",
}

// ProtocolName is IANA's keyword of an IP protocol in lower case, or its number.
func ProtocolName(proto uint8) string {
	if name, ok := protocolNames[proto]; ok {
		return name
	}
	return strconv.Itoa(int(proto))
}
