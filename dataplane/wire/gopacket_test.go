package wire_test

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// gopacketFirst is what gopacket calls our link types; those missing it does not know.
var gopacketFirst = map[wire.LinkType]gopacket.Decoder{
	wire.LinkEthernet: layers.LayerTypeEthernet, wire.LinkRaw: layers.LinkTypeRaw, wire.LinkIPv4: layers.LayerTypeIPv4,
	wire.LinkIPv6: layers.LayerTypeIPv6, wire.LinkLinuxSLL: layers.LayerTypeLinuxSLL, wire.LinkLinuxSLL2: layers.LayerTypeLinuxSLL2,
	wire.LinkNull: layers.LayerTypeLoopback, wire.LinkPPP: layers.LayerTypePPP,
}

// gopacketSays is gopacket's answer, and the names of its layers.
func gopacketSays(lt wire.LinkType, b []byte) (s seen, path string) {
	p := gopacket.NewPacket(b, gopacketFirst[lt], gopacket.DecodeOptions{NoCopy: true})
	var names []string
	put := func(src, dst net.IP) {
		a, _ := netip.AddrFromSlice(src)
		c, _ := netip.AddrFromSlice(dst)
		s.ips = append(s.ips, [2]netip.Addr{a, c})
		s.proto, s.src, s.dst, s.flags = 0, 0, 0, 0
	}
	for _, l := range p.Layers() {
		names = append(names, l.LayerType().String())
		switch l := l.(type) {
		case *layers.IPv4:
			put(l.SrcIP, l.DstIP)
		case *layers.IPv6:
			put(l.SrcIP, l.DstIP)
		case *layers.TCP:
			s.proto, s.src, s.dst = 6, uint16(l.SrcPort), uint16(l.DstPort)
			for i, f := range []bool{l.FIN, l.SYN, l.RST, l.PSH, l.ACK, l.URG, l.ECE, l.CWR} {
				if f {
					s.flags |= 1 << i
				}
			}
		case *layers.UDP:
			s.proto, s.src, s.dst = 17, uint16(l.SrcPort), uint16(l.DstPort)
		case *layers.SCTP:
			s.proto, s.src, s.dst = 132, uint16(l.SrcPort), uint16(l.DstPort)
		}
	}
	return s, strings.Join(names, "/")
}

// TestAgainstGopacket compares with gopacket over every encapsulation and every shared capture. Where gopacket does not go on, its
// answer must be the beginning of ours; any other difference must be in gopacketDeviation.
func TestAgainstGopacket(t *testing.T) {
	t.Parallel()
	var list []sample
	var links []wire.LinkType
	for _, w := range everyEncap() {
		list = append(list, sample{"built: " + w.name, w.frame, 0})
		links = append(links, w.linkType)
	}
	if dir, names := capturesIfAny(); dir != "" {
		for _, name := range names {
			for i, rec := range records(t, filepath.Join(dir, name), 500) {
				list = append(list, sample{fmt.Sprintf("%s packet %d", name, i+1), rec.Data, 0})
				links = append(links, rec.LinkType)
			}
		}
	}
	excused := map[string]int{}
	equal := 0
	for i, s := range list {
		if gopacketFirst[links[i]] == nil {
			continue
		}
		they, path := gopacketSays(links[i], s.frame)
		got, code := ours(links[i], s.frame)
		if got.String() == they.String() {
			equal++
			continue
		}
		if reason := gopacketDeviation(s.name, code, got, they, path); reason != "" {
			excused[reason]++
			continue
		}
		t.Errorf("%s: %v\n  we: %v\nthey: %v (%s)", s.name, code, got, they, path)
	}
	for reason, n := range excused {
		t.Logf("%5d excused: %s", n, reason)
	}
	if equal < len(list)/2 {
		t.Errorf("only %d of %d frames were compared", equal, len(list))
	}
	t.Logf("%5d of %d equal", equal, len(list))
}

// gopacketStops are the ends of gopacket's layer paths behind which it does not go on, so that it sees only the beginning of what we see.
var gopacketStops = []struct{ end, reason string }{
	{"/Fragment", "gopacket looks into no fragment, not even the first"},
	{"IPv4/UDP/Payload", "gopacket does not know L2TP, VXLAN-GPE, MPLS in UDP, Teredo, and VXLAN on port 8472"},
	{"IPv6/UDP/Payload", "gopacket does not know L2TP, VXLAN-GPE, MPLS in UDP, Teredo, and VXLAN on port 8472"},
	{"/GRE", "gopacket's GRE does not know Cisco metadata, NSH, ERSPAN III"},
	{"Dot1Q", "gopacket does not know PBB"},
	{"GTPv1U/DecodeFailure", "gopacket's GTP-U carries IP only"},
	{"IPv6Routing/DecodeFailure", "gopacket does not know IP protocol 143, Ethernet"},
	{"IPv4/DecodeFailure", "gopacket does not know IP protocol 115, L2TPv3, and EtherIP in IPv6"},
	{"IPv6/DecodeFailure", "gopacket does not know IP protocol 115, L2TPv3, and EtherIP in IPv6"},
	{"MPLS/DecodeFailure", "gopacket does not know Ethernet in MPLS"},
	{"Ethernet/DecodeFailure", "gopacket does not know FabricPath, NSH, E-TAG, VN-Tag, Cisco metadata, and TPIDs beyond 0x88a8"},
}

// gopacketDeviation names the reason for which gopacket's answer is known to differ, "" if there is none.
func gopacketDeviation(name string, code wire.Code, got, they seen, path string) string {
	switch {
	case code == wire.BadIPVersion:
		return "gopacket does not check the version"
	case code == wire.Truncated || code == wire.BadIPLength:
		return "gopacket lists a header that it could not read"
	case code == wire.ShortTransport && strings.HasSuffix(path, "UDP/DecodeFailure"):
		return "gopacket does not show the ports of a UDP header that is cut"
	case strings.HasPrefix(name, "built: eompls from"):
		return "gopacket takes a MAC address that begins with 4 or 6 for IP"
	case strings.HasPrefix(path, "Ethernet/ERSPAN"):
		return "gopacket takes ERSPAN's GRE protocol type for an EtherType"
	}
	for _, s := range gopacketStops {
		if strings.HasSuffix(path, s.end) && len(they.ips) <= len(got.ips) && slices.Equal(they.ips, got.ips[:len(they.ips)]) {
			return s.reason
		}
	}
	return ""
}
