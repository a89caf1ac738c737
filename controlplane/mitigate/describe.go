package mitigate

import (
	"net/netip"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// dominantShare is how much of the attack one class must have before a rule for that class is trusted to stop it.
// It is FastNetMon's figure for naming an attack.
const dominantShare = 0.9

// shape is a class of traffic that a breach can point to.
type shape uint8

const (
	shapeUnknown shape = iota
	shapeSYN
	shapeTCP
	shapeUDP
	shapeICMP
	shapeFragments
)

// describe makes the Flow Spec match that the breached threshold tells, for traffic to prefix (or from it, when the attack
// is outgoing). A threshold on one class names the class. One on the total names the class that has more than 90 % of
// the traffic at that moment; when none has, ok is false: a rule would have to match everything.
//
// It looks at the breach only, which does not change while the incident lasts: the rule is stable.
func describe(b *rule.Breach, prefix netip.Prefix) (r Match, ok bool) {
	if b.Direction == traffic.Outgoing {
		r.Source = prefix
	} else {
		r.Destination = prefix
	}
	switch shapeOf(b) {
	case shapeSYN:
		// SYN without ACK: answers of servers to our own clients pass.
		r.Protocols, r.TCPFlags, r.TCPFlagsNot = []uint8{wire.ProtoTCP}, wire.FlagSYN, wire.FlagACK
	case shapeTCP:
		r.Protocols = []uint8{wire.ProtoTCP}
	case shapeUDP:
		r.Protocols = []uint8{wire.ProtoUDP}
	case shapeICMP:
		r.Protocols = []uint8{wire.ProtoICMPv6}
		if prefix.Addr().Is4() {
			r.Protocols = []uint8{wire.ProtoICMP}
		}
	case shapeFragments:
		r.Fragment = true
	default:
		return r, false
	}
	return r, true
}

func shapeOf(b *rule.Breach) shape {
	rates := &b.In
	if b.Direction == traffic.Outgoing {
		rates = &b.Out
	}
	switch b.Metric {
	case rule.TCPSYNPPS, rule.TCPSYNMbps:
		return shapeSYN
	case rule.UDPPPS, rule.UDPMbps:
		return shapeUDP
	case rule.ICMPPPS, rule.ICMPMbps:
		return shapeICMP
	case rule.FragmentsPPS, rule.FragmentsMbps:
		return shapeFragments
	case rule.TCPPPS:
		return narrowTCP(rates[rule.TCPSYNPPS], rates[rule.TCPPPS])
	case rule.TCPMbps:
		return narrowTCP(rates[rule.TCPSYNMbps], rates[rule.TCPMbps])
	case rule.Mbps:
		return dominant(rates[rule.Mbps], []share{
			{shapeSYN, rates[rule.TCPSYNMbps]},
			{shapeICMP, rates[rule.ICMPMbps]},
			{shapeFragments, rates[rule.FragmentsMbps]},
			{shapeUDP, rates[rule.UDPMbps]},
			{shapeTCP, rates[rule.TCPMbps]},
		})
	default: // PPS and Flows: judged by packets
		return dominant(rates[rule.PPS], []share{
			{shapeSYN, rates[rule.TCPSYNPPS]},
			{shapeICMP, rates[rule.ICMPPPS]},
			{shapeFragments, rates[rule.FragmentsPPS]},
			{shapeUDP, rates[rule.UDPPPS]},
			{shapeTCP, rates[rule.TCPPPS]},
		})
	}
}

type share struct {
	shape shape
	rate  float64
}

// dominant returns the first shape with more than its share of total; the narrower shapes come first.
func dominant(total float64, shares []share) shape {
	for _, s := range shares {
		if s.rate > total*dominantShare {
			return s.shape
		}
	}
	return shapeUnknown
}

// narrowTCP keeps established connections alive when nearly all of a TCP flood are SYNs.
func narrowTCP(syn, tcp float64) shape {
	if syn > tcp*dominantShare {
		return shapeSYN
	}
	return shapeTCP
}
