package mitigate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Rail names the guard rail that refused something. Rails are counted by name.
type Rail string

// The rails.
const (
	RailInvalid      Rail = "invalid"       // not a usable prefix, no expiry, a contradiction in the request
	RailDefaultRoute Rail = "default_route" // 0.0.0.0/0 or ::/0
	RailTooShort     Rail = "too_short"     // shorter than guard.min_length_*
	RailOutside      Rail = "outside"       // not inside the configured networks
	RailWhitelist    Rail = "whitelist"     // is, covers or lies in a whitelisted prefix
	RailProtected    Rail = "protected"     // is, covers or lies in a protected or infrastructure prefix
	RailMaxBlackhole Rail = "max_blackholes"
	RailMaxFlowSpec  Rail = "max_flowspec"
	RailMaxHostgroup Rail = "max_per_hostgroup"
	RailMaxNew       Rail = "max_new_per_minute"
	RailKillSwitch   Rail = "kill_switch"
	RailPolicy       Rail = "policy"       // the hostgroup's policy leaves nothing to announce
	RailNoSignature  Rail = "no_signature" // no Flow Spec rule describes the attack, and flowspec_fallback is none
	RailLint         Rail = "lint"         // the linter refused the rule
)

// Guard holds the guard rails. They are not optional: every mitigation, an operator's too, passes all of them.
type Guard struct {
	// MinLengthIPv4 is the shortest IPv4 prefix that is ever announced, 8 to 32. Default: 24.
	MinLengthIPv4 int `json:"min_length_ipv4"`
	// MinLengthIPv6 is the shortest IPv6 prefix that is ever announced, 16 to 128. Default: 48.
	MinLengthIPv6 int `json:"min_length_ipv6"`
	// MaxBlackholes is the most blackholes in force at a time, 1 to 100000. Keep it below the routers' prefix limit:
	// a router that sees more resets the session and loses all of them. Default: 100.
	MaxBlackholes int `json:"max_blackholes"`
	// MaxFlowSpec is the most Flow Spec rules in force at a time, 1 to 100000. Default: 100.
	MaxFlowSpec int `json:"max_flowspec"`
	// MaxPerHostgroup is the most mitigations of one hostgroup at a time. Default: 0, no limit of its own.
	MaxPerHostgroup int `json:"max_per_hostgroup"`
	// MaxNewPerMinute is the most new mitigations in any 60 seconds, 1 to 100000. Default: 100.
	MaxNewPerMinute int `json:"max_new_per_minute"`
	// MinHold is how long a mitigation stays at least, so that routes do not flap, 0s to 1h. Default: 60s.
	MinHold time.Duration `json:"min_hold"`
	// MaxManualTime is how far ahead the expiry of a mitigation set by hand may lie, 10s to 168h. Default: 24h.
	MaxManualTime time.Duration `json:"max_manual_time"`
	// Protected are addresses that are never mitigated, nor any prefix that covers them: routers, name servers, the
	// management network. Next hops, BGP peers and the appliance's own addresses are protected without being listed.
	Protected []netip.Prefix `json:"protected,omitempty"`
}

// DefaultGuard returns the rails of an appliance that sets none.
func DefaultGuard() Guard {
	return Guard{
		MinLengthIPv4: 24, MinLengthIPv6: 48,
		MaxBlackholes: 100, MaxFlowSpec: 100, MaxNewPerMinute: 100,
		MinHold: time.Minute, MaxManualTime: 24 * time.Hour,
	}
}

// maxActive bounds the planner's memory and the size of one reconcile.
const maxActive = 100_000

// Validate reports every problem, each beginning with its key.
func (g Guard) Validate() error {
	var errs []error
	within := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("%s: %d is outside %d..%d", key, v, lo, hi))
		}
	}
	within("min_length_ipv4", g.MinLengthIPv4, 8, 32)
	within("min_length_ipv6", g.MinLengthIPv6, 16, 128)
	within("max_blackholes", g.MaxBlackholes, 1, maxActive)
	within("max_flowspec", g.MaxFlowSpec, 1, maxActive)
	within("max_per_hostgroup", g.MaxPerHostgroup, 0, maxActive)
	within("max_new_per_minute", g.MaxNewPerMinute, 1, maxActive)
	if g.MinHold < 0 || g.MinHold > time.Hour {
		errs = append(errs, fmt.Errorf("min_hold: %v is outside 0s..1h", g.MinHold))
	}
	if g.MaxManualTime < minBanTime || g.MaxManualTime > maxBanTime {
		errs = append(errs, fmt.Errorf("max_manual_time: %v is outside %v..%v", g.MaxManualTime, minBanTime, maxBanTime))
	}
	for _, p := range g.Protected {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("protected: %v is not an IPv4 or IPv6 prefix", p))
		}
	}
	return errors.Join(errs...)
}

// Site is what the planner must know about the network that it protects.
type Site struct {
	// Networks are the configured networks; nothing outside them is ever announced.
	Networks []netip.Prefix
	// Whitelist is never mitigated.
	Whitelist []netip.Prefix
	// Infrastructure is protected as Guard.Protected is: the wiring puts BGP peers, local and router addresses here.
	Infrastructure []netip.Prefix
	// Groups are the hostgroups' own prefixes, for incidents of a whole group.
	Groups map[string][]netip.Prefix
}

// refused is the verdict of a rail, nil when the way is free.
type refused struct {
	rail   Rail
	reason string
}

func refuse(r Rail, format string, args ...any) *refused {
	return &refused{rail: r, reason: fmt.Sprintf(format, args...)}
}

// rails are Guard and Site compiled for lookups.
type rails struct {
	guard                          Guard
	networks, whitelist, protected prefixSet
}

func newRails(g Guard, s Site, nextHops []netip.Addr) *rails {
	protected := slices.Concat(g.Protected, s.Infrastructure)
	for _, h := range nextHops {
		protected = append(protected, hostPrefix(h))
	}
	return &rails{
		guard:     g,
		networks:  newPrefixSet(s.Networks),
		whitelist: newPrefixSet(s.Whitelist),
		protected: newPrefixSet(protected),
	}
}

// check applies every rail that needs no count to what m would announce.
func (r *rails) check(m Mitigation) *refused {
	if v := r.checkPrefix(m.Prefix); v != nil {
		return v
	}
	switch m.Kind {
	case Blackhole:
		if err := checkNextHop(m.NextHop, m.Prefix.Addr().Is4()); err != nil {
			return refuse(RailInvalid, "next hop: %v", err)
		}
		if m.Prefix.Contains(m.NextHop) {
			return refuse(RailProtected, "next hop %s lies in %s: the route would lead to itself", m.NextHop, m.Prefix)
		}
	case FlowSpec:
		// Prefix is what was checked: it must be the very prefix that the rule matches, or the rails guard nothing.
		if m.Prefix != m.Match.Destination && m.Prefix != m.Match.Source {
			return refuse(RailInvalid, "rule matches %s from %s, not %s", m.Match.Destination, m.Match.Source, m.Prefix)
		}
		if m.Match.Destination.IsValid() && m.Prefix != m.Match.Destination {
			if v := r.checkPrefix(m.Match.Destination); v != nil {
				return v
			}
		}
	default:
		return refuse(RailInvalid, "%q is not a kind of mitigation", m.Kind)
	}
	return nil
}

func (r *rails) checkPrefix(p netip.Prefix) *refused {
	minLen := r.guard.MinLengthIPv6
	if p.Addr().Is4() {
		minLen = r.guard.MinLengthIPv4
	}
	switch {
	case !p.IsValid(), p.Addr().Is4In6(), p != p.Masked():
		return refuse(RailInvalid, "%s is not a usable prefix", p)
	case p.Bits() == 0:
		return refuse(RailDefaultRoute, "%s is the default route", p)
	case p.Bits() < minLen:
		return refuse(RailTooShort, "%s is shorter than /%d", p, minLen)
	case p.Addr().IsMulticast(), p.Addr().IsLinkLocalUnicast(), p.Addr().IsLoopback(), p.Addr().IsUnspecified():
		return refuse(RailInvalid, "%s is not routable unicast", p)
	case !r.networks.covers(p):
		return refuse(RailOutside, "%s is outside the configured networks", p)
	case r.whitelist.overlaps(p):
		return refuse(RailWhitelist, "%s touches the whitelist", p)
	case r.protected.overlaps(p):
		return refuse(RailProtected, "%s touches a protected address", p)
	}
	return nil
}

// hostPrefix is the /32 or /128 of a.
func hostPrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}
