package versus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Scenario is what is sent.
type Scenario struct {
	// Name is how it is called on the command line, About what it is.
	Name, About string
	Traffic     cable.Traffic
	// Networks are those that the sides are told to be ours.
	Networks []netip.Prefix
	// Hosts is how many of our hosts get packets.
	Hosts int
	// IPv6 is set when all packets are of that family, and IP is where in a frame the innermost IP header begins.
	IPv6 bool
	IP   int
	// Odd is set where not every side can parse every packet: those that it cannot are missing in its own count,
	// and what it has not counted says nothing of loss.
	Odd bool
}

// Networks of the scenarios.
var (
	ours4 = netip.MustParsePrefix("10.0.0.0/16")
	wide4 = netip.MustParsePrefix("10.0.0.0/12")
	ours6 = netip.MustParsePrefix("2001:db8::/32")
)

// Scenarios are the built-in ones.
func Scenarios() []Scenario {
	ours := []netip.Prefix{ours4, ours6}
	tunnel, inner := tunnel()
	return []Scenario{
		{Name: "syn-1", About: "SYN flood, 64-byte frames, 1 host", Traffic: flood(false, 0), Networks: ours, Hosts: 1, IP: etherLen},
		{Name: "syn-65k", About: "SYN flood, 64-byte frames, 65 k hosts", Traffic: flood(false, 16), Networks: ours, Hosts: 1 << 16, IP: etherLen},
		{Name: "syn-1m", About: "SYN flood, 64-byte frames, 1 M hosts", Traffic: flood(false, 20), Networks: []netip.Prefix{wide4, ours6}, Hosts: 1 << 20, IP: etherLen},
		{Name: "imix", About: "UDP of 64, 594 and 1518 bytes as 7:4:1, 65 k hosts", Traffic: imix(), Networks: ours, Hosts: 1 << 16, IP: etherLen},
		{Name: "tunnel", About: "VLAN, MPLS, L2TP around a SYN flood, 65 k hosts", Traffic: tunnel, Networks: ours, Hosts: 1 << 16, IP: inner, Odd: true},
		{Name: "ipv6", About: "IPv6 SYN flood, 65 k hosts", Traffic: flood(true, 16), Networks: ours, Hosts: 1 << 16, IPv6: true, IP: etherLen},
		{Name: "garbage", About: "random bytes, half of them behind the start of an IP header", Traffic: garbage(), Networks: ours, Odd: true},
	}
}

// ethernet and the IP headers, in bytes.
const (
	etherLen = 14
	ipv4Len  = 20
	ipv6Len  = 40
	tcpLen   = 20
)

// fields make each packet a new flow to one of 1<<hosts hosts. ip is where the innermost IP header begins.
func fields(ip int, v6 bool, hosts uint8) []cable.Field {
	src, dst, ports := ip+12, ip+16, ip+ipv4Len
	if v6 {
		src, dst, ports = ip+20, ip+36, ip+ipv6Len
	}
	return []cable.Field{
		{Offset: src, Mask: 0xffff, Shift: hosts},
		{Offset: dst, Mask: 1<<hosts - 1},
		{Offset: ports, Mask: 0xffff0000, Shift: hosts},
	}
}

// syn is TCP's flag.
const syn = 0x02

// flood is a SYN flood.
func flood(v6 bool, hosts uint8) cable.Traffic {
	p := packetbuild.Ether()
	switch {
	case v6:
		p.IPv6("2001:2::1", "2001:db8::")
	case hosts == 0:
		p.IPv4("198.18.0.1", "10.0.0.1")
	default:
		p.IPv4("198.18.0.1", "10.0.0.0")
	}
	return cable.Traffic{Frames: [][]byte{p.TCP(1024, 80, syn).Pad(60).Bytes()}, Fields: fields(etherLen, v6, hosts)}
}

// imix are the frames of the simple IMIX, spread evenly.
func imix() (t cable.Traffic) {
	for _, size := range []int{60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 60, 590} {
		payload := size - etherLen - ipv4Len - 8
		t.Frames = append(t.Frames, packetbuild.Ether().IPv4("198.18.0.1", "10.0.0.0").UDP(1024, 443).Payload(payload).Bytes())
	}
	t.Fields = fields(etherLen, false, 16)
	return t
}

// tunnel is what an access network's mirror port sees. Its hosts are in the IP header at inner.
func tunnel() (t cable.Traffic, inner int) {
	f := packetbuild.Ether().VLAN(7).MPLS(1000).IPv4("198.51.100.1", "198.51.100.2").UDP(1701, 1701).L2TPv2(5, 9, false).
		IPv4("198.18.0.1", "10.0.0.0").TCP(1024, 80, syn).Bytes()
	inner = len(f) - tcpLen - ipv4Len
	return cable.Traffic{Frames: [][]byte{f}, Fields: fields(inner, false, 16)}, inner
}

// garbage is random, and the same each time.
func garbage() (t cable.Traffic) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for i := range 4096 {
		f := make([]byte, 60+rnd.IntN(cable.MaxFrame-60+1))
		for j := range f {
			f[j] = byte(rnd.Uint32())
		}
		f[0] &^= 1 // not to a group: the kernel would make copies
		switch i % 4 {
		case 0:
			binary.BigEndian.PutUint16(f[12:], 0x0800)
			f[etherLen] = 0x45
		case 1:
			binary.BigEndian.PutUint16(f[12:], 0x86dd)
			f[etherLen] = 0x60 | f[etherLen]&0xf
		}
		t.Frames = append(t.Frames, f)
	}
	return t
}

// maxCapture bounds how many packets of a capture are played, over and over.
const maxCapture = 1 << 14

// Capture is a scenario of the packets of a capture file, in their order, without their times. Frames that no cable
// carries are left out; shorter ones are padded, as a sender must. Networks empty means those of the built-in scenarios.
func Capture(path string, networks []netip.Prefix) (s Scenario, err error) {
	r, err := pcapfile.Open(path)
	if err != nil {
		return s, err
	}
	defer r.Close()
	if len(networks) == 0 {
		networks = []netip.Prefix{ours4, ours6}
	}
	s = Scenario{Name: filepath.Base(path), Networks: networks, Odd: true}
	left := 0
	for len(s.Traffic.Frames) < maxCapture {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
		if rec.LinkType != wire.LinkEthernet || int(rec.WireLen) != len(rec.Data) || len(rec.Data) > cable.MaxFrame || len(rec.Data) < etherLen {
			left++
			continue
		}
		f := slices.Clone(rec.Data)
		s.Traffic.Frames = append(s.Traffic.Frames, append(f, make([]byte, max(0, 60-len(f)))...))
	}
	if len(s.Traffic.Frames) == 0 {
		return s, fmt.Errorf("%s: no whole Ethernet frame of up to %d bytes among %d packets", path, cable.MaxFrame, left)
	}
	s.About = fmt.Sprintf("%d packets of %s", len(s.Traffic.Frames), s.Name)
	if left > 0 {
		s.About += fmt.Sprintf(", without %d that are cut, not Ethernet or too long", left)
	}
	return s, nil
}
