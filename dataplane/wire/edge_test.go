package wire_test

import (
	"bytes"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// cut returns the first n bytes.
func cut(b []byte, n int) []byte { return b[:n:n] }

// TestEdges is what is odd, cut or broken about IP and transport headers, in both families.
func TestEdges(t *testing.T) {
	t.Parallel()
	for _, a := range [][2]string{inner4, inner6} {
		hl := headerLen(a)
		base := func() *packet { return ip(packetbuild.Ether(), a) }
		full := func(proto uint8, n int) wire.IP { return want(a, proto, hl+n) }
		frag := func(w wire.IP) wire.IP { w.Fragment = true; return w }
		flags := func(w wire.IP, f uint8) wire.IP { w.TCPFlags = f; return w }
		// Behind IPv6 a fragment header takes 8 bytes.
		fh := hl - 20
		if fh > 0 {
			fh = 8
		}
		tcp := base().TCP(1025, 443, wire.FlagSYN|wire.FlagPSH).Payload(100).Bytes()
		udp := base().UDP(53, 4242).Payload(100).Bytes()
		for _, tc := range []struct {
			name  string
			frame []byte
			code  wire.Code
			want  wire.IP
		}{
			{"tcp", tcp, wire.OK, flags(withPorts(full(6, 120), 1025, 443), wire.FlagSYN|wire.FlagPSH)},
			{"udp", udp, wire.OK, withPorts(full(17, 108), 53, 4242)},
			{"icmp", base().ICMP(8, 0).Bytes(), wire.OK, full(1, 8)},
			{"icmp without anything", base().Next(1).Bytes(), wire.OK, full(1, 0)},
			{"icmpv6", base().ICMPv6(128, 0).Bytes(), wire.OK, full(58, 8)},
			{"sctp", base().SCTP(5, 6).Bytes(), wire.OK, withPorts(full(132, 12), 5, 6)},
			{"esp", base().ESP(7).Payload(50).Bytes(), wire.OK, full(50, 58)},
			{"unknown protocol", base().Next(200).Payload(9).Bytes(), wire.OK, full(200, 9)},
			{"padding is no payload", base().Next(17).Data([]byte{0, 53}).Pad(90).Bytes(), wire.ShortTransport, full(17, 2)},
			{"ah", base().AH().UDP(53, 4242).Bytes(), wire.OK, withPorts(full(17, 32), 53, 4242)},
			{"ah and esp", base().AH().ESP(7).Bytes(), wire.OK, full(50, 32)},

			{"first fragment", base().Frag(1, 0, true).UDP(53, 4242).Payload(16).Bytes(), wire.OK, frag(withPorts(full(17, fh+24), 53, 4242))},
			{"first fragment with flags", base().Frag(1, 0, true).TCP(1, 2, wire.FlagSYN).Bytes(), wire.OK, frag(flags(withPorts(full(6, fh+20), 1, 2), wire.FlagSYN))},
			{"first fragment of 8 bytes", base().Frag(1, 0, true).Next(6).Data([]byte{0, 1, 0, 2, 0, 0, 0, 0}).Bytes(), wire.OK, frag(withPorts(full(6, fh+8), 1, 2))},
			{"first fragment of 1 byte", base().Frag(1, 0, true).Next(6).Payload(1).Bytes(), wire.OK, frag(full(6, fh+1))},
			{"middle fragment", base().Frag(1, 1480, true).Next(17).Payload(100).Bytes(), wire.OK, frag(full(17, fh+100))},
			{"last fragment of 1 byte", base().Frag(1, 1480, false).Next(17).Payload(1).Bytes(), wire.OK, frag(full(17, fh+1))},
			{"last fragment of nothing", base().Frag(1, 1480, false).Next(6).Bytes(), wire.OK, frag(full(6, fh))},
			{"fragment at the last offset", base().Frag(1, 65528, false).Next(1).Payload(7).Bytes(), wire.OK, frag(full(1, fh+7))},
			{"later fragment of a tunnel", base().Frag(1, 1480, false).Next(47).Payload(60).Bytes(), wire.OK, frag(full(47, fh+60))},

			// The capture is shorter than the packet.
			{"tcp cut behind flags", cut(tcp, 14+hl+14), wire.OK, flags(withPorts(full(6, 120), 1025, 443), wire.FlagSYN|wire.FlagPSH)},
			{"tcp cut before flags", cut(tcp, 14+hl+13), wire.TruncatedTransport, withPorts(full(6, 120), 1025, 443)},
			{"tcp cut behind ports", cut(tcp, 14+hl+4), wire.TruncatedTransport, withPorts(full(6, 120), 1025, 443)},
			{"tcp cut in ports", cut(tcp, 14+hl+3), wire.TruncatedTransport, full(6, 120)},
			{"tcp cut at ip", cut(tcp, 14+hl), wire.TruncatedTransport, full(6, 120)},
			{"udp cut behind ports", cut(udp, 14+hl+4), wire.OK, withPorts(full(17, 108), 53, 4242)},
			{"udp cut in ports", cut(udp, 14+hl+3), wire.TruncatedTransport, full(17, 108)},
			{"sctp cut", cut(base().SCTP(5, 6).Payload(9).Bytes(), 14+hl+2), wire.TruncatedTransport, full(132, 21)},
			{"ah cut", cut(base().AH().UDP(5, 6).Bytes(), 14+hl+20), wire.TruncatedTransport, full(51, 32)},
			{"ip cut", cut(udp, 14+hl-1), wire.Truncated, wire.IP{}},
			{"ip missing", cut(udp, 14), wire.Truncated, wire.IP{}},
			{"ethernet cut", cut(udp, 13), wire.Truncated, wire.IP{}},
			{"nothing", nil, wire.Truncated, wire.IP{}},

			// The packet itself is too short.
			{"tcp of 19", base().Next(6).Data(cut(tcp[14+hl:], 19)).Bytes(), wire.ShortTransport, flags(withPorts(full(6, 19), 1025, 443), wire.FlagSYN|wire.FlagPSH)},
			{"tcp of 13", base().Next(6).Data(cut(tcp[14+hl:], 13)).Bytes(), wire.ShortTransport, withPorts(full(6, 13), 1025, 443)},
			{"tcp of 3", base().Next(6).Payload(3).Bytes(), wire.ShortTransport, full(6, 3)},
			{"udp of 7", base().Next(17).Data(cut(udp[14+hl:], 7)).Bytes(), wire.ShortTransport, withPorts(full(17, 7), 53, 4242)},
			{"udp of 1", base().Next(17).Payload(1).Bytes(), wire.ShortTransport, full(17, 1)},
			{"sctp of 11", base().Next(132).Data([]byte{0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0}).Bytes(), wire.ShortTransport, withPorts(full(132, 11), 5, 6)},
			{"ah of 12", base().Next(51).Data([]byte{17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}).Bytes(), wire.BadExtension, full(51, 12)},
			{"udp whose length lies", base().UDP(53, 4242).Length(3).Payload(8).Bytes(), wire.OK, withPorts(full(17, 16), 53, 4242)},
			{"udp whose length is long", base().UDP(53, 4242).Length(60000).Payload(8).Bytes(), wire.OK, withPorts(full(17, 16), 53, 4242)},

			{"length field of 0, as offload leaves it", base().Length(0).UDP(53, 4242).Payload(9).Bytes(), wire.OK, withPorts(full(17, 17), 53, 4242)},
			{"another version", base().Patch(func(h []byte) { h[0] = 0x55 }).UDP(5, 6).Bytes(), wire.BadIPVersion, wire.IP{}},
			{"too many extensions", many(base(), wire.MaxExtensions+1).UDP(5, 6).Bytes(), wire.TooManyExtensions, full(51, 24*(wire.MaxExtensions+1)+8)},
			{"all allowed extensions", many(base(), wire.MaxExtensions).UDP(5, 6).Bytes(), wire.OK, withPorts(full(17, 24*wire.MaxExtensions+8), 5, 6)},
		} {
			t.Run(tc.name+" ipv"+string('0'+rune(version(a))), func(t *testing.T) {
				check(t, tc.frame, tc.code, tc.want)
			})
		}
	}
}

// many adds n authentication headers, which both families know.
func many(p *packet, n int) *packet {
	for range n {
		p.AH()
	}
	return p
}

// check decodes frame with and without Trace and charging, which must all agree on the first header.
func check(t *testing.T, frame []byte, code wire.Code, want wire.IP) {
	t.Helper()
	for _, d := range []*wire.Decoder{charging(wire.ChargeOuter, false), charging(wire.ChargeOuter, true), charging(wire.ChargeBoth, false)} {
		var h wire.Headers
		dirty(&h)
		if c := d.Decode(wire.LinkEthernet, frame, &h); c != code {
			t.Fatalf("code %v, want %v", c, code)
		}
		if !code.Addressed() {
			if h.Outer.Version != 0 || h.Depth() != 0 {
				t.Errorf("there is an address: %s", show(&h.Outer))
			}
			continue
		}
		checkIP(t, "outer", &h.Outer, &want)
		a, b := h.Charged()
		checkIP(t, "charged", a, &want)
		checkIP(t, "charged second", b, nil)
	}
}

// TestIPv4Only is what only IPv4 has.
func TestIPv4Only(t *testing.T) {
	t.Parallel()
	base := func() *packet { return ip(packetbuild.Ether(), inner4) }
	for _, tc := range []struct {
		name  string
		frame []byte
		code  wire.Code
		want  wire.IP
	}{
		{"options", base().Options(8).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner4, 17, 36), 5, 6)},
		{"all options", base().Options(40).TCP(5, 6, 0).Bytes(), wire.OK, withPorts(want(inner4, 6, 80), 5, 6)},
		{"options cut", cut(base().Options(40).TCP(5, 6, 0).Bytes(), 14+30), wire.TruncatedTransport, want(inner4, 6, 80)},
		{"ihl 0", base().IHL(0).UDP(5, 6).Bytes(), wire.BadIHL, want(inner4, 17, 28)},
		{"ihl 3", base().IHL(3).TCP(5, 6, 2).Bytes(), wire.BadIHL, want(inner4, 6, 40)},
		{"ihl 4", base().IHL(4).ICMP(8, 0).Bytes(), wire.BadIHL, want(inner4, 1, 28)},
		{"ihl beyond the datagram", base().IHL(15).UDP(5, 6).Bytes(), wire.BadIPLength, want(inner4, 17, 28)},
		{"total length 19", base().Length(19).UDP(5, 6).Bytes(), wire.BadIPLength, want(inner4, 17, 19)},
		{"total length of the header", base().Length(20).UDP(5, 6).Bytes(), wire.ShortTransport, want(inner4, 17, 20)},
		{"total length beyond the frame", base().Length(1500).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner4, 17, 1500), 5, 6)},
		{"protocol 0 is no extension", base().Next(0).Payload(40).Bytes(), wire.OK, want(inner4, 0, 60)},
		{"dont fragment is no fragment", base().Patch(func(h []byte) { h[6] = 0x40 }).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner4, 17, 28), 5, 6)},
		{"evil bit is no fragment", base().Patch(func(h []byte) { h[6] = 0x80 }).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner4, 17, 28), 5, 6)},
		{"rfc 948", ip(packetbuild.Ether().LLC(6, 6, 3), inner4).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner4, 17, 28), 5, 6)},
		{"later fragment of bad length", base().Frag(1, 8, false).Length(10).Next(17).Payload(9).Bytes(), wire.BadIPLength, func() wire.IP {
			w := want(inner4, 17, 10)
			w.Fragment = true
			return w
		}()},
	} {
		t.Run(tc.name, func(t *testing.T) { check(t, tc.frame, tc.code, tc.want) })
	}
}

// TestIPv6Only is what only IPv6 has: its extension headers.
func TestIPv6Only(t *testing.T) {
	t.Parallel()
	base := func() *packet { return ip(packetbuild.Ether(), inner6) }
	udp := func(n int) wire.IP { return withPorts(want(inner6, 17, 48+n), 5, 6) }
	fragment := func(w wire.IP) wire.IP { w.Fragment = true; return w }
	for _, tc := range []struct {
		name  string
		frame []byte
		code  wire.Code
		want  wire.IP
	}{
		{"hop by hop", base().HopByHop(8).UDP(5, 6).Bytes(), wire.OK, udp(8)},
		{"hop by hop of 2048", base().HopByHop(2048).UDP(5, 6).Bytes(), wire.OK, udp(2048)},
		{"destination options", base().DestOpts(24).UDP(5, 6).Bytes(), wire.OK, udp(24)},
		{"routing 0", base().Routing(0).UDP(5, 6).Bytes(), wire.OK, udp(24)},
		{"routing 4", base().Routing(4).UDP(5, 6).Bytes(), wire.OK, udp(24)},
		{"mobility", base().Mobility().UDP(5, 6).Bytes(), wire.OK, udp(8)},
		{"hip", base().HIP().UDP(5, 6).Bytes(), wire.OK, udp(40)},
		{"shim6", base().Shim6().UDP(5, 6).Bytes(), wire.OK, udp(8)},
		{"atomic fragment", base().Frag(1, 0, false).UDP(5, 6).Bytes(), wire.OK, udp(8)},
		{"two fragment headers", base().Frag(1, 0, true).Frag(2, 0, false).UDP(5, 6).Bytes(), wire.OK, fragment(udp(16))},
		{
			"all of them", base().HopByHop(8).DestOpts(8).Routing(2).Frag(1, 0, true).AH().DestOpts(16).Mobility().HIP().Shim6().UDP(5, 6).Bytes(),
			wire.OK, fragment(udp(8 + 8 + 24 + 8 + 24 + 16 + 8 + 40 + 8)),
		},
		{"reserved bits of a fragment header", base().Frag(1, 0, false).Patch(func(h []byte) { h[1], h[3] = 0xff, 0x06 }).UDP(5, 6).Bytes(), wire.OK, udp(8)},
		{"later fragment behind hop by hop", base().HopByHop(8).Frag(1, 16, false).Next(17).Payload(5).Bytes(), wire.OK, fragment(want(inner6, 17, 40+8+8+5))},
		{"no next header", base().Bytes(), wire.OK, want(inner6, 59, 40)},
		{"no next header, and yet bytes", base().Next(59).Payload(9).Bytes(), wire.OK, want(inner6, 59, 49)},
		{"icmpv6 behind hop by hop", base().HopByHop(8).ICMPv6(131, 0).Bytes(), wire.OK, want(inner6, 58, 56)},
		{"esp behind destination options", base().DestOpts(8).ESP(1).Bytes(), wire.OK, want(inner6, 50, 56)},
		{"extension cut", cut(base().HopByHop(64).UDP(5, 6).Bytes(), 14+40+20), wire.TruncatedTransport, want(inner6, 0, 112)},
		{"fragment header cut", cut(base().Frag(1, 8, true).UDP(5, 6).Bytes(), 14+40+7), wire.TruncatedTransport, want(inner6, 44, 56)},
		{"extension longer than the datagram", base().Next(60).Data([]byte{17, 9, 0, 0, 0, 0, 0, 0}).Bytes(), wire.BadExtension, want(inner6, 60, 48)},
		{"extension of 4 bytes", base().Next(60).Data([]byte{17, 0, 0, 0}).Bytes(), wire.BadExtension, want(inner6, 60, 44)},
		{"payload length beyond the frame", base().Length(1000).UDP(5, 6).Bytes(), wire.OK, withPorts(want(inner6, 17, 1040), 5, 6)},
		{"extension cut short in a fragment", base().Frag(1, 0, true).Next(60).Data([]byte{17, 9}).Bytes(), wire.OK, fragment(want(inner6, 60, 50))},
	} {
		t.Run(tc.name, func(t *testing.T) { check(t, tc.frame, tc.code, tc.want) })
	}
}

// TestNotIP is every frame without an address, as it is, in a VLAN, and inside a tunnel where it becomes an inner code.
func TestNotIP(t *testing.T) {
	t.Parallel()
	typ := func(v uint16) func(*packet) *packet {
		return func(p *packet) *packet { return p.Next(v).Payload(46) }
	}
	llc := func(d, s byte) func(*packet) *packet {
		return func(p *packet) *packet { return p.LLC(d, s, 3).Payload(40) }
	}
	snap := func(org ...byte) func(*packet) *packet {
		return func(p *packet) *packet { return p.LLC(0xaa, 0xaa, 3).Data(org).Payload(40) }
	}
	ppp := func(v uint16) func(*packet) *packet {
		return func(p *packet) *packet { return p.PPPoE(9).Next(v).Payload(20) }
	}
	for _, tc := range []struct {
		name  string
		add   func(*packet) *packet
		code  wire.Code
		inner wire.Code
	}{
		{"arp", func(p *packet) *packet { return p.ARP() }, wire.ARP, wire.InnerNotIP},
		{"rarp", typ(0x8035), wire.RARP, wire.InnerNotIP},
		{"lldp", typ(0x88cc), wire.LLDP, wire.InnerNotIP},
		{"lacp", typ(0x8809), wire.SlowProtocol, wire.InnerNotIP},
		{"pause", typ(0x8808), wire.MACControl, wire.InnerNotIP},
		{"eapol", typ(0x888e), wire.EAPOL, wire.InnerNotIP},
		{"macsec", typ(0x88e5), wire.MACsec, wire.InnerNotIP},
		{"ptp", typ(0x88f7), wire.PTP, wire.InnerNotIP},
		{"cfm", typ(0x8902), wire.CFM, wire.InnerNotIP},
		{"loopback", typ(0x9000), wire.LoopbackTest, wire.InnerNotIP},
		{"ipx", typ(0x8137), wire.IPX, wire.InnerNotIP},
		{"trill", typ(0x22f3), wire.TRILL, wire.InnerNotIP},
		{"wake on lan", typ(0x0842), wire.WakeOnLAN, wire.InnerNotIP},
		{"aoe", typ(0x88a2), wire.AoE, wire.InnerNotIP},
		{"fcoe", typ(0x8906), wire.FCoE, wire.InnerNotIP},
		{"profinet", typ(0x8892), wire.Profinet, wire.InnerNotIP},
		{"ethercat", typ(0x88a4), wire.EtherCAT, wire.InnerNotIP},
		{"homeplug", typ(0x88e1), wire.HomePlug, wire.InnerNotIP},
		{"roce", typ(0x8915), wire.RoCE, wire.InnerNotIP},
		{"unknown type", typ(0x9999), wire.UnknownEthertype, wire.InnerUnknown},
		{"type between length and type", typ(0x05f0), wire.UnknownEthertype, wire.InnerUnknown},
		{"stp", llc(0x42, 0x42), wire.STP, wire.InnerNotIP},
		{"isis", llc(0xfe, 0xfe), wire.ISIS, wire.InnerNotIP},
		{"netbios", llc(0xf0, 0xf0), wire.NetBIOS, wire.InnerNotIP},
		{"ipx llc", llc(0xe0, 0xe0), wire.IPX, wire.InnerNotIP},
		{"ipx raw", llc(0xff, 0xff), wire.IPX, wire.InnerNotIP},
		{"llc unknown", llc(0x12, 0x34), wire.UnknownLLC, wire.InnerUnknown},
		{"jumbo llc", func(p *packet) *packet { return p.Next(0x8870).LLC(0xfe, 0xfe, 3) }, wire.ISIS, wire.InnerNotIP},
		{"cdp", snap(0, 0, 0x0c, 0x20, 0), wire.CiscoL2, wire.InnerNotIP},
		{"pvst", snap(0, 0, 0x0c, 1, 0x0b), wire.STP, wire.InnerNotIP},
		{"snap unknown organisation", snap(1, 2, 3, 8, 0), wire.UnknownLLC, wire.InnerUnknown},
		{"snap arp", snap(0, 0, 0, 8, 6), wire.ARP, wire.InnerNotIP},
		{"snap cut", func(p *packet) *packet { return p.LLC(0xaa, 0xaa, 3).Data([]byte{0, 0, 0, 8}) }, wire.Truncated, wire.InnerTruncated},
		{"pppoe discovery", typ(0x8863), wire.PPPoEDiscovery, wire.InnerNotIP},
		{"pppoe session with a code", func(p *packet) *packet {
			return p.Next(0x8864).Data([]byte{0x11, 0x09, 0, 0, 0, 0})
		}, wire.PPPoEDiscovery, wire.InnerNotIP},
		{"lcp", ppp(0xc021), wire.PPPControl, wire.InnerNotIP},
		{"ipcp", ppp(0x8021), wire.PPPControl, wire.InnerNotIP},
		{"ppp compressed", ppp(0x00fd), wire.PPPCompressed, wire.InnerNotIP},
		{"ppp unknown", ppp(0x4003), wire.UnknownPPP, wire.InnerUnknown},
		{"mpls oam", func(p *packet) *packet { return p.MPLS(16, 13).Data([]byte{0x10, 0, 0, 7, 1, 2, 3, 4}) }, wire.MPLSOAM, wire.InnerNotIP},
		{"mpls without bottom", func(p *packet) *packet { return p.Next(0x8847).Data(bytes.Repeat([]byte{0, 1, 0, 64}, 17)) }, wire.TooDeep, wire.InnerTooDeep},
		{"mpls cut", func(p *packet) *packet { return p.MPLS(16) }, wire.Truncated, wire.InnerTruncated},
		{"nsh unknown", func(p *packet) *packet { return p.NSH().Payload(9) }, wire.UnknownNSH, wire.InnerUnknown},
		{"nsh of no length", func(p *packet) *packet { return p.Next(0x894f).Data(make([]byte, 40)) }, wire.UnknownNSH, wire.InnerUnknown},
		{"ip of a wrong version", typ(0x0800), wire.BadIPVersion, wire.InnerBadIP},
		{"ipv6 of a wrong version", func(p *packet) *packet { return p.Next(0x86dd).Data(make([]byte, 40)) }, wire.BadIPVersion, wire.InnerBadIP},
		{"16 tags", func(p *packet) *packet { return tags(p, wire.MaxTags).ARP() }, wire.ARP, wire.InnerNotIP},
		{"17 tags", func(p *packet) *packet { return tags(p, wire.MaxTags+1).ARP() }, wire.TooDeep, wire.InnerTooDeep},
		{"ethernet in itself without end", func(p *packet) *packet {
			for range 40 {
				p.Next(0x6558).Ether()
			}
			return p
		}, wire.TooDeep, wire.InnerTooDeep},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			check(t, tc.add(packetbuild.Ether()).Bytes(), tc.code, wire.IP{})
			for _, out := range [][2]string{outer4, outer6} {
				w := wrapped{encap: encap{proto: 47, outer: true}, out: out, frame: tc.add(ip(packetbuild.Ether(), out).GRE().Ether()).Bytes()}
				outer := w.wantOuter()
				var h wire.Headers
				if c := charging(wire.ChargeInner, false).Decode(wire.LinkEthernet, w.frame, &h); c != tc.inner {
					t.Errorf("in a tunnel: code %v, want %v", c, tc.inner)
				}
				a, b := h.Charged()
				checkIP(t, "charged", a, &outer)
				checkIP(t, "charged second", b, nil)
				if c := charging(wire.ChargeOuter, false).Decode(wire.LinkEthernet, w.frame, &h); c != wire.OK {
					t.Errorf("in a tunnel that is not looked into: code %v, want ok", c)
				}
			}
		})
	}
}

func tags(p *packet, n int) *packet {
	for range n {
		p.VLAN(7)
	}
	return p
}

// TestBrokenTunnels: what cannot be walked leaves the charge with the header that was seen.
func TestBrokenTunnels(t *testing.T) {
	t.Parallel()
	for _, out := range [][2]string{outer4, outer6} {
		base := func() *packet { return ip(packetbuild.Ether(), out) }
		udp := func(port uint16, b ...byte) []byte { return base().UDP(999, port).Data(b).Bytes() }
		gre := func(b ...byte) []byte { return base().Next(47).Data(b).Bytes() }
		nothing := make([]byte, 60)
		for _, tc := range []struct {
			name  string
			frame []byte
			code  wire.Code
		}{
			{"l2tp control", base().UDP(1701, 1701).L2TPControl().Bytes(), wire.L2TPControl},
			{"l2tpv3 control over udp", udp(1701, 0xc8, 3, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0), wire.L2TPControl},
			{"l2tpv3 control over ip", base().L2TPv3(0, 0).Payload(20).Bytes(), wire.L2TPControl},
			{"l2tpv3 cut", base().Next(115).Payload(3).Bytes(), wire.InnerTruncated},
			{"l2tpv3 unknown", base().L2TPv3(5, 0).Data(nothing).Bytes(), wire.InnerUnknown},
			{"l2tp lcp", base().UDP(1701, 1701).L2TPv2(1, 2, false).Payload(10).Bytes(), wire.InnerNotIP},
			{"l2tp port, other payload", udp(1701, nothing...), wire.OK},
			{"l2tp port, empty", udp(1701), wire.OK},
			{"l2tp cut", udp(1701, 0x4a, 2, 0, 9, 0, 1), wire.InnerTruncated},
			{"l2tp offset beyond", udp(1701, 2, 2, 0, 1, 0, 2, 0xff, 0xff), wire.InnerTruncated},
			{"vxlan port, no flag", udp(4789, nothing...), wire.OK},
			{"vxlan port, empty", udp(4789), wire.OK},
			{"vxlan empty inside", udp(4789, 8, 0, 0, 0, 0, 0, 0, 0), wire.InnerTruncated},
			{"vxlan gpe unknown", udp(4790, 0x0c, 0, 0, 99, 0, 0, 0, 0), wire.InnerUnknown},
			{"geneve port, other payload", udp(6081, nothing...), wire.OK},
			{"geneve options beyond", udp(6081, 0x3f, 0, 0x65, 0x58, 0, 0, 0, 0), wire.InnerTruncated},
			{"gtpu port, other payload", udp(2152, nothing...), wire.OK},
			{"gtpu echo", udp(2152, 0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0), wire.OK},
			{"gtpu extension without length", udp(2152, 0x34, 0xff, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0x85, 0), wire.InnerTruncated},
			{"gtpu extensions without end", udp(2152, append([]byte{0x34, 0xff, 0, 84, 0, 0, 0, 0, 0, 0, 0, 0x85}, bytes.Repeat([]byte{1, 0, 0, 0x85}, 20)...)...), wire.InnerTooDeep},
			{"gtpu empty", udp(2152, 0x30, 0xff, 0, 0, 0, 0, 0, 0), wire.InnerTruncated},
			{"gtpu unknown", udp(2152, 0x30, 0xff, 0, 4, 0, 0, 0, 0, 1, 2, 3, 4), wire.InnerUnknown},
			{"mpls port, empty", udp(6635), wire.OK},
			{"teredo bubble without header", udp(3544, 0, 0), wire.OK},
			{"teredo authentication beyond", udp(3544, 0, 1, 255, 255), wire.OK},
			{"gre cut", gre(0, 0, 8), wire.InnerTruncated},
			{"gre key cut", gre(0x20, 0, 8, 0, 0), wire.InnerTruncated},
			{"gre routing", gre(0x40, 0, 8, 0, 0, 0, 0, 0), wire.InnerUnknown},
			{"gre version 5", gre(0, 5, 8, 0, 0, 0, 0, 0), wire.InnerUnknown},
			{"gre keepalive", gre(0, 0, 0, 0), wire.OK},
			{"gre unknown", gre(0, 0, 0x12, 0x34, 1, 2), wire.InnerUnknown},
			{"pptp bare acknowledgement", gre(0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 9), wire.OK},
			{"erspan 2 cut", gre(0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0), wire.InnerTruncated},
			{"erspan 3 cut", gre(0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0), wire.InnerTruncated},
			{"erspan 3 of another frame type", gre(append([]byte{0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0}, nothing...)...), wire.InnerUnknown},
			{"etherip cut", base().Next(97).Payload(1).Bytes(), wire.InnerTruncated},
			{"ip in ip cut", base().Next(4).Payload(19).Bytes(), wire.InnerBadIP},
			{"ip in ip, header cut", base().Next(4).Data([]byte{0x45, 0}).Bytes(), wire.InnerTruncated},
			{"ip in ip of a wrong version", base().Next(4).Data(nothing).Bytes(), wire.InnerBadIP},
		} {
			t.Run(tc.name+" over ipv"+string('0'+rune(version(out))), func(t *testing.T) {
				for _, charge := range []wire.Charge{wire.ChargeInner, wire.ChargeBoth} {
					var h wire.Headers
					dirty(&h)
					if c := charging(charge, false).Decode(wire.LinkEthernet, tc.frame, &h); c != tc.code {
						t.Fatalf("code %v, want %v", c, tc.code)
					}
					a, b := h.Charged()
					if a != &h.Outer || b != nil || h.Depth() != 1 || h.Inner() != &h.Outer {
						t.Errorf("charged %s and %s at depth %d", show(a), show(b), h.Depth())
					}
				}
			})
		}
	}
}

// TestDeepNesting: IP in IP without end is charged where the budget ends, and no deeper.
func TestDeepNesting(t *testing.T) {
	t.Parallel()
	for _, a := range [][2]string{inner4, inner6} {
		for n := 1; n <= 40; n++ {
			p := packetbuild.Ether()
			for range n {
				ip(p, a)
			}
			var h wire.Headers
			c := charging(wire.ChargeInner, true).Decode(wire.LinkEthernet, p.UDP(5, 6).Bytes(), &h)
			wantCode := wire.OK
			if n > wire.MaxIP {
				wantCode = wire.InnerTooDeep
			}
			charged, _ := h.Charged()
			if c != wantCode || h.Depth() != min(n, wire.MaxIP) || charged != h.Inner() {
				t.Errorf("ipv%d %d times: %v at depth %d", version(a), n, c, h.Depth())
			}
		}
	}
}

func TestLinkTypes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		link wire.LinkType
		b    []byte
		code wire.Code
	}{
		{"unknown", 147, make([]byte, 60), wire.UnknownLinkType},
		{"raw of no version", wire.LinkRaw, make([]byte, 60), wire.BadIPVersion},
		{"raw empty", wire.LinkRaw, nil, wire.Truncated},
		{"ipv4 link, ipv6 packet", wire.LinkIPv4, ip(packetbuild.Raw(), inner6).Bytes(), wire.BadIPVersion},
		{"ipv6 link, ipv4 packet", wire.LinkIPv6, ip(packetbuild.Raw(), inner4).Bytes(), wire.BadIPVersion},
		{"sll cut", wire.LinkLinuxSLL, make([]byte, 15), wire.Truncated},
		{"sll novell", wire.LinkLinuxSLL, append(make([]byte, 15), 1), wire.IPX},
		{"sll can", wire.LinkLinuxSLL, append(make([]byte, 15), 12), wire.UnknownEthertype},
		{"sll2 cut", wire.LinkLinuxSLL2, make([]byte, 19), wire.Truncated},
		{"null cut", wire.LinkNull, []byte{2, 0, 0}, wire.Truncated},
		{"null osi", wire.LinkNull, []byte{7, 0, 0, 0}, wire.ISIS},
		{"null unknown", wire.LinkNull, []byte{99, 0, 0, 0}, wire.UnknownEthertype},
		{"chdlc slarp", wire.LinkCHDLC, []byte{0x8f, 0, 0x80, 0x35, 0}, wire.CiscoL2},
		{"chdlc cut", wire.LinkCHDLC, []byte{0x8f, 0, 0x80}, wire.Truncated},
		{"ppp lcp", wire.LinkPPP, []byte{0xff, 3, 0xc0, 0x21, 1}, wire.PPPControl},
		{"ppp empty", wire.LinkPPP, []byte{0xff, 3}, wire.Truncated},
		{"nflog cut", wire.LinkNFLOG, []byte{2, 0, 0}, wire.Truncated},
		{"nflog of no payload", wire.LinkNFLOG, []byte{2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0}, wire.Truncated},
		{"nflog without progress", wire.LinkNFLOG, make([]byte, 400), wire.Truncated},
		{"nflog of many values", wire.LinkNFLOG, append([]byte{2, 0, 0, 0}, bytes.Repeat([]byte{4, 0, 1, 0}, 100)...), wire.TooDeep},
	} {
		var h wire.Headers
		for _, trace := range []bool{false, true} {
			if c := (&wire.Decoder{Trace: trace}).Decode(tc.link, tc.b, &h); c != tc.code {
				t.Errorf("%s: %v, want %v", tc.name, c, tc.code)
			}
		}
	}
}
