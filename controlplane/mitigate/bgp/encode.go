package bgp

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// maxNLRI is the first length that GoBGP encodes wrongly (issue 3596: the two-byte header overwrites the first component).
const maxNLRI = 240

// markerTag is the middle number of the large community ASN:2:ID that marks every route of ours. It tells at the router which
// mitigation a route is, and since it makes each rule's attributes distinct, GoBGP sends one rule per UPDATE: FRR resets the
// session at more than 4,000 bytes of rules in one.
const markerTag = 2

// families in a fixed order: what is listed, compared and counted.
var families = []gobgp.Family{gobgp.RF_IPv4_UC, gobgp.RF_IPv6_UC, gobgp.RF_FS_IPv4_UC, gobgp.RF_FS_IPv6_UC}

// familyName is how a family is called in configuration and status.
func familyName(f gobgp.Family) string {
	switch f {
	case gobgp.RF_IPv4_UC:
		return "ipv4_unicast"
	case gobgp.RF_IPv6_UC:
		return "ipv6_unicast"
	case gobgp.RF_FS_IPv4_UC:
		return "ipv4_flowspec"
	case gobgp.RF_FS_IPv6_UC:
		return "ipv6_flowspec"
	default:
		return f.String()
	}
}

func (f Families) has(fam gobgp.Family) bool {
	switch fam {
	case gobgp.RF_IPv4_UC:
		return f.IPv4Unicast
	case gobgp.RF_IPv6_UC:
		return f.IPv6Unicast
	case gobgp.RF_FS_IPv4_UC:
		return f.IPv4FlowSpec
	case gobgp.RF_FS_IPv6_UC:
		return f.IPv6FlowSpec
	default:
		return false
	}
}

// route is one mitigation as one router gets it.
type route struct {
	family gobgp.Family
	nlri   gobgp.NLRI
	attrs  []gobgp.PathAttributeInterface
	// key identifies the route within a table: family and NLRI bytes. sig covers its attributes: a route with the same key
	// and another sig is announced again, which replaces it.
	key, sig string
}

func (r *route) path(age time.Time) *apiutil.Path {
	return &apiutil.Path{Family: r.family, Nlri: r.nlri, Attrs: r.attrs, Age: age.Unix()}
}

// encode builds what router p gets for m, or says why it cannot have it. m has passed mitigate.Lint.
func encode(m *mitigate.Mitigation, p *Peer, asn uint32) (*route, error) {
	var r *route
	var err error
	if m.Kind == mitigate.FlowSpec {
		r, err = encodeFlowSpec(m, p)
	} else {
		r, err = encodeUnicast(m, p)
	}
	if err != nil {
		return nil, err
	}
	if !p.Families.has(r.family) {
		return nil, fmt.Errorf("%s is off", familyName(r.family))
	}
	if err := r.addCommunities(m, p, asn); err != nil {
		return nil, err
	}
	if err := r.seal(); err != nil {
		return nil, err
	}
	return r, nil
}

func encodeUnicast(m *mitigate.Mitigation, p *Peer) (*route, error) {
	nlri, err := gobgp.NewIPAddrPrefix(m.Prefix)
	if err != nil {
		return nil, err
	}
	r := &route{nlri: nlri, attrs: []gobgp.PathAttributeInterface{gobgp.NewPathAttributeOrigin(0)}}
	nextHop := m.NextHop
	if m.Prefix.Addr().Is4() {
		r.family = gobgp.RF_IPv4_UC
		if p.NextHopIPv4.IsValid() {
			nextHop = p.NextHopIPv4
		}
		nh, err := gobgp.NewPathAttributeNextHop(nextHop)
		if err != nil {
			return nil, fmt.Errorf("next hop %s: %w", nextHop, err)
		}
		r.attrs = append(r.attrs, nh)
		return r, nil
	}
	r.family = gobgp.RF_IPv6_UC
	if p.NextHopIPv6.IsValid() {
		nextHop = p.NextHopIPv6
	}
	mp, err := gobgp.NewPathAttributeMpReachNLRI(r.family, []gobgp.PathNLRI{{NLRI: nlri}}, nextHop)
	if err != nil {
		return nil, fmt.Errorf("next hop %s: %w", nextHop, err)
	}
	r.attrs = append(r.attrs, mp)
	return r, nil
}

func encodeFlowSpec(m *mitigate.Mitigation, p *Peer) (*route, error) {
	if err := p.Limits.allow(m); err != nil {
		return nil, err
	}
	r := &route{family: gobgp.RF_FS_IPv4_UC}
	if m.Prefix.Addr().Is6() {
		r.family = gobgp.RF_FS_IPv6_UC
	}
	components, err := flowComponents(&m.Match, p.Limits.ForceMatchBit)
	if err != nil {
		return nil, err
	}
	nlri, err := gobgp.NewFlowSpecUnicast(r.family, components)
	if err != nil {
		return nil, err
	}
	// More than one byte of length is mis-encoded; Len counts the length byte.
	if n := nlri.Len(); n >= maxNLRI {
		return nil, fmt.Errorf("the rule takes %d bytes, %d at most", n, maxNLRI-1)
	}
	r.nlri = nlri
	// RFC 8955 section 4: a next hop length of 0.
	mp, err := gobgp.NewPathAttributeMpReachNLRI(r.family, []gobgp.PathNLRI{{NLRI: nlri}})
	if err != nil {
		return nil, err
	}
	// RFC 8955 section 7.1: bytes per second as a float, 0 discards. The AS is informative and two bytes wide.
	action := gobgp.NewTrafficRateExtended(0, float32(m.Rate))
	r.attrs = []gobgp.PathAttributeInterface{
		gobgp.NewPathAttributeOrigin(0), mp,
		gobgp.NewPathAttributeExtendedCommunities([]gobgp.ExtendedCommunityInterface{action}),
	}
	return r, nil
}

// allow says why the router cannot have the rule.
func (l *Limits) allow(m *mitigate.Mitigation) error {
	f := &m.Match
	switch {
	case l.NoLength && f.MinLength|f.MaxLength != 0:
		return errors.New("cannot match packet lengths")
	case l.NoTCPFlags && f.TCPFlags|f.TCPFlagsNot != 0:
		return errors.New("cannot match TCP flags")
	case l.NoFragment && f.Fragment:
		return errors.New("cannot match fragments")
	case l.NoSource && f.Source.IsValid():
		return errors.New("cannot match source prefixes")
	case l.NoRateLimit && m.Action == mitigate.RateLimit:
		return errors.New("cannot limit rates")
	}
	if most := max(len(f.Protocols), len(f.SourcePorts), len(f.DestinationPorts)); l.MaxValues > 0 && most > l.MaxValues {
		return fmt.Errorf("takes %d values in one component, the rule has %d", l.MaxValues, most)
	}
	return nil
}

// Operators of Flow Spec components (RFC 8955 section 4.2.1).
const (
	opEqual        = 0x01 // numeric
	opGreaterEqual = 0x03
	opLessEqual    = 0x05
	opMatch        = 0x01 // bitmask: all bits of the value
	opNot          = 0x02
	opAnd          = 0x40

	fragmentIsF   = 0x02 // a fragment other than the first
	fragmentFirst = 0x04
)

func flowComponents(f *mitigate.Match, forceMatch bool) ([]gobgp.FlowSpecComponentInterface, error) {
	var cs []gobgp.FlowSpecComponentInterface
	for _, side := range []struct {
		prefix netip.Prefix
		dst    bool
	}{{f.Destination, true}, {f.Source, false}} {
		if !side.prefix.IsValid() {
			continue
		}
		c, err := prefixComponent(side.prefix, side.dst)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	add := func(t gobgp.BGPFlowSpecType, items []*gobgp.FlowSpecComponentItem) {
		if len(items) > 0 {
			cs = append(cs, gobgp.NewFlowSpecComponent(t, items))
		}
	}
	add(gobgp.FLOW_SPEC_TYPE_IP_PROTO, anyOf(f.Protocols))
	add(gobgp.FLOW_SPEC_TYPE_DST_PORT, anyOf(f.DestinationPorts))
	add(gobgp.FLOW_SPEC_TYPE_SRC_PORT, anyOf(f.SourcePorts))
	add(gobgp.FLOW_SPEC_TYPE_TCP_FLAG, flagItems(f.TCPFlags, f.TCPFlagsNot, forceMatch))
	add(gobgp.FLOW_SPEC_TYPE_PKT_LEN, rangeItems(f.MinLength, f.MaxLength))
	if f.Fragment {
		// Two values, OR-ed, rather than one with two bits: it means the same to routers that ignore the match bit.
		op := uint8(0)
		if forceMatch {
			op = opMatch
		}
		add(gobgp.FLOW_SPEC_TYPE_FRAGMENT, []*gobgp.FlowSpecComponentItem{item(op, fragmentIsF), item(op, fragmentFirst)})
	}
	return cs, nil
}

func prefixComponent(p netip.Prefix, dst bool) (gobgp.FlowSpecComponentInterface, error) {
	prefix, err := gobgp.NewIPAddrPrefix(p)
	switch {
	case err != nil:
		return nil, err
	case p.Addr().Is4() && dst:
		return gobgp.NewFlowSpecDestinationPrefix(prefix), nil
	case p.Addr().Is4():
		return gobgp.NewFlowSpecSourcePrefix(prefix), nil
	case dst: // the offset is always 0: GoBGP encodes any other as the draft before RFC 8956 said, and BIRD resets
		return gobgp.NewFlowSpecDestinationPrefix6(prefix, 0), nil
	default:
		return gobgp.NewFlowSpecSourcePrefix6(prefix, 0), nil
	}
}

func item(op uint8, v uint64) *gobgp.FlowSpecComponentItem {
	return gobgp.NewFlowSpecComponentItem(op, v)
}

// anyOf is "one of these values", ascending, so that the same set has the same bytes.
func anyOf[T uint8 | uint16](values []T) (items []*gobgp.FlowSpecComponentItem) {
	for _, v := range slices.Sorted(slices.Values(values)) {
		items = append(items, item(opEqual, uint64(v)))
	}
	return items
}

// flagItems is "all of set and none of not". Each bit of not is its own value: NOT of several bits at once means different
// things with and without the match bit, and routers differ in which they assume.
func flagItems(set, not uint8, forceMatch bool) (items []*gobgp.FlowSpecComponentItem) {
	and := uint8(0)
	if set != 0 {
		items, and = append(items, item(opMatch, uint64(set))), opAnd
	}
	op := uint8(opNot)
	if forceMatch {
		op |= opMatch
	}
	for bit := uint8(1); bit != 0; bit <<= 1 {
		if not&bit != 0 {
			items, and = append(items, item(op|and, uint64(bit))), opAnd
		}
	}
	return items
}

func rangeItems(low, high uint16) (items []*gobgp.FlowSpecComponentItem) {
	switch {
	case low == 0 && high == 0:
		return nil
	case low == high:
		return []*gobgp.FlowSpecComponentItem{item(opEqual, uint64(low))}
	case high == 0:
		return []*gobgp.FlowSpecComponentItem{item(opGreaterEqual, uint64(low))}
	case low == 0:
		return []*gobgp.FlowSpecComponentItem{item(opLessEqual, uint64(high))}
	default:
		return []*gobgp.FlowSpecComponentItem{item(opGreaterEqual, uint64(low)), item(opLessEqual|opAnd, uint64(high))}
	}
}

// Marker is the large community that marks the routes of the mitigation with that id, announced by AS asn.
func Marker(asn uint32, id string) mitigate.Community {
	return mitigate.Community(fmt.Sprintf("%d:%d:%d", asn, markerTag, markerID(id)))
}

// markerID folds a mitigation's id, a UUID, into the 32 bits that a large community has for it.
func markerID(id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum32()
}

func (r *route) addCommunities(m *mitigate.Mitigation, p *Peer, asn uint32) error {
	var standard []uint32
	large := []*gobgp.LargeCommunity{gobgp.NewLargeCommunity(asn, markerTag, markerID(m.ID))}
	for _, text := range slices.Concat(m.Communities, p.Communities) {
		c, err := text.Parse()
		if err != nil {
			return err
		}
		if !c.IsLarge {
			if !slices.Contains(standard, c.Standard) {
				standard = append(standard, c.Standard)
			}
			continue
		}
		l := gobgp.NewLargeCommunity(c.Large[0], c.Large[1], c.Large[2])
		if !slices.ContainsFunc(large, func(o *gobgp.LargeCommunity) bool { return *o == *l }) {
			large = append(large, l)
		}
	}
	if len(standard) > 0 {
		r.attrs = append(r.attrs, gobgp.NewPathAttributeCommunities(standard))
	}
	r.attrs = append(r.attrs, gobgp.NewPathAttributeLargeCommunities(large))
	return nil
}

// seal computes key and signature, and proves that what goes onto the wire reads back as what was meant.
func (r *route) seal() error {
	wire, err := r.nlri.Serialize()
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	back, err := gobgp.NLRIFromSlice(r.family, wire)
	if err != nil {
		return fmt.Errorf("does not read back: %w", err)
	}
	again, err := back.Serialize()
	if err != nil || !bytes.Equal(wire, again) || back.String() != r.nlri.String() {
		return fmt.Errorf("reads back as %s, not %s", back, r.nlri)
	}
	r.key = tableKey(r.family, wire)
	r.sig, err = signature(r.attrs)
	return err
}

func tableKey(f gobgp.Family, nlri []byte) string { return fmt.Sprintf("%d/", f) + string(nlri) }

// signature is the attributes' meaning, independent of their order and of which attribute carries the next hop.
func signature(attrs []gobgp.PathAttributeInterface) (string, error) {
	var parts []string
	for _, a := range attrs {
		if mp, ok := a.(*gobgp.PathAttributeMpReachNLRI); ok {
			if mp.SAFI == gobgp.SAFI_UNICAST {
				parts = append(parts, "next hop "+mp.Nexthop.String())
			}
			continue
		}
		b, err := a.Serialize()
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", a.GetType(), err)
		}
		parts = append(parts, string(b))
	}
	slices.Sort(parts)
	return strings.Join(parts, "|"), nil
}
