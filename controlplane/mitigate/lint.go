package mitigate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// Bounds of a sane IP packet length in a rule. Cloudflare's routers died worldwide of a rule with a length of 99,971
// (3 March 2013); nothing longer than a jumbo frame is ever what an operator means.
const (
	minLength4    = 20 // RFC 791: the shortest header
	minLength6    = 40 // RFC 8200
	maxRuleLength = 9216
	// almostAll is the upper length bound from which a rule with no lower bound matches practically every packet.
	almostAll = 1500
)

// LintLimits are what Lint judges a mitigation against. A zero number means its default.
type LintLimits struct {
	// Networks are our own networks: what is announced lies inside one of them. Nil skips this one check; the speaker
	// does so, since the planner, which knows the networks, has judged before it.
	Networks []netip.Prefix
	// Protected are addresses that must stay reachable: routers, peers, next hops, the appliance, name servers.
	// Nothing that overlaps one is announced.
	Protected []netip.Prefix
	// BlackholeBits4 and BlackholeBits6 are the shortest prefix lengths a blackhole may have; defaults 24 and 48.
	BlackholeBits4, BlackholeBits6 int
	// FlowBits4 and FlowBits6 are the same for the protected prefix of a Flow Spec rule; defaults 24 and 64.
	FlowBits4, FlowBits6 int
	// Items is the most values that one component of a rule may list; default 16.
	Items int
}

// withDefaults fills in the zero numbers.
func (l LintLimits) withDefaults() LintLimits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.BlackholeBits4, 24)
	def(&l.BlackholeBits6, 48)
	def(&l.FlowBits4, 24)
	def(&l.FlowBits6, 64)
	def(&l.Items, 16)
	return l
}

// LintError is one reason why a mitigation must not be announced.
type LintError struct {
	// Rule is the validator's rule, V1 to V6 of BGP.md, or "plain" for a mitigation that is malformed in itself.
	Rule string
	// Field is the field of Mitigation that is at fault, by its JSON name.
	Field string
	// Problem says what is wrong, for people.
	Problem string
}

// Error is "field: problem (rule)".
func (e *LintError) Error() string { return e.Field + ": " + e.Problem + " (" + e.Rule + ")" }

// linter collects the problems of one mitigation.
type linter struct {
	m    Mitigation
	lim  LintLimits
	errs []error
}

func (l *linter) fail(rule, field, format string, args ...any) {
	l.errs = append(l.errs, &LintError{Rule: rule, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// Lint reports every reason why m must not be announced, as joined *LintError values; nil when it may be.
// It is pure. Each rule stands for an outage that somebody had, or for a router that resets the session: one bad rule
// takes every blackhole on the session down with it.
func Lint(m Mitigation, limits LintLimits) error {
	l := &linter{m: m, lim: limits.withDefaults()}
	l.life()
	l.ownPrefix()
	l.communities()
	switch m.Kind {
	case Blackhole:
		l.blackhole()
	case FlowSpec:
		l.flowSpec()
	default:
		l.fail("plain", "kind", "%q is not a kind of mitigation", m.Kind)
	}
	return errors.Join(l.errs...)
}

func (l *linter) life() {
	if l.m.ID == "" {
		l.fail("plain", "id", "is empty; operators withdraw by it")
	}
	if l.m.Reason == "" {
		l.fail("plain", "reason", "is empty; every mitigation says why")
	}
	if l.m.Expires.IsZero() {
		l.fail("plain", "expires", "is not set; every mitigation expires")
	} else if !l.m.Expires.After(l.m.Created) {
		l.fail("plain", "expires", "is not after created")
	}
}

// ownPrefix judges the prefix that is announced, or that a rule protects (V1, V2).
func (l *linter) ownPrefix() {
	p := l.m.Prefix
	if !l.wellFormed("prefix", p) {
		return
	}
	minBits := l.lim.BlackholeBits4
	switch {
	case l.m.Kind == FlowSpec && p.Addr().Is4():
		minBits = l.lim.FlowBits4
	case l.m.Kind == FlowSpec:
		minBits = l.lim.FlowBits6
	case p.Addr().Is6():
		minBits = l.lim.BlackholeBits6
	}
	if p.Bits() == 0 {
		l.fail("V2", "prefix", "%s is the default route", p)
	} else if p.Bits() < minBits {
		l.fail("V1", "prefix", "%s is shorter than /%d", p, minBits)
	}
	if a := p.Addr(); a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() {
		l.fail("V2", "prefix", "%s is not a unicast address of a network", p)
	}
	if l.lim.Networks != nil && !slices.ContainsFunc(l.lim.Networks, func(n netip.Prefix) bool { return lintCovers(n, p) }) {
		l.fail("V1", "prefix", "%s lies outside our networks", p)
	}
	for _, q := range l.lim.Protected {
		if q.Overlaps(p) {
			l.fail("V2", "prefix", "%s overlaps %s, which must stay reachable", p, q)
		}
	}
}

// wellFormed judges a prefix as such, of whatever side.
func (l *linter) wellFormed(field string, p netip.Prefix) bool {
	switch {
	case !p.IsValid():
		l.fail("V1", field, "is not set")
		return false
	case p.Addr().Is4In6():
		l.fail("V1", field, "%s is an IPv4 prefix in IPv6 clothes", p)
		return false
	case p != p.Masked():
		l.fail("V1", field, "%s has host bits set", p)
		return false
	}
	return true
}

func lintCovers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Masked().Contains(inner.Addr())
}

// lintCommunities bounds the attribute: 32 large ones are 384 bytes, and no router's policy needs more.
const lintCommunities = 32

func (l *linter) communities() {
	if n := len(l.m.Communities); n > lintCommunities {
		l.fail("V4", "communities", "%d are more than %d", n, lintCommunities)
	}
	for _, c := range l.m.Communities {
		if _, err := c.Parse(); err != nil {
			l.fail("V4", "communities", "%v", err)
		}
	}
}

func (l *linter) blackhole() {
	nh, p := l.m.NextHop, l.m.Prefix
	switch {
	case !nh.IsValid():
		l.fail("V1", "next_hop", "is not set")
	case nh.Is4In6() || nh.Zone() != "" || nh.IsUnspecified() || nh.IsMulticast() || nh.IsLoopback():
		l.fail("V1", "next_hop", "%s is no next hop", nh)
	case p.IsValid() && nh.Is4() != p.Addr().Is4():
		l.fail("V1", "next_hop", "%s is of another family than %s", nh, p)
	case p.IsValid() && p.Contains(nh):
		l.fail("V2", "next_hop", "%s lies inside the blackhole %s itself", nh, p)
	}
	if !l.m.Match.isZero() || l.m.Action != "" || l.m.Rate != 0 {
		l.fail("plain", "match", "a blackhole has no match, action or rate")
	}
}

func (l *linter) flowSpec() {
	f := &l.m.Match
	if l.m.NextHop.IsValid() {
		l.fail("plain", "next_hop", "a Flow Spec rule has none")
	}
	l.flowPrefixes(f)
	l.protocols(f)
	l.ports(f)
	l.tcpFlags(f)
	l.lengths(f)
	if f.Fragment && (len(f.SourcePorts) > 0 || len(f.DestinationPorts) > 0 || f.TCPFlags|f.TCPFlagsNot != 0) {
		l.fail("V3", "match.fragment", "later fragments carry no ports and no TCP flags, so nothing could match both")
	}
	l.action(f)
}

// flowPrefixes: one of the two prefixes is the protected one (judged by ownPrefix), the other narrows the rule.
func (l *linter) flowPrefixes(f *Match) {
	if !f.Destination.IsValid() && !f.Source.IsValid() {
		l.fail("V1", "match", "has neither destination nor source: it would match the whole world")
		return
	}
	if p := l.m.Prefix; p.IsValid() && p != f.Destination && p != f.Source {
		l.fail("V1", "prefix", "%s is neither the rule's destination nor its source", p)
	}
	if f.Destination.IsValid() && l.m.Prefix != f.Destination {
		// The planner protects the destination whenever a rule has one: a rule that names a foreign destination would
		// let the own-network check look at the wrong side.
		l.fail("V1", "prefix", "must be the rule's destination %s", f.Destination)
	}
	for field, p := range map[string]netip.Prefix{"match.destination": f.Destination, "match.source": f.Source} {
		if !p.IsValid() || p == l.m.Prefix || !l.wellFormed(field, p) {
			continue
		}
		if p.Bits() == 0 {
			l.fail("V2", field, "%s matches everything; leave it out", p)
		}
		if l.m.Prefix.IsValid() && p.Addr().Is4() != l.m.Prefix.Addr().Is4() {
			l.fail("V1", field, "%s is of another family than %s", p, l.m.Prefix)
		}
	}
}

func (l *linter) protocols(f *Match) {
	if n := len(f.Protocols); n > l.lim.Items {
		l.fail("V3", "match.protocols", "%d values are more than %d", n, l.lim.Items)
	}
	if lintDuplicate(f.Protocols) {
		l.fail("V3", "match.protocols", "the same value twice")
	}
	is4 := l.m.Prefix.IsValid() && l.m.Prefix.Addr().Is4()
	for _, p := range f.Protocols {
		if p == wire.ProtoICMPv6 && is4 || p == wire.ProtoICMP && !is4 {
			l.fail("V4", "match.protocols", "%d is the ICMP of the other family", p)
		}
	}
}

func (l *linter) ports(f *Match) {
	withPorts := func(p uint8) bool { return p == wire.ProtoTCP || p == wire.ProtoUDP || p == wire.ProtoSCTP }
	for field, ports := range map[string][]uint16{
		"match.source_ports": f.SourcePorts, "match.destination_ports": f.DestinationPorts,
	} {
		if len(ports) == 0 {
			continue
		}
		if len(ports) > l.lim.Items {
			l.fail("V3", field, "%d values are more than %d", len(ports), l.lim.Items)
		}
		if lintDuplicate(ports) {
			l.fail("V3", field, "the same value twice")
		}
		if len(f.Protocols) == 0 || slices.ContainsFunc(f.Protocols, func(p uint8) bool { return !withPorts(p) }) {
			l.fail("V3", field, "ports need the protocols to be TCP, UDP or SCTP")
		}
	}
}

func (l *linter) tcpFlags(f *Match) {
	if f.TCPFlags|f.TCPFlagsNot == 0 {
		return
	}
	if len(f.Protocols) != 1 || f.Protocols[0] != wire.ProtoTCP {
		l.fail("V3", "match.tcp_flags", "TCP flags need the protocol to be TCP")
	}
	if both := f.TCPFlags & f.TCPFlagsNot; both != 0 {
		l.fail("V4", "match.tcp_flags", "bits %#02x must be both set and not set", both)
	}
}

func (l *linter) lengths(f *Match) {
	shortest := uint16(minLength6)
	if l.m.Prefix.IsValid() && l.m.Prefix.Addr().Is4() {
		shortest = minLength4
	}
	for field, v := range map[string]uint16{"match.min_length": f.MinLength, "match.max_length": f.MaxLength} {
		if v != 0 && (v < shortest || v > maxRuleLength) {
			l.fail("V4", field, "%d is outside %d..%d", v, shortest, maxRuleLength)
		}
	}
	if f.MaxLength != 0 && f.MinLength > f.MaxLength {
		l.fail("V4", "match.min_length", "%d is more than max_length %d", f.MinLength, f.MaxLength)
	}
}

func (l *linter) action(f *Match) {
	switch l.m.Action {
	case Discard:
		if l.m.Rate != 0 {
			l.fail("V5", "rate", "a discard has no rate")
		}
		if !f.discriminates() {
			l.fail("V6", "match", "discards everything to the target; that is a blackhole, and should be one")
		}
	case RateLimit:
		if l.m.Rate == 0 {
			l.fail("V5", "rate", "a limit of 0 is a discard, and should be one")
		}
	default:
		l.fail("V5", "action", "%q is not an action", l.m.Action)
	}
}

// isZero reports whether the match says nothing at all.
func (f *Match) isZero() bool {
	return !f.Destination.IsValid() && !f.Source.IsValid() && !f.discriminates() && f.MinLength == 0 && f.MaxLength == 0
}

// discriminates reports whether anything besides the protected prefix narrows the rule.
func (f *Match) discriminates() bool {
	lengths := f.MinLength > minLength6 || f.MaxLength != 0 && f.MaxLength < almostAll
	return len(f.Protocols) > 0 || len(f.SourcePorts) > 0 || len(f.DestinationPorts) > 0 ||
		f.TCPFlags|f.TCPFlagsNot != 0 || f.Fragment || lengths || f.Destination.IsValid() && f.Source.IsValid()
}

func lintDuplicate[T comparable](s []T) bool {
	for i, v := range s {
		if slices.Contains(s[:i], v) {
			return true
		}
	}
	return false
}
