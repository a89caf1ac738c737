package wire_test

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Addresses: a and b are outside of a tunnel, c and d inside, e and f inside a second one.
var (
	outer4 = [2]string{"192.0.2.1", "198.51.100.2"}
	outer6 = [2]string{"2001:db8::a", "2001:db8::b"}
	inner4 = [2]string{"10.1.0.3", "10.2.0.4"}
	inner6 = [2]string{"2001:db8:1::c", "2001:db8:2::d"}
	third4 = [2]string{"172.16.0.5", "172.16.0.6"}
)

// ip adds an IP header to p.
func ip(p *packetbuild.Packet, a [2]string) *packetbuild.Packet {
	return p.IP(netip.MustParseAddr(a[0]), netip.MustParseAddr(a[1]))
}

// always marks encapsulations with an IP header outside that are looked through whatever Charge says.
const always = wire.NumTunnels

// encap is one way to wrap an IP packet.
type encap struct {
	name string
	link wire.LinkType
	// wrap adds what stands before the inner IP header. out is the outer addresses, unused by link-layer encapsulations.
	wrap func(out [2]string) *packetbuild.Packet
	// layers are the names that Trace notes for the wrapping, ip standing for the outer header.
	layers string
	// outer says that there is an outer IP header, with proto and, if not zero, ports.
	outer  bool
	proto  uint8
	ports  [2]uint16
	tunnel wire.Tunnel
	// only restricts the outer and inner family; 0 is both.
	onlyOuter, onlyInner int
}

type packet = packetbuild.Packet

// linkEncaps are those without an outer IP header.
var linkEncaps = []encap{
	{name: "ethernet", layers: "eth", wrap: func([2]string) *packet { return packetbuild.Ether() }},
	{name: "vlan", layers: "eth vlan", wrap: func([2]string) *packet { return packetbuild.Ether().VLAN(7) }},
	{name: "vlan priority bits", layers: "eth vlan", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x8100, 0xffff) }},
	{name: "qinq", layers: "eth vlan vlan", wrap: func([2]string) *packet { return packetbuild.Ether().QinQ(7, 8) }},
	{name: "8100 twice", layers: "eth vlan vlan", wrap: func([2]string) *packet { return packetbuild.Ether().VLAN(7).VLAN(8) }},
	{name: "88a8 alone", layers: "eth vlan", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x88a8, 7) }},
	{name: "88a8 twice", layers: "eth vlan vlan", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x88a8, 7).Tag(0x88a8, 7) }},
	{name: "9100", layers: "eth vlan vlan", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x9100, 7).VLAN(8) }},
	{name: "9200 9300", layers: "eth vlan vlan", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x9200, 7).Tag(0x9300, 8) }},
	{name: "vlan five times", layers: "eth vlan vlan vlan vlan vlan", wrap: func([2]string) *packet {
		return packetbuild.Ether().QinQ(1, 2).QinQ(3, 4).VLAN(5)
	}},
	{name: "snap", layers: "eth llc snap", wrap: func([2]string) *packet { return packetbuild.Ether().SNAP() }},
	{name: "snap in vlan", layers: "eth vlan llc snap", wrap: func([2]string) *packet { return packetbuild.Ether().VLAN(7).SNAP() }},
	{name: "mpls", layers: "eth mpls", wrap: func([2]string) *packet { return packetbuild.Ether().MPLS(16) }},
	{name: "mpls explicit null", layers: "eth mpls", wrap: func([2]string) *packet { return packetbuild.Ether().MPLS(0) }},
	{name: "mpls three labels in vlan", layers: "eth vlan mpls mpls mpls", wrap: func([2]string) *packet { return packetbuild.Ether().VLAN(7).MPLS(16, 17, 18) }},
	{name: "mpls multicast", layers: "eth mpls", wrap: func([2]string) *packet { return packetbuild.Ether().Next(0x8848).MPLS(16) }},
	{name: "eompls", layers: "eth mpls eth", wrap: func([2]string) *packet { return packetbuild.Ether().MPLS(16).Ether() }},
	{name: "eompls vlan", layers: "eth mpls eth vlan", wrap: func([2]string) *packet { return packetbuild.Ether().MPLS(16).Ether().VLAN(7) }},
	{name: "eompls from 40:", layers: "eth mpls eth", wrap: func([2]string) *packet {
		return packetbuild.Ether().MPLS(16).Ether().Patch(func(h []byte) { h[0] = 0x45 })
	}},
	{name: "eompls from 60:", layers: "eth mpls eth", wrap: func([2]string) *packet {
		return packetbuild.Ether().MPLS(16).Ether().Patch(func(h []byte) { h[0] = 0x60 })
	}},
	{name: "eompls from 14:", layers: "eth mpls eth", wrap: func([2]string) *packet {
		return packetbuild.Ether().MPLS(16).Ether().Patch(func(h []byte) { h[0] = 0x14 })
	}},
	{name: "eompls from a4:", layers: "eth mpls eth", wrap: func([2]string) *packet {
		return packetbuild.Ether().MPLS(16).Ether().Patch(func(h []byte) { h[0] = 0xa4 })
	}},
	{name: "eompls with control word", layers: "eth mpls mpls pwcw eth", wrap: func([2]string) *packet { return packetbuild.Ether().MPLS(16, 17).PWControl(0).Ether() }},
	{name: "pppoe", layers: "eth pppoe ppp", wrap: func([2]string) *packet { return packetbuild.Ether().PPPoE(9) }},
	{name: "pppoe in qinq", layers: "eth vlan vlan pppoe ppp", wrap: func([2]string) *packet { return packetbuild.Ether().QinQ(7, 8).PPPoE(9) }},
	{name: "pppoe mpls", layers: "eth pppoe ppp mpls", wrap: func([2]string) *packet { return packetbuild.Ether().PPPoE(9).MPLS(16) }},
	{name: "pbb", layers: "eth vlan pbb eth", wrap: func([2]string) *packet { return packetbuild.Ether().Tag(0x88a8, 7).PBB(77).Ether() }},
	{name: "etag", layers: "eth etag vlan", wrap: func([2]string) *packet { return packetbuild.Ether().ETag().VLAN(7) }},
	{name: "vntag", layers: "eth vntag vlan", wrap: func([2]string) *packet { return packetbuild.Ether().VNTag().VLAN(7) }},
	{name: "cmd", layers: "eth cmd", wrap: func([2]string) *packet { return packetbuild.Ether().CMD(5) }},
	{name: "nsh", layers: "eth nsh", wrap: func([2]string) *packet { return packetbuild.Ether().NSH() }},
	{name: "nsh ethernet", layers: "eth nsh eth", wrap: func([2]string) *packet { return packetbuild.Ether().NSH().Ether() }},
	{name: "nsh mpls", layers: "eth nsh mpls", wrap: func([2]string) *packet { return packetbuild.Ether().NSH().MPLS(16) }},
	{name: "nsh twice", layers: "eth nsh nsh", wrap: func([2]string) *packet { return packetbuild.Ether().NSH().NSH() }},
	{name: "fabricpath", layers: "eth fabricpath eth", wrap: func([2]string) *packet { return packetbuild.Ether().FabricPath().Ether() }},
	{name: "raw", link: wire.LinkRaw, wrap: func([2]string) *packet { return packetbuild.Raw() }},
	{name: "raw, bsd number", link: 12, wrap: func([2]string) *packet { return packetbuild.Raw() }},
	{name: "raw ipv4", link: wire.LinkIPv4, onlyInner: 4, wrap: func([2]string) *packet { return packetbuild.Raw() }},
	{name: "raw ipv6", link: wire.LinkIPv6, onlyInner: 6, wrap: func([2]string) *packet { return packetbuild.Raw() }},
	{name: "sll", link: wire.LinkLinuxSLL, layers: "sll", wrap: func([2]string) *packet { return packetbuild.SLL() }},
	{name: "sll vlan", link: wire.LinkLinuxSLL, layers: "sll vlan", wrap: func([2]string) *packet { return packetbuild.SLL().VLAN(7) }},
	{name: "sll snap", link: wire.LinkLinuxSLL, layers: "sll llc snap", wrap: func([2]string) *packet { return packetbuild.SLL().SNAP() }},
	{name: "sll2", link: wire.LinkLinuxSLL2, layers: "sll2", wrap: func([2]string) *packet { return packetbuild.SLL2() }},
	{name: "null", link: wire.LinkNull, layers: "null", wrap: func([2]string) *packet { return packetbuild.Null() }},
	{name: "null, other order", link: wire.LinkNull, layers: "null", wrap: func([2]string) *packet { return packetbuild.Loop() }},
	{name: "loop", link: wire.LinkLoop, layers: "null", wrap: func([2]string) *packet { return packetbuild.Loop() }},
	{name: "chdlc", link: wire.LinkCHDLC, layers: "chdlc", wrap: func([2]string) *packet { return packetbuild.CHDLC() }},
	{name: "ppp", link: wire.LinkPPP, layers: "ppp", wrap: func([2]string) *packet { return packetbuild.Raw().PPP(false) }},
	{name: "ppp framed", link: wire.LinkPPPHDLC, layers: "ppp", wrap: func([2]string) *packet { return packetbuild.Raw().PPP(true) }},
	{name: "ppp ether", link: wire.LinkPPPEther, layers: "pppoe ppp", wrap: func([2]string) *packet { return packetbuild.Raw().PPPoE(1) }},
	{name: "nflog ipv4", link: wire.LinkNFLOG, layers: "nflog", onlyInner: 4, wrap: func([2]string) *packet { return packetbuild.NFLOG(2, 40) }},
	{name: "nflog ipv6", link: wire.LinkNFLOG, layers: "nflog", onlyInner: 6, wrap: func([2]string) *packet { return packetbuild.NFLOG(10, 60) }},
}

func ether(out [2]string) *packet { return ip(packetbuild.Ether(), out) }

// ipEncaps are those with an outer IP header.
var ipEncaps = []encap{
	{name: "gre", layers: "eth ip gre", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE() }},
	{name: "gre key", layers: "eth ip gre", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE(packetbuild.GREKey) }},
	{name: "gre all fields", layers: "eth ip gre", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet {
		return ether(o).GRE(packetbuild.GREChecksum, packetbuild.GREKey, packetbuild.GRESequence)
	}},
	{name: "gre teb", layers: "eth ip gre eth", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE(packetbuild.GREKey).Ether() }},
	{name: "gre teb vlan", layers: "eth ip gre eth vlan", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE().Ether().VLAN(7) }},
	{name: "gre mpls", layers: "eth ip gre mpls", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE().MPLS(16) }},
	{name: "gre nsh", layers: "eth ip gre nsh", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE().NSH() }},
	{name: "gre ppp", layers: "eth ip gre ppp", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).GRE().PPP(true) }},
	{name: "pptp", layers: "eth ip gre ppp", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).PPTP(5, false) }},
	{name: "pptp ack", layers: "eth ip gre ppp", proto: 47, tunnel: wire.TunnelGRE, wrap: func(o [2]string) *packet { return ether(o).PPTP(5, true) }},
	{name: "erspan 1", layers: "eth ip gre erspan eth", proto: 47, tunnel: wire.TunnelERSPAN, wrap: func(o [2]string) *packet { return ether(o).ERSPAN1().Ether() }},
	{name: "erspan 2", layers: "eth ip gre erspan eth", proto: 47, tunnel: wire.TunnelERSPAN, wrap: func(o [2]string) *packet { return ether(o).ERSPAN2(5).Ether() }},
	{name: "erspan 3", layers: "eth ip gre erspan eth vlan", proto: 47, tunnel: wire.TunnelERSPAN, wrap: func(o [2]string) *packet { return ether(o).ERSPAN3(5, false).Ether().VLAN(7) }},
	{name: "erspan 3 subheader", layers: "eth ip gre erspan eth", proto: 47, tunnel: wire.TunnelERSPAN, wrap: func(o [2]string) *packet { return ether(o).ERSPAN3(5, true).Ether() }},
	{name: "erspan 3 ip", layers: "eth ip gre erspan", proto: 47, tunnel: wire.TunnelERSPAN, wrap: func(o [2]string) *packet { return ether(o).ERSPAN3(5, true) }},
	{name: "ipip", layers: "eth ip", proto: 4, tunnel: wire.TunnelIPIP, onlyOuter: 4, onlyInner: 4, wrap: ether},
	{name: "6in4", layers: "eth ip", proto: 41, tunnel: wire.TunnelSIT, onlyOuter: 4, onlyInner: 6, wrap: ether},
	{name: "4in6", layers: "eth ip", proto: 4, tunnel: wire.Tunnel4in6, onlyOuter: 6, onlyInner: 4, wrap: ether},
	{name: "6in6", layers: "eth ip", proto: 41, tunnel: wire.Tunnel4in6, onlyOuter: 6, onlyInner: 6, wrap: ether},
	{name: "4in6 behind destination options", layers: "eth ip dstopts", proto: 4, tunnel: wire.Tunnel4in6, onlyOuter: 6, onlyInner: 4, wrap: func(o [2]string) *packet { return ether(o).DestOpts(8) }},
	{name: "ipip behind ah", layers: "eth ip ah", proto: 4, tunnel: wire.TunnelIPIP, onlyOuter: 4, onlyInner: 4, wrap: func(o [2]string) *packet { return ether(o).AH() }},
	{name: "etherip in ipv4", layers: "eth ip etherip eth", proto: 97, tunnel: wire.TunnelIPIP, onlyOuter: 4, wrap: func(o [2]string) *packet { return ether(o).EtherIP().Ether() }},
	{name: "etherip in ipv6", layers: "eth ip etherip eth", proto: 97, tunnel: wire.Tunnel4in6, onlyOuter: 6, wrap: func(o [2]string) *packet { return ether(o).EtherIP().Ether() }},
	{name: "srv6 ethernet", layers: "eth ip routing eth", proto: 143, tunnel: wire.Tunnel4in6, onlyOuter: 6, wrap: func(o [2]string) *packet { return ether(o).Routing(4).Ether() }},
	{name: "mpls in ip", layers: "eth ip mpls", proto: 137, tunnel: wire.TunnelMPLSUDP, wrap: func(o [2]string) *packet { return ether(o).MPLS(16) }},
	{name: "gtpu", layers: "eth ip udp gtpu", proto: 17, ports: [2]uint16{2152, 2152}, tunnel: wire.TunnelGTPU, wrap: func(o [2]string) *packet { return ether(o).UDP(2152, 2152).GTPU(1, false) }},
	{name: "gtpu sequence", layers: "eth ip udp gtpu", proto: 17, ports: [2]uint16{999, 2152}, tunnel: wire.TunnelGTPU, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 2152).GTPU(1, true) }},
	{name: "gtpu extensions", layers: "eth ip udp gtpu", proto: 17, ports: [2]uint16{2152, 999}, tunnel: wire.TunnelGTPU, wrap: func(o [2]string) *packet {
		return ether(o).UDP(2152, 999).GTPU(1, true, 0x85, 0xc0, 0x40)
	}},
	{name: "gtpu ethernet", layers: "eth ip udp gtpu eth", proto: 17, ports: [2]uint16{999, 2152}, tunnel: wire.TunnelGTPU, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 2152).GTPU(1, false).Ether() }},
	{name: "vxlan", layers: "eth ip udp vxlan eth", proto: 17, ports: [2]uint16{999, 4789}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 4789).VXLAN(5).Ether() }},
	{name: "vxlan vlan, old port", layers: "eth ip udp vxlan eth vlan", proto: 17, ports: [2]uint16{999, 8472}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 8472).VXLAN(5).Ether().VLAN(7) }},
	{name: "vxlan gpe ip", layers: "eth ip udp vxlan", proto: 17, ports: [2]uint16{999, 4790}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 4790).VXLANGPE(5) }},
	{name: "vxlan gpe ethernet", layers: "eth ip udp vxlan eth", proto: 17, ports: [2]uint16{999, 4790}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 4790).VXLANGPE(5).Ether() }},
	{name: "vxlan gpe nsh", layers: "eth ip udp vxlan nsh", proto: 17, ports: [2]uint16{999, 4790}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 4790).VXLANGPE(5).NSH() }},
	{name: "vxlan gpe mpls", layers: "eth ip udp vxlan mpls", proto: 17, ports: [2]uint16{999, 4790}, tunnel: wire.TunnelVXLAN, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 4790).VXLANGPE(5).MPLS(16) }},
	{name: "geneve", layers: "eth ip udp geneve eth", proto: 17, ports: [2]uint16{999, 6081}, tunnel: wire.TunnelGeneve, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 6081).Geneve(5, 0).Ether() }},
	{name: "geneve options, ip", layers: "eth ip udp geneve", proto: 17, ports: [2]uint16{999, 6081}, tunnel: wire.TunnelGeneve, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 6081).Geneve(5, 32) }},
	{name: "mpls in udp", layers: "eth ip udp mpls mpls", proto: 17, ports: [2]uint16{999, 6635}, tunnel: wire.TunnelMPLSUDP, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 6635).MPLS(16, 17) }},
	{name: "teredo", layers: "eth ip udp teredo", proto: 17, ports: [2]uint16{999, 3544}, tunnel: wire.TunnelTeredo, onlyInner: 6, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 3544) }},
	{name: "teredo indicators", layers: "eth ip udp teredo", proto: 17, ports: [2]uint16{3544, 999}, tunnel: wire.TunnelTeredo, onlyInner: 6, wrap: func(o [2]string) *packet {
		return ether(o).UDP(3544, 999).TeredoAuth().TeredoOrigin()
	}},
	{name: "l2tpv2", layers: "eth ip udp l2tp ppp", proto: 17, ports: [2]uint16{1701, 1701}, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).UDP(1701, 1701).L2TPv2(1, 2, false) }},
	{name: "l2tpv2 all fields", layers: "eth ip udp l2tp ppp", proto: 17, ports: [2]uint16{999, 1701}, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).UDP(999, 1701).L2TPv2(1, 2, true) }},
	{name: "l2tpv3 udp ethernet", layers: "eth ip udp l2tp eth", proto: 17, ports: [2]uint16{1701, 999}, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).UDP(1701, 999).L2TPv3UDP(5, 0).Ether() }},
	{name: "l2tpv3 udp ppp, cookie 4", layers: "eth ip udp l2tp ppp", proto: 17, ports: [2]uint16{1701, 1701}, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).UDP(1701, 1701).L2TPv3UDP(5, 4).PPP(true) }},
	{name: "l2tpv3 udp ip, cookie 8", layers: "eth ip udp l2tp", proto: 17, ports: [2]uint16{1701, 1701}, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).UDP(1701, 1701).L2TPv3UDP(5, 8) }},
	{name: "l2tpv3 ip ethernet", layers: "eth ip l2tp eth", proto: 115, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).L2TPv3(5, 0).Ether() }},
	{name: "l2tpv3 ip ethernet, cookie 4", layers: "eth ip l2tp eth vlan", proto: 115, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).L2TPv3(5, 4).Ether().VLAN(7) }},
	{name: "l2tpv3 ip ethernet, cookie 8", layers: "eth ip l2tp eth", proto: 115, tunnel: always, wrap: func(o [2]string) *packet { return ether(o).L2TPv3(5, 8).Ether() }},
}

// version is 4 or 6.
func version(a [2]string) int {
	if strings.Contains(a[0], ":") {
		return 6
	}
	return 4
}

// wrapped is one frame of an encapsulation, with a TCP packet of 20 bytes inside.
type wrapped struct {
	encap
	name       string
	out, in    [2]string
	frame      []byte
	linkType   wire.LinkType
	wantLayers []string
}

// everyEncap is each encapsulation with each family outside and inside. Nobody may change the frames.
var everyEncap = sync.OnceValue(buildEncaps)

func buildEncaps() []wrapped {
	var all []wrapped
	v := func(a [2]string) string { return map[int]string{4: "ipv4", 6: "ipv6"}[version(a)] }
	for i, e := range append(append([]encap{}, linkEncaps...), ipEncaps...) {
		e.outer = i >= len(linkEncaps)
		for _, out := range [][2]string{outer4, outer6} {
			if e.onlyOuter != 0 && e.onlyOuter != version(out) || !e.outer && version(out) == 6 {
				continue
			}
			for _, in := range [][2]string{inner4, inner6} {
				if e.onlyInner != 0 && e.onlyInner != version(in) {
					continue
				}
				w := wrapped{encap: e, out: out, in: in, name: e.name + " " + v(in), linkType: e.link}
				if e.outer {
					w.name = e.name + " " + v(in) + " over " + v(out)
				}
				if e.link == 0 && !strings.HasPrefix(e.name, "null") {
					w.linkType = wire.LinkEthernet
				}
				w.frame = ip(e.wrap(out), in).TTL(63).TCP(1025, 443, wire.FlagSYN|wire.FlagECE).Bytes()
				for _, l := range strings.Fields(e.layers) {
					if l == "ip" {
						l = v(out)
					}
					w.wantLayers = append(w.wantLayers, l)
				}
				w.wantLayers = append(w.wantLayers, v(in), "tcp")
				all = append(all, w)
			}
		}
	}
	return all
}
