package mitigate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Key is the identity of the route that m announces: kind and prefix, or the whole match of a Flow Spec rule in canonical
// order. What is done with the traffic, next hop and communities are attributes of the route and not part of it:
// a router holds one route per Key.
func (m Mitigation) Key() string {
	if m.Kind != FlowSpec {
		return string(m.Kind) + " " + m.Prefix.Masked().String()
	}
	return string(m.Kind) + " " + m.Match.String()
}

// String is the rule in words, in canonical order: equal rules have equal text.
func (r Match) String() string {
	var b strings.Builder
	part := func(format string, args ...any) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, format, args...)
	}
	if r.Destination.IsValid() {
		part("dst %s", r.Destination.Masked())
	}
	if r.Source.IsValid() {
		part("src %s", r.Source.Masked())
	}
	if len(r.Protocols) > 0 {
		part("proto %s", numbers(r.Protocols))
	}
	if len(r.DestinationPorts) > 0 {
		part("dport %s", numbers(r.DestinationPorts))
	}
	if len(r.SourcePorts) > 0 {
		part("sport %s", numbers(r.SourcePorts))
	}
	if r.TCPFlags|r.TCPFlagsNot != 0 {
		part("flags %#02x/%#02x", r.TCPFlags, r.TCPFlags|r.TCPFlagsNot)
	}
	if r.MinLength|r.MaxLength != 0 {
		part("length %d-%d", r.MinLength, r.MaxLength)
	}
	if r.Fragment {
		part("fragment")
	}
	return b.String()
}

// numbers lists the values once each, ascending.
func numbers[T cmp.Ordered](list []T) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(list)))
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(sorted), "[]"), " ", ",")
}

// equal reports whether a and b are the same in every respect that a mitigator or a reader can see.
func equal(a, b *Mitigation) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Prefix == b.Prefix && a.NextHop == b.NextHop &&
		slices.Equal(a.Communities, b.Communities) && a.Match.String() == b.Match.String() &&
		a.Action == b.Action && a.Rate == b.Rate && a.Hostgroup == b.Hostgroup && a.Incident == b.Incident &&
		a.Reason == b.Reason && a.Manual == b.Manual && a.DryRun == b.DryRun &&
		a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires)
}
