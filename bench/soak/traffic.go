package soak

import (
	"net/netip"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Where the low words of the destinations lie, and the source ports of IPv4; a field that belongs to one family changes a source
// address or payload of the other.
const (
	dst4, dst6 = 14 + 16, 14 + 36
	sport4     = 14 + 20
)

// mix is every class of both families, to 65,536 hosts each, among them what is no IP and what is garbage.
func mix() cable.Traffic {
	var frames [][]byte
	add := func(p *packetbuild.Packet) {
		b := p.Bytes()
		for len(b) < 60 {
			b = append(b, 0)
		}
		frames = append(frames, b)
	}
	for _, f := range []struct{ src, dst string }{{"198.51.100.7", "10.0.0.0"}, {"2001:db9::7", "2001:db8::"}} {
		ip := func() *packetbuild.Packet {
			return packetbuild.Ether().IP(netip.MustParseAddr(f.src), netip.MustParseAddr(f.dst))
		}
		add(ip().TCP(1000, 80, wire.FlagSYN))
		add(ip().TCP(1000, 443, wire.FlagACK).Payload(40))
		add(ip().UDP(1000, 53).NoChecksum().Payload(100))
		add(ip().UDP(1000, 123).NoChecksum().Payload(400))
		add(ip().ESP(1).Payload(60))
		add(ip().Frag(1, 1480, true).Next(17).Payload(200))
		add(ip().Frag(1, 0, true).UDP(1, 2).NoChecksum().Payload(200))
	}
	add(packetbuild.Ether().ARP())
	frames = append(frames, make([]byte, 60))
	return cable.Traffic{Frames: frames, Fields: []cable.Field{
		{Offset: dst4, Mask: 0xffff, Shift: 8}, {Offset: dst6, Mask: 0xffff, Shift: 8}, {Offset: sport4, Mask: 0x00ff0000, Shift: 24},
	}}
}

// networks are the configured ones that the mix goes to.
func networks() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}
}
