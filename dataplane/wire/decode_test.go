package wire_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// want makes an expected header: addresses, protocol, and the datagram's length.
func want(a [2]string, proto uint8, length int) wire.IP {
	return wire.IP{
		Src: netip.MustParseAddr(a[0]).As16(), Dst: netip.MustParseAddr(a[1]).As16(),
		Version: uint8(version(a)), Proto: proto, TTL: 64, Length: uint32(length),
	}
}

func withPorts(w wire.IP, src, dst uint16) wire.IP {
	w.SrcPort, w.DstPort, w.HasPorts = src, dst, true
	return w
}

func headerLen(a [2]string) int {
	if version(a) == 4 {
		return 20
	}
	return 40
}

func (w *wrapped) wantInner() wire.IP {
	in := withPorts(want(w.in, wire.ProtoTCP, headerLen(w.in)+20), 1025, 443)
	in.TTL, in.TCPFlags = 63, wire.FlagSYN|wire.FlagECE
	return in
}

func (w *wrapped) wantOuter() wire.IP {
	if !w.outer {
		return w.wantInner()
	}
	out := want(w.out, w.proto, len(w.frame)-14)
	if w.ports != [2]uint16{} {
		out = withPorts(out, w.ports[0], w.ports[1])
	}
	return out
}

func show(ip *wire.IP) string {
	if ip == nil {
		return "none"
	}
	return fmt.Sprintf("%v > %v %+v", netip.AddrFrom16(ip.Src), netip.AddrFrom16(ip.Dst),
		struct {
			SrcPort, DstPort              uint16
			Length                        uint32
			Version, Proto, TCPFlags, TTL uint8
			Fragment, HasPorts            bool
		}{ip.SrcPort, ip.DstPort, ip.Length, ip.Version, ip.Proto, ip.TCPFlags, ip.TTL, ip.Fragment, ip.HasPorts})
}

func checkIP(t *testing.T, what string, got *wire.IP, want *wire.IP) {
	t.Helper()
	if (got == nil) != (want == nil) || got != nil && *got != *want {
		t.Errorf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

// charging is a Decoder with every tunnel charged the same way.
func charging(c wire.Charge, trace bool) *wire.Decoder {
	d := &wire.Decoder{Trace: trace}
	for i := range d.Charge {
		d.Charge[i] = c
	}
	return d
}

// TestEncapsulations decodes every encapsulation of both families with every Charge.
func TestEncapsulations(t *testing.T) {
	t.Parallel()
	for _, w := range everyEncap() {
		t.Run(w.name, func(t *testing.T) {
			inner, outer := w.wantInner(), w.wantOuter()
			for _, charge := range []wire.Charge{wire.ChargeOuter, wire.ChargeInner, wire.ChargeBoth} {
				for _, trace := range []bool{false, true} {
					var h wire.Headers
					dirty(&h)
					d := charging(charge, trace)
					if c := d.Decode(w.linkType, w.frame, &h); c != wire.OK {
						t.Fatalf("code %v", c)
					}
					walked := trace || charge != wire.ChargeOuter || w.tunnel == always || !w.outer
					in := &inner
					if !walked {
						in = &outer
					}
					var second *wire.IP
					first := &outer
					switch {
					case w.outer && w.tunnel == always:
						first = &inner
					case w.outer && charge == wire.ChargeInner:
						first = &inner
					case w.outer && charge == wire.ChargeBoth:
						second = &inner
					}
					a, b := h.Charged()
					what := fmt.Sprintf("charge %d, trace %v, ", charge, trace)
					checkIP(t, what+"outer", &h.Outer, &outer)
					checkIP(t, what+"inner", h.Inner(), in)
					checkIP(t, what+"charged", a, first)
					checkIP(t, what+"charged second", b, second)
					if got := names(&h); trace && !slices.Equal(got, w.wantLayers) {
						t.Errorf("layers %v, want %v", got, w.wantLayers)
					} else if !trace && len(got) != 0 {
						t.Errorf("layers %v without Trace", got)
					}
				}
			}
		})
	}
}

// dirty fills h with what an earlier frame may have left.
func dirty(h *wire.Headers) {
	w := everyEncap()[len(everyEncap())-1]
	charging(wire.ChargeBoth, true).Decode(w.linkType, w.frame, h)
	h.Outer = wire.IP{SrcPort: 9, DstPort: 9, Length: 9, Version: 9, Proto: 9, TCPFlags: 9, TTL: 9, Fragment: true, HasPorts: true}
}

func names(h *wire.Headers) (l []string) {
	for _, n := range h.Layers() {
		l = append(l, n.String())
	}
	return l
}

// TestOneTunnelKind checks that each tunnel obeys its own setting and no other.
func TestOneTunnelKind(t *testing.T) {
	t.Parallel()
	for _, w := range everyEncap() {
		if !w.outer || w.tunnel == always {
			continue
		}
		for k := range wire.NumTunnels {
			var h wire.Headers
			d := wire.Decoder{}
			d.Charge[k] = wire.ChargeInner
			d.Decode(w.linkType, w.frame, &h)
			a, _ := h.Charged()
			wantIP := w.wantOuter()
			if k == w.tunnel {
				wantIP = w.wantInner()
			}
			checkIP(t, fmt.Sprintf("%s with tunnel %d charged inside", w.name, k), a, &wantIP)
		}
	}
}

// TestNestedCharges is VXLAN in GRE in IPv4: three IP headers and every pair of settings.
func TestNestedCharges(t *testing.T) {
	t.Parallel()
	frame := ip(ip(ip(packetbuild.Ether(), outer4).GRE(), inner6).UDP(999, 4789).VXLAN(5).Ether(), third4).UDP(53, 4242).Bytes()
	const o, i, b = wire.ChargeOuter, wire.ChargeInner, wire.ChargeBoth
	for _, tc := range []struct {
		gre, vxlan    wire.Charge
		first, second string // by source address
		depth         int
	}{
		{o, o, outer4[0], "", 1},
		{o, i, outer4[0], "", 1},
		{o, b, outer4[0], "", 1},
		{i, o, inner6[0], "", 2},
		{i, i, third4[0], "", 3},
		{i, b, inner6[0], third4[0], 3},
		{b, o, outer4[0], inner6[0], 2},
		{b, i, outer4[0], third4[0], 3},
		{b, b, outer4[0], third4[0], 3},
	} {
		for _, trace := range []bool{false, true} {
			var h wire.Headers
			d := wire.Decoder{Trace: trace}
			d.Charge[wire.TunnelGRE], d.Charge[wire.TunnelVXLAN] = tc.gre, tc.vxlan
			if c := d.Decode(wire.LinkEthernet, frame, &h); c != wire.OK {
				t.Fatal(c)
			}
			first, second := h.Charged()
			src := func(p *wire.IP) string {
				if p == nil {
					return ""
				}
				return netip.AddrFrom16(p.Src).Unmap().String()
			}
			depth := tc.depth
			if trace {
				depth = 3
			}
			if src(first) != tc.first || src(second) != tc.second || h.Depth() != depth || h.Depth() == 3 && src(h.Inner()) != third4[0] {
				t.Errorf("gre %d, vxlan %d, trace %v: charged %q and %q at depth %d, want %q and %q at %d",
					tc.gre, tc.vxlan, trace, src(first), src(second), h.Depth(), tc.first, tc.second, depth)
			}
		}
	}
}

// TestAllocations: no frame costs an allocation, whatever is in it.
func TestAllocations(t *testing.T) {
	all := everyEncap()
	var h wire.Headers
	for _, d := range []*wire.Decoder{charging(wire.ChargeOuter, false), charging(wire.ChargeBoth, true)} {
		if n := testing.AllocsPerRun(10, func() {
			for i := range all {
				d.Decode(all[i].linkType, all[i].frame, &h)
				h.Charged()
			}
		}); n != 0 {
			t.Errorf("%v allocations for %d frames", n, len(all))
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for c := range wire.NumCodes {
		s := c.String()
		if s == "" || s == "invalid" || seen[s] {
			t.Errorf("code %d is called %q", c, s)
		}
		seen[s] = true
		for _, r := range s {
			if r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
				t.Errorf("code %q is not snake case", s)
			}
		}
	}
	if wire.NumCodes.String() != "invalid" || wire.OK.String() != "ok" || !wire.OK.Addressed() || wire.ARP.Addressed() {
		t.Error("the ends of the code list are wrong")
	}
	for l := wire.Layer(0); l.String() != "invalid"; l++ {
		if l.String() == "" {
			t.Errorf("layer %d has no name", l)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	plain := func(p *packet) []byte { return p.TCP(1025, 443, wire.FlagSYN).Bytes() }
	for _, bc := range []struct {
		name  string
		frame []byte
		d     *wire.Decoder
	}{
		{"ipv4", plain(ip(packetbuild.Ether(), inner4)), charging(wire.ChargeOuter, false)},
		{"ipv6", plain(ip(packetbuild.Ether(), inner6)), charging(wire.ChargeOuter, false)},
		{"vlan-ipv4", plain(ip(packetbuild.Ether().VLAN(7), inner4)), charging(wire.ChargeOuter, false)},
		{"qinq-ipv6", plain(ip(packetbuild.Ether().QinQ(7, 8), inner6)), charging(wire.ChargeOuter, false)},
		{"udp-ipv4", ip(packetbuild.Ether(), inner4).UDP(53, 4242).Payload(18).Bytes(), charging(wire.ChargeOuter, false)},
		{"udp-ipv4-tunnels-inside", ip(packetbuild.Ether(), inner4).UDP(53, 4242).Payload(18).Bytes(), charging(wire.ChargeInner, false)},
		{"mpls-ipv4", plain(ip(packetbuild.Ether().MPLS(16), inner4)), charging(wire.ChargeOuter, false)},
		{"fragment-ipv4", ip(packetbuild.Ether(), inner4).Frag(1, 1480, false).Payload(100).Bytes(), charging(wire.ChargeOuter, false)},
		{"hopbyhop-ipv6", plain(ip(packetbuild.Ether(), inner6).HopByHop(8)), charging(wire.ChargeOuter, false)},
		{"vxlan-inside", plain(ip(ip(packetbuild.Ether(), outer4).UDP(9, 4789).VXLAN(5).Ether(), inner6)), charging(wire.ChargeInner, false)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			var h wire.Headers
			b.ReportAllocs()
			for b.Loop() {
				bc.d.Decode(wire.LinkEthernet, bc.frame, &h)
			}
		})
	}
}
