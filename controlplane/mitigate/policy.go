package mitigate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Mode is how a hostgroup's attacks are mitigated.
type Mode string

// The modes.
const (
	ModeNone      Mode = "none"      // detect and report only
	ModeBlackhole Mode = "blackhole" // RFC 7999: drop everything to the victim
	ModeFlowSpec  Mode = "flowspec"  // RFC 8955/8956: drop or limit what the breached threshold describes
)

// Fallback is what a Flow Spec policy does about an attack that no single class of traffic explains.
type Fallback string

// The fallbacks.
const (
	FallbackNone      Fallback = "none"       // report the refusal, announce nothing
	FallbackBlackhole Fallback = "blackhole"  // announce a blackhole instead
	FallbackRateLimit Fallback = "rate-limit" // limit all traffic of the victim to flowspec_rate_mbps
)

// Policy is how the attacks on one hostgroup's members are mitigated. Every field may be left unset: it then has the value
// of the parent group, of the group global, and in the end of DefaultPolicy. It stands beside the thresholds in weir.yaml.
type Policy struct {
	// Mitigation is none (detect and report only), blackhole or flowspec. Default: blackhole.
	// Nothing is announced before a BGP peer is configured.
	Mitigation Mode `json:"mitigation,omitempty"`
	// AnnounceHost announces the victim's own /32 or /128. Default: true.
	AnnounceHost *bool `json:"announce_host,omitempty"`
	// AnnounceSubnet announces the subnet around the victim, for diversion to a scrubber; it may be on together with
	// announce_host. It never reaches beyond the configured network that holds the victim. Default: false.
	AnnounceSubnet *bool `json:"announce_subnet,omitempty"`
	// SubnetLengthIPv4 is the prefix length of that subnet for IPv4 victims, 8 to 32. Default: 24.
	SubnetLengthIPv4 int `json:"subnet_length_ipv4,omitempty"`
	// SubnetLengthIPv6 is the same for IPv6 victims, 16 to 128. Default: 48.
	SubnetLengthIPv6 int `json:"subnet_length_ipv6,omitempty"`
	// NextHopIPv4 is the next hop of announced IPv4 hosts; routers send it to a discard interface. Default: 192.0.2.1.
	NextHopIPv4 netip.Addr `json:"next_hop_ipv4,omitzero"`
	// NextHopIPv6 is the same for IPv6. Default: 100::1 (RFC 6666).
	NextHopIPv6 netip.Addr `json:"next_hop_ipv6,omitzero"`
	// NextHopSubnetIPv4 is the next hop of announced IPv4 subnets, such as a scrubber's. Default: next_hop_ipv4.
	NextHopSubnetIPv4 netip.Addr `json:"next_hop_subnet_ipv4,omitzero"`
	// NextHopSubnetIPv6 is the same for IPv6. Default: next_hop_ipv6.
	NextHopSubnetIPv6 netip.Addr `json:"next_hop_subnet_ipv6,omitzero"`
	// CommunitiesHost go with announced hosts: "65001:666", "64512:1:7" (large), "blackhole", "no-export", "no-advertise".
	// Default: 65535:666 and no-export. An empty list sends none.
	CommunitiesHost []Community `json:"communities_host,omitzero"`
	// CommunitiesSubnet go with announced subnets and hostgroup networks. Default: the same as communities_host.
	CommunitiesSubnet []Community `json:"communities_subnet,omitzero"`
	// FlowSpecAction is what routers do with traffic that matches: discard or rate-limit. Default: discard.
	FlowSpecAction Action `json:"flowspec_action,omitempty"`
	// FlowSpecRateMbps is the rate left by rate-limit, in Mbit/s (10^6 bits), 1 to 1000000. Default: 10.
	FlowSpecRateMbps uint64 `json:"flowspec_rate_mbps,omitempty"`
	// FlowSpecFallback says what happens when no class of traffic has more than 90 % of the attack, so that a rule would
	// have to match everything: blackhole, rate-limit (all traffic of the victim, to flowspec_rate_mbps) or none.
	// Default: blackhole, since an attack that cannot be described must still be stopped.
	FlowSpecFallback Fallback `json:"flowspec_fallback,omitempty"`
	// DryRun plans, journals and shows mitigations without announcing them. Default: false.
	DryRun *bool `json:"dry_run,omitempty"`
	// BanTime is how long a mitigation of this group lasts at least, 10s to 168h; it is renewed while the attack goes on.
	// Default: the appliance's ban_time.
	BanTime time.Duration `json:"ban_time,omitempty"`
}

// Limits of Policy's and Guard's values.
const (
	minBanTime = 10 * time.Second
	maxBanTime = 7 * 24 * time.Hour
	maxRate    = 1_000_000
	// maxCommunities keeps an UPDATE message far below 4,096 bytes.
	maxCommunities = 32
)

// DefaultPolicy returns the values that are used when neither the group, its parents nor global set them.
// BanTime stays unset: the incident's own ban time governs.
func DefaultPolicy() Policy {
	return Policy{
		Mitigation:       ModeBlackhole,
		AnnounceHost:     new(true),
		AnnounceSubnet:   new(false),
		SubnetLengthIPv4: 24,
		SubnetLengthIPv6: 48,
		NextHopIPv4:      netip.AddrFrom4([4]byte{192, 0, 2, 1}),
		NextHopIPv6:      netip.AddrFrom16([16]byte{0: 0x01, 15: 0x01}),
		CommunitiesHost:  []Community{"65535:666", "no-export"},
		FlowSpecAction:   Discard,
		FlowSpecRateMbps: 10,
		FlowSpecFallback: FallbackBlackhole,
		DryRun:           new(false),
	}
}

// Inherit returns p with every unset field taken from parent. Resolve a group with
// group.Inherit(itsParent).Inherit(global).Inherit(DefaultPolicy()).
func (p Policy) Inherit(parent Policy) Policy {
	or(&p.Mitigation, parent.Mitigation)
	or(&p.AnnounceHost, parent.AnnounceHost)
	or(&p.AnnounceSubnet, parent.AnnounceSubnet)
	or(&p.SubnetLengthIPv4, parent.SubnetLengthIPv4)
	or(&p.SubnetLengthIPv6, parent.SubnetLengthIPv6)
	or(&p.NextHopIPv4, parent.NextHopIPv4)
	or(&p.NextHopIPv6, parent.NextHopIPv6)
	or(&p.NextHopSubnetIPv4, parent.NextHopSubnetIPv4)
	or(&p.NextHopSubnetIPv6, parent.NextHopSubnetIPv6)
	if p.CommunitiesHost == nil {
		p.CommunitiesHost = slices.Clone(parent.CommunitiesHost)
	}
	if p.CommunitiesSubnet == nil {
		p.CommunitiesSubnet = slices.Clone(parent.CommunitiesSubnet)
	}
	or(&p.FlowSpecAction, parent.FlowSpecAction)
	or(&p.FlowSpecRateMbps, parent.FlowSpecRateMbps)
	or(&p.FlowSpecFallback, parent.FlowSpecFallback)
	or(&p.DryRun, parent.DryRun)
	or(&p.BanTime, parent.BanTime)
	return p
}

func or[T comparable](v *T, parent T) {
	var unset T
	if *v == unset {
		*v = parent
	}
}

// Validate reports every problem of the fields that are set, each beginning with its key.
func (p Policy) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !slices.Contains([]Mode{"", ModeNone, ModeBlackhole, ModeFlowSpec}, p.Mitigation) {
		bad("mitigation: %q is not one of none, blackhole, flowspec", p.Mitigation)
	}
	if n := p.SubnetLengthIPv4; n != 0 && (n < 8 || n > 32) {
		bad("subnet_length_ipv4: %d is outside 8..32", n)
	}
	if n := p.SubnetLengthIPv6; n != 0 && (n < 16 || n > 128) {
		bad("subnet_length_ipv6: %d is outside 16..128", n)
	}
	for _, h := range []struct {
		key  string
		addr netip.Addr
		v4   bool
	}{
		{"next_hop_ipv4", p.NextHopIPv4, true},
		{"next_hop_ipv6", p.NextHopIPv6, false},
		{"next_hop_subnet_ipv4", p.NextHopSubnetIPv4, true},
		{"next_hop_subnet_ipv6", p.NextHopSubnetIPv6, false},
	} {
		if err := checkNextHop(h.addr, h.v4); h.addr.IsValid() && err != nil {
			bad("%s: %w", h.key, err)
		}
	}
	if err := checkCommunities(p.CommunitiesHost); err != nil {
		bad("communities_host: %w", err)
	}
	if err := checkCommunities(p.CommunitiesSubnet); err != nil {
		bad("communities_subnet: %w", err)
	}
	if !slices.Contains([]Action{"", Discard, RateLimit}, p.FlowSpecAction) {
		bad("flowspec_action: %q is not one of discard, rate-limit", p.FlowSpecAction)
	}
	if p.FlowSpecRateMbps > maxRate {
		bad("flowspec_rate_mbps: %d is outside 1..%d", p.FlowSpecRateMbps, maxRate)
	}
	if !slices.Contains([]Fallback{"", FallbackNone, FallbackBlackhole, FallbackRateLimit}, p.FlowSpecFallback) {
		bad("flowspec_fallback: %q is not one of none, blackhole, rate-limit", p.FlowSpecFallback)
	}
	if p.BanTime != 0 && (p.BanTime < minBanTime || p.BanTime > maxBanTime) {
		bad("ban_time: %v is outside %v..%v; every mitigation must end", p.BanTime, minBanTime, maxBanTime)
	}
	return errors.Join(errs...)
}

// checkNextHop refuses next hops that would draw the attack to the appliance or nowhere.
func checkNextHop(a netip.Addr, v4 bool) error {
	switch {
	case !a.IsValid():
		return errors.New("must be set")
	case a.Is4() != v4:
		return fmt.Errorf("%s is of the wrong address family", a)
	case a.IsUnspecified():
		return fmt.Errorf("%s stands for the announcing speaker itself and would draw the attack to the appliance; "+
			"use a discard address such as 192.0.2.1 or 100::1", a)
	case a.IsLoopback(), a.IsMulticast(), a.Zone() != "":
		return fmt.Errorf("%s cannot be a next hop", a)
	}
	return nil
}

func checkCommunities(list []Community) error {
	if len(list) > maxCommunities {
		return fmt.Errorf("%d communities are more than %d", len(list), maxCommunities)
	}
	var errs []error
	for _, c := range list {
		_, err := c.Parse()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
