package packetbuild

import (
	"bytes"
	"encoding/hex"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// serialize builds a frame with gopacket.
func serialize(t *testing.T, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestAgainstGopacket compares whole frames, checksums included, with an independent builder, which pads every frame to 60 bytes.
func TestAgainstGopacket(t *testing.T) {
	t.Parallel()
	eth := func(typ layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{DstMAC: macs[:6], SrcMAC: macs[6:], EthernetType: typ}
	}
	ip4 := func(proto layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{198, 51, 100, 2}}
	}
	ip6 := func(proto layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8:f::2")}
	}
	v4 := func(p *Packet) *Packet { return p.IPv4("192.0.2.1", "198.51.100.2") }
	v6 := func(p *Packet) *Packet { return p.IPv6("2001:db8::1", "2001:db8:f::2") }
	data := gopacket.Payload("odd")
	tcp := func(net gopacket.NetworkLayer) *layers.TCP {
		l := &layers.TCP{SrcPort: 1025, DstPort: 80, Seq: 1, SYN: true, ACK: true, Window: 0xffff}
		l.SetNetworkLayerForChecksum(net)
		return l
	}
	udp := func(net gopacket.NetworkLayer) *layers.UDP {
		l := &layers.UDP{SrcPort: 53, DstPort: 4242}
		l.SetNetworkLayerForChecksum(net)
		return l
	}
	a4, a6 := ip4(layers.IPProtocolTCP), ip6(layers.IPProtocolTCP)
	u4, u6 := ip4(layers.IPProtocolUDP), ip6(layers.IPProtocolUDP)
	icmp6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
	i6 := ip6(layers.IPProtocolICMPv6)
	icmp6.SetNetworkLayerForChecksum(i6)
	for _, tc := range []struct {
		name string
		got  *Packet
		want []byte
	}{
		{"tcp4", v4(Ether()).TCP(1025, 80, 0x12).Data([]byte("odd")), serialize(t, eth(layers.EthernetTypeIPv4), a4, tcp(a4), data)},
		{"tcp6", v6(Ether()).TCP(1025, 80, 0x12).Data([]byte("odd")), serialize(t, eth(layers.EthernetTypeIPv6), a6, tcp(a6), data)},
		{"udp4 vlan", v4(Ether().VLAN(7)).UDP(53, 4242).Data([]byte("odd")), serialize(t, eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}, u4, udp(u4), data)},
		{"udp6 mpls", v6(Ether().MPLS(16, 17)).UDP(53, 4242), serialize(t, eth(layers.EthernetTypeMPLSUnicast), &layers.MPLS{Label: 16, TTL: 64}, &layers.MPLS{Label: 17, TTL: 64, StackBottom: true}, u6, udp(u6))},
		{"icmp4", v4(Ether()).ICMP(8, 0), serialize(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1})},
		{"icmp6", v6(Ether()).ICMPv6(128, 0), serialize(t, eth(layers.EthernetTypeIPv6), i6, icmp6, gopacket.Payload{0, 1, 0, 1})},
		{"sctp4", v4(Ether()).SCTP(5, 6), serialize(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolSCTP), &layers.SCTP{SrcPort: 5, DstPort: 6, VerificationTag: 1})},
		{"gre key seq", v4(v4(Ether()).GRE(GREKey, GRESequence)).UDP(53, 4242), serialize(t, eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4, KeyPresent: true, Key: 0x28, SeqPresent: true, Seq: 1}, u4, udp(u4))},
		{"vxlan", v6(v4(Ether()).UDP(1, 4789).VXLAN(5).Ether()).UDP(53, 4242), func() []byte {
			out := udp(u4)
			out.SrcPort, out.DstPort = 1, 4789
			return serialize(t, eth(layers.EthernetTypeIPv4), u4, out, &layers.VXLAN{ValidIDFlag: true, VNI: 5}, eth(layers.EthernetTypeIPv6), u6, udp(u6))
		}()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.got.Pad(60).Bytes(); !bytes.Equal(got, tc.want) {
				t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(tc.want))
			}
		})
	}
}

// TestDerived checks fields by hand that no other builder here makes.
func TestDerived(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		p    *Packet
		want string
	}{
		{"llc length", Ether().LLC(0x42, 0x42, 3).Payload(2).Pad(22), "0200000000020200000000010005424203616200000000"[:44]},
		{"qinq", Ether().QinQ(1, 2).ARP().Pad(0), "020000000002020000000001" + "88a80001" + "81000002" + "0806" + "0001080006040001" + "020000000001" + "c0000201" + "000000000000" + "c0000202"},
		{"pppoe", Raw().PPPoE(9).Next(0xc021).Payload(1), "110000090003" + "c021" + "61"},
		{"gtpu", Raw().GTPU(0x01020304, true, 0x85), "36ff000801020304" + "000100" + "85" + "01" + "1001" + "00"},
		{"geneve", Raw().Geneve(5, 2).Ether().Patch(func(b []byte) { copy(b, make([]byte, 12)) }), "02006558" + "00000500" + "0102030100000000" + "000000000000000000000000" + "88b5"},
		{"l2tpv2 full", Raw().L2TPv2(1, 2, true).Payload(1), "4a02" + "0016" + "0001" + "0002" + "00010002" + "0003000000" + "ff03c021" + "61"},
		{"erspan3 ip", Raw().ERSPAN3(1, true).IPv4("0.0.0.0", "0.0.0.0").NoChecksum(), "100022eb00000001" + "200100010000000100008801" + "0000000000000000" + "4500001400000000403b" + "0000" + "0000000000000000"},
		{"fragment", Raw().IPv6("::", "::").Frag(5, 16, true).Payload(1), "6000000000092c40" + "00000000000000000000000000000000" + "00000000000000000000000000000000" + "fd00001100000005" + "61"},
		{"overrides", Raw().IPv4("0.0.0.0", "0.0.0.0").TTL(1).Frag(2, 8, true).Next(200).Length(9).IHL(3).NoChecksum(), "43000009" + "00022001" + "01c80000" + "0000000000000000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := hex.EncodeToString(tc.p.Bytes()); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestCloneIsIndependent(t *testing.T) {
	t.Parallel()
	base := Ether().IPv4("192.0.2.1", "192.0.2.2")
	a := base.Clone().TTL(1).UDP(1, 2).Bytes()
	b := base.Clone().UDP(1, 2).Bytes()
	if a[22] != 1 || b[22] != 64 {
		t.Errorf("TTLs %d and %d, want 1 and 64", a[22], b[22])
	}
	if got := base.Clone().UDP(1, 2).AppendTo([]byte("head")); !bytes.Equal(got, append([]byte("head"), b...)) {
		t.Error("AppendTo does not append what Bytes gives")
	}
}

func TestMistakesPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"udp on ethernet": func() { Ether().UDP(1, 2).Bytes() },
		"families":        func() { Ether().IPv4("192.0.2.1", "2001:db8::1") },
		"ttl of tcp":      func() { Ether().IPv4("192.0.2.1", "192.0.2.2").TCP(1, 2, 0).TTL(1) },
		"options":         func() { Ether().IPv4("192.0.2.1", "192.0.2.2").Options(44) },
		"nothing":         func() { Raw().Length(1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func BenchmarkBytes(b *testing.B) {
	p := Ether().VLAN(7).IPv4("192.0.2.1", "192.0.2.2").UDP(53, 4242).Payload(100)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = p.AppendTo(buf[:0])
	}
}
