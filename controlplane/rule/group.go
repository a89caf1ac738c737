package rule

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Calculation says what a hostgroup's limits are compared with.
type Calculation string

// The calculations.
const (
	// PerHost compares every host of the group by itself. It is the default.
	PerHost Calculation = "per_host"
	// Total compares the sum of all hosts of the group, and of all groups that have it as parent, at any depth. The hosts
	// of a total group are still judged one by one, by the limits of its nearest per_host ancestor.
	Total Calculation = "total"
)

// GlobalGroup is the hostgroup that holds every address of the networks that no other group holds, and from which every other group
// inherits. It always exists.
const GlobalGroup = "global"

// GroupConfig is one hostgroup of weir.yaml: who belongs to it, and its limits. A key that is left out is inherited from the
// parent, from the parent's parent, and in the end from global. Networks, parent, description and calculation are the
// group's own and not inherited.
//
// There are thirteen limits per direction, each a switch (ban_for_X) and a value (threshold_X); they are OR-ed. IPv4 and IPv6
// hosts are judged alike.
type GroupConfig struct {
	// Networks are the group's members, IPv4 and IPv6. The longest prefix over all groups decides which group a host
	// is in. They must lie inside the configured networks. Global holds all the rest and takes none.
	Networks []netip.Prefix `json:"networks,omitempty"`
	// Parent is the group to inherit from; empty means global.
	Parent string `json:"parent,omitempty"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Calculation is per_host (the default) or total.
	Calculation Calculation `json:"calculation,omitempty"`

	// EnableBan switches all limits of the group. Unset everywhere means true.
	EnableBan *bool `json:"enable_ban,omitempty"`
	// EnableBanIncoming switches the limits on incoming traffic. Unset everywhere means true.
	EnableBanIncoming *bool `json:"enable_ban_incoming,omitempty"`
	// EnableBanOutgoing switches the limits on outgoing traffic. Unset everywhere means true.
	EnableBanOutgoing *bool `json:"enable_ban_outgoing,omitempty"`

	// Incoming traffic: towards the hosts of the group.

	// BanForPPS switches the limit on incoming all packets.
	BanForPPS *bool `json:"ban_for_pps,omitempty"`
	// ThresholdPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdPPS *uint64 `json:"threshold_pps,omitempty"`
	// BanForBandwidth switches the limit on incoming all traffic.
	BanForBandwidth *bool `json:"ban_for_bandwidth,omitempty"`
	// ThresholdMbps is that limit in Mbit/s (10^6 bits), above zero; exceeding it is a breach, reaching it is not.
	ThresholdMbps *uint64 `json:"threshold_mbps,omitempty"`
	// BanForFlows switches the limit on incoming distinct 5-tuples.
	BanForFlows *bool `json:"ban_for_flows,omitempty"`
	// ThresholdFlows is that limit in flows/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFlows *uint64 `json:"threshold_flows,omitempty"`
	// BanForTCPPPS switches the limit on incoming TCP packets, SYN and fragments included.
	BanForTCPPPS *bool `json:"ban_for_tcp_pps,omitempty"`
	// ThresholdTCPPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPPPS *uint64 `json:"threshold_tcp_pps,omitempty"`
	// BanForTCPBandwidth switches the limit on incoming TCP traffic.
	BanForTCPBandwidth *bool `json:"ban_for_tcp_bandwidth,omitempty"`
	// ThresholdTCPMbps is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPMbps *uint64 `json:"threshold_tcp_mbps,omitempty"`
	// BanForUDPPPS switches the limit on incoming UDP packets.
	BanForUDPPPS *bool `json:"ban_for_udp_pps,omitempty"`
	// ThresholdUDPPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdUDPPPS *uint64 `json:"threshold_udp_pps,omitempty"`
	// BanForUDPBandwidth switches the limit on incoming UDP traffic.
	BanForUDPBandwidth *bool `json:"ban_for_udp_bandwidth,omitempty"`
	// ThresholdUDPMbps is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdUDPMbps *uint64 `json:"threshold_udp_mbps,omitempty"`
	// BanForICMPPPS switches the limit on incoming ICMP and ICMPv6 packets.
	BanForICMPPPS *bool `json:"ban_for_icmp_pps,omitempty"`
	// ThresholdICMPPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdICMPPPS *uint64 `json:"threshold_icmp_pps,omitempty"`
	// BanForICMPBandwidth switches the limit on incoming ICMP and ICMPv6 traffic.
	BanForICMPBandwidth *bool `json:"ban_for_icmp_bandwidth,omitempty"`
	// ThresholdICMPMbps is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdICMPMbps *uint64 `json:"threshold_icmp_mbps,omitempty"`
	// BanForTCPSYNPPS switches the limit on incoming TCP packets with SYN set, whatever else is set.
	BanForTCPSYNPPS *bool `json:"ban_for_tcp_syn_pps,omitempty"`
	// ThresholdTCPSYNPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPSYNPPS *uint64 `json:"threshold_tcp_syn_pps,omitempty"`
	// BanForTCPSYNBandwidth switches the limit on incoming TCP traffic with SYN set.
	BanForTCPSYNBandwidth *bool `json:"ban_for_tcp_syn_bandwidth,omitempty"`
	// ThresholdTCPSYNMbps is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPSYNMbps *uint64 `json:"threshold_tcp_syn_mbps,omitempty"`
	// BanForFragmentsPPS switches the limit on incoming IP fragments of any protocol.
	BanForFragmentsPPS *bool `json:"ban_for_ip_fragments_pps,omitempty"`
	// ThresholdFragmentsPPS is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFragmentsPPS *uint64 `json:"threshold_ip_fragments_pps,omitempty"`
	// BanForFragmentsBandwidth switches the limit on incoming traffic in IP fragments.
	BanForFragmentsBandwidth *bool `json:"ban_for_ip_fragments_bandwidth,omitempty"`
	// ThresholdFragmentsMbps is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFragmentsMbps *uint64 `json:"threshold_ip_fragments_mbps,omitempty"`

	// Outgoing traffic: sent by the hosts of the group.

	// BanForPPSOutgoing switches the limit on outgoing all packets.
	BanForPPSOutgoing *bool `json:"ban_for_pps_outgoing,omitempty"`
	// ThresholdPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdPPSOutgoing *uint64 `json:"threshold_pps_outgoing,omitempty"`
	// BanForBandwidthOutgoing switches the limit on outgoing all traffic.
	BanForBandwidthOutgoing *bool `json:"ban_for_bandwidth_outgoing,omitempty"`
	// ThresholdMbpsOutgoing is that limit in Mbit/s (10^6 bits), above zero; exceeding it is a breach, reaching it is not.
	ThresholdMbpsOutgoing *uint64 `json:"threshold_mbps_outgoing,omitempty"`
	// BanForFlowsOutgoing switches the limit on outgoing distinct 5-tuples.
	BanForFlowsOutgoing *bool `json:"ban_for_flows_outgoing,omitempty"`
	// ThresholdFlowsOutgoing is that limit in flows/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFlowsOutgoing *uint64 `json:"threshold_flows_outgoing,omitempty"`
	// BanForTCPPPSOutgoing switches the limit on outgoing TCP packets, SYN and fragments included.
	BanForTCPPPSOutgoing *bool `json:"ban_for_tcp_pps_outgoing,omitempty"`
	// ThresholdTCPPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPPPSOutgoing *uint64 `json:"threshold_tcp_pps_outgoing,omitempty"`
	// BanForTCPBandwidthOutgoing switches the limit on outgoing TCP traffic.
	BanForTCPBandwidthOutgoing *bool `json:"ban_for_tcp_bandwidth_outgoing,omitempty"`
	// ThresholdTCPMbpsOutgoing is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPMbpsOutgoing *uint64 `json:"threshold_tcp_mbps_outgoing,omitempty"`
	// BanForUDPPPSOutgoing switches the limit on outgoing UDP packets.
	BanForUDPPPSOutgoing *bool `json:"ban_for_udp_pps_outgoing,omitempty"`
	// ThresholdUDPPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdUDPPPSOutgoing *uint64 `json:"threshold_udp_pps_outgoing,omitempty"`
	// BanForUDPBandwidthOutgoing switches the limit on outgoing UDP traffic.
	BanForUDPBandwidthOutgoing *bool `json:"ban_for_udp_bandwidth_outgoing,omitempty"`
	// ThresholdUDPMbpsOutgoing is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdUDPMbpsOutgoing *uint64 `json:"threshold_udp_mbps_outgoing,omitempty"`
	// BanForICMPPPSOutgoing switches the limit on outgoing ICMP and ICMPv6 packets.
	BanForICMPPPSOutgoing *bool `json:"ban_for_icmp_pps_outgoing,omitempty"`
	// ThresholdICMPPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdICMPPPSOutgoing *uint64 `json:"threshold_icmp_pps_outgoing,omitempty"`
	// BanForICMPBandwidthOutgoing switches the limit on outgoing ICMP and ICMPv6 traffic.
	BanForICMPBandwidthOutgoing *bool `json:"ban_for_icmp_bandwidth_outgoing,omitempty"`
	// ThresholdICMPMbpsOutgoing is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdICMPMbpsOutgoing *uint64 `json:"threshold_icmp_mbps_outgoing,omitempty"`
	// BanForTCPSYNPPSOutgoing switches the limit on outgoing TCP packets with SYN set, whatever else is set.
	BanForTCPSYNPPSOutgoing *bool `json:"ban_for_tcp_syn_pps_outgoing,omitempty"`
	// ThresholdTCPSYNPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPSYNPPSOutgoing *uint64 `json:"threshold_tcp_syn_pps_outgoing,omitempty"`
	// BanForTCPSYNBandwidthOutgoing switches the limit on outgoing TCP traffic with SYN set.
	BanForTCPSYNBandwidthOutgoing *bool `json:"ban_for_tcp_syn_bandwidth_outgoing,omitempty"`
	// ThresholdTCPSYNMbpsOutgoing is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdTCPSYNMbpsOutgoing *uint64 `json:"threshold_tcp_syn_mbps_outgoing,omitempty"`
	// BanForFragmentsPPSOutgoing switches the limit on outgoing IP fragments of any protocol.
	BanForFragmentsPPSOutgoing *bool `json:"ban_for_ip_fragments_pps_outgoing,omitempty"`
	// ThresholdFragmentsPPSOutgoing is that limit in packets/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFragmentsPPSOutgoing *uint64 `json:"threshold_ip_fragments_pps_outgoing,omitempty"`
	// BanForFragmentsBandwidthOutgoing switches the limit on outgoing traffic in IP fragments.
	BanForFragmentsBandwidthOutgoing *bool `json:"ban_for_ip_fragments_bandwidth_outgoing,omitempty"`
	// ThresholdFragmentsMbpsOutgoing is that limit in Mbit/s, above zero; exceeding it is a breach, reaching it is not.
	ThresholdFragmentsMbpsOutgoing *uint64 `json:"threshold_ip_fragments_mbps_outgoing,omitempty"`
}

// fieldIndex finds a field of GroupConfig by its key, so that the metric's names in metric.go are the only table.
var fieldIndex = func() map[string]int {
	t := reflect.TypeFor[GroupConfig]()
	index := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		index[key] = i
	}
	return index
}()

// Switch returns ban_for_X as the group itself sets it; nil when it does not.
func (g *GroupConfig) Switch(m Metric, d traffic.Direction) *bool {
	return *g.field(m.Ban(d)).(**bool)
}

// Limit returns threshold_X as the group itself sets it; nil when it does not.
func (g *GroupConfig) Limit(m Metric, d traffic.Direction) *uint64 {
	return *g.field(m.Threshold(d)).(**uint64)
}

// SetSwitch sets ban_for_X.
func (g *GroupConfig) SetSwitch(m Metric, d traffic.Direction, on bool) {
	*g.field(m.Ban(d)).(**bool) = &on
}

// SetLimit sets threshold_X, in the metric's unit.
func (g *GroupConfig) SetLimit(m Metric, d traffic.Direction, limit uint64) {
	*g.field(m.Threshold(d)).(**uint64) = &limit
}

func (g *GroupConfig) field(key string) any {
	return reflect.ValueOf(g).Elem().Field(fieldIndex[key]).Addr().Interface()
}

// Problem is one fault of a hostgroup's configuration.
type Problem struct {
	// Group is the hostgroup's name, Key the key inside it; Key is empty when the group itself is at fault.
	Group, Key string
	// Text says what is wrong, for people.
	Text string
}

// Error is "hostgroups.GROUP.KEY: text".
func (p *Problem) Error() string {
	path := "hostgroups." + p.Group
	if p.Key != "" {
		path += "." + p.Key
	}
	return path + ": " + p.Text
}

// check reports what is wrong with the group by itself.
func (g *GroupConfig) check(name string) (problems []error) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, &Problem{Group: name, Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if !validName(name) {
		bad("", "the name must be 1 to 64 letters, digits, '-', '_' or '.'")
	}
	switch g.Calculation {
	case "", PerHost, Total:
	default:
		bad("calculation", "%q is neither per_host nor total", string(g.Calculation))
	}
	for _, p := range g.Networks {
		switch {
		case !p.IsValid():
			bad("networks", "an entry is not a prefix")
		case p.Masked() != p:
			bad("networks", "%v has bits set behind its length; did you mean %v?", p, p.Masked())
		case p.Addr().Is4In6():
			bad("networks", "%v is a v4-mapped prefix; write it as IPv4", p)
		}
	}
	if name == GlobalGroup {
		if len(g.Networks) > 0 {
			bad("networks", "global holds every address that no other group holds and takes no networks")
		}
		if g.Parent != "" {
			bad("parent", "global has no parent")
		}
	}
	for _, d := range Directions {
		for m := range NumMetrics {
			if l := g.Limit(m, d); l != nil && *l == 0 {
				bad(m.Threshold(d), "a limit of zero would fire on everything; leave it out or switch %s off", m.Ban(d))
			}
		}
	}
	return problems
}

func validName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
