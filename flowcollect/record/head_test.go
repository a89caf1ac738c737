package record_test

import (
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// What the packet decoder leaves out of a head is read from its bytes: behind tags, labels and tunnels, of heads that are cut, in IPv4
// and IPv6.
func TestSetHead(t *testing.T) {
	t.Parallel()
	both := func(p func() *packetbuild.Packet, transport func(p *packetbuild.Packet, v6 bool) *packetbuild.Packet) (out [2][]byte) {
		out[0] = transport(p().IPv4("192.0.2.1", "198.51.100.2").TTL(63), false).Payload(20).Bytes()
		out[1] = transport(p().IPv6("2001:db8::1", "2001:db8::2").TTL(63), true).Payload(20).Bytes()
		return out
	}
	udp := func(p *packetbuild.Packet, _ bool) *packetbuild.Packet { return p.UDP(53, 4242) }
	icmp := func(p *packetbuild.Packet, v6 bool) *packetbuild.Packet {
		if v6 {
			return p.ICMPv6(3, 1)
		}
		return p.ICMP(3, 1)
	}
	fragment := func(p *packetbuild.Packet, v6 bool) *packetbuild.Packet { return icmp(p.Frag(7, 0, true), v6) }
	plain := packetbuild.Ether
	for _, c := range []struct {
		name string
		in   [2][]byte
		lt   wire.LinkType
		ip   [2]int // where the header to mark is
		icmp bool
	}{
		{"plain", both(plain, udp), wire.LinkEthernet, [2]int{14, 14}, false},
		{"ICMP", both(plain, icmp), wire.LinkEthernet, [2]int{14, 14}, true},
		{"a fragment of ICMP", both(plain, fragment), wire.LinkEthernet, [2]int{14, 14}, false},
		{"tags", both(func() *packetbuild.Packet { return plain().QinQ(7, 8) }, icmp), wire.LinkEthernet, [2]int{22, 22}, true},
		{"labels", both(func() *packetbuild.Packet { return plain().MPLS(16, 17) }, icmp), wire.LinkEthernet, [2]int{22, 22}, true},
		{"no link layer", both(packetbuild.Raw, icmp), wire.LinkRaw, [2]int{0, 0}, true},
		{"in GRE", both(func() *packetbuild.Packet { return plain().IPv4("203.0.113.1", "203.0.113.2").GRE() }, icmp), wire.LinkEthernet, [2]int{38, 38}, true},
	} {
		for i, b := range c.in {
			mark(b[c.ip[i]:])
			var h wire.Headers
			var d wire.Decoder
			d.Charge[wire.TunnelGRE] = wire.ChargeInner
			if code := d.Decode(c.lt, b, &h); !code.Addressed() {
				t.Fatalf("%s %d: %v", c.name, i, code)
			}
			ip, _ := h.Charged()
			var r record.Record
			r.SetIP(ip)
			r.SetHead(c.lt, b, ip)
			if r.TOS != 0xb8 || r.TTL != 63 || r.Has&record.HasTTL == 0 {
				t.Errorf("%s %d: %+v", c.name, i, r)
			}
			if has := r.Has&record.HasICMP != 0; has != c.icmp || has && (r.ICMPType != 3 || r.ICMPCode != 1) {
				t.Errorf("%s %d: ICMP %v %d %d", c.name, i, has, r.ICMPType, r.ICMPCode)
			}
			for n := range len(b) { // cut anywhere: nothing is read behind the end
				r.SetHead(c.lt, b[:n:n], ip)
			}
		}
	}
}

// mark sets the type of service to 0xb8.
func mark(ip []byte) {
	if ip[0]>>4 == 4 {
		ip[1] = 0xb8
		return
	}
	ip[0], ip[1] = 0x6b, ip[1]&0x0f|0x80
}
