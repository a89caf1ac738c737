package wire_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// tsharkProtocols are all that tshark may dissect here: with them alone it is fast, does not reassemble, and does not look into what ICMP
// errors quote.
var tsharkProtocols = strings.Fields(`frame eth ethertype vlan ieee8021ad llc stp arp mpls pwmcw pwethnocw pweth pwethheuristic pwethcw pppoes ppp l2tp gre erspan ip ipv6
	ipv6.hopopts ipv6.routing ipv6.fraghdr ipv6.dstopts ipv6.shim6 ah mipv6 hip tcp udp sctp vxlan geneve gtp teredo sll raw null
	ieee8021ah cfp cmd nsh etherip chdlc nflog vntag ieee8021br 802.1br etag pktap sllv2 linux_sll`)

var tsharkFields = strings.Fields(`frame.protocols ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport tcp.flags
	udp.srcport udp.dstport sctp.srcport sctp.dstport`)

// sample is one frame and where it comes from.
type sample struct {
	name  string
	frame []byte
	wire  uint32
}

// seen is what a decoder says of one frame: the addresses of every IP header, and the innermost transport.
type seen struct {
	ips      [][2]netip.Addr
	proto    uint8 // TCP, UDP or SCTP, else 0
	src, dst uint16
	flags    uint8
}

func (s seen) String() string {
	return fmt.Sprintf("%v proto %d, ports %d and %d, flags %#x", s.ips, s.proto, s.src, s.dst, s.flags)
}

// ours is what wire says.
func ours(lt wire.LinkType, b []byte) (s seen, code wire.Code) {
	var h wire.Headers
	d := wire.Decoder{Trace: true}
	if code = d.Decode(lt, b, &h); !code.Addressed() {
		return s, code
	}
	for _, p := range h.IPs() {
		s.ips = append(s.ips, [2]netip.Addr{address(p, p.Src), address(p, p.Dst)})
	}
	if in := h.Inner(); in.HasPorts {
		s.proto, s.src, s.dst, s.flags = in.Proto, in.SrcPort, in.DstPort, in.TCPFlags
	}
	return s, code
}

func address(p *wire.IP, a [16]byte) netip.Addr {
	if p.Version == 4 {
		return netip.AddrFrom16(a).Unmap()
	}
	return netip.AddrFrom16(a)
}

// TestAgainstTshark compares outermost to innermost addresses, ports and flags with Wireshark's dissectors, over every shared capture
// and every encapsulation that packetbuild makes. What differs must be in tsharkDeviation, with the reason.
func TestAgainstTshark(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	samples := map[wire.LinkType][]sample{}
	for _, w := range everyEncap() {
		samples[w.linkType] = append(samples[w.linkType], sample{"built: " + w.name, w.frame, uint32(len(w.frame))})
	}
	if dir, names := capturesIfAny(); dir != "" {
		for _, name := range names {
			for i, rec := range records(t, filepath.Join(dir, name), 1000) {
				s := sample{fmt.Sprintf("%s packet %d", name, i+1), rec.Data, rec.WireLen}
				samples[rec.LinkType] = append(samples[rec.LinkType], s)
			}
		}
	}
	excused, config := map[string]int{}, tsharkConfig(t)
	for lt, list := range samples {
		if lt == 12 {
			continue // tshark reads no such number from a file
		}
		theirs := runTshark(t, config, lt, list)
		if len(theirs) != len(list) {
			t.Fatalf("link type %d: tshark says %d lines for %d frames", lt, len(theirs), len(list))
		}
		for i, s := range list {
			got, code := ours(lt, s.frame)
			if got.String() == theirs[i].String() {
				continue
			}
			if reason := tsharkDeviation(s.name, code, got, theirs[i]); reason != "" {
				excused[reason]++
				continue
			}
			t.Errorf("%s: %v\n  we: %v\nthey: %v (%s)", s.name, code, got, theirs[i].seen, theirs[i].protocols)
		}
		t.Logf("link type %d: %d frames", lt, len(list))
	}
	for reason, n := range excused {
		t.Logf("%5d excused: %s", n, reason)
	}
}

// tsharkSays is one line of tshark.
type tsharkSays struct {
	seen
	protocols string
}

// tsharkDeviation names the reason for which tshark's answer is known to differ, "" if there is none.
func tsharkDeviation(name string, code wire.Code, got seen, they tsharkSays) string {
	is := func(prefix string) bool { return strings.HasPrefix(name, "built: "+prefix) }
	switch {
	case is("9200 9300"):
		return "tshark does not know the TPIDs 0x9200 and 0x9300"
	case is("eompls"):
		return "tshark decides between control word and MAC address by whether the vendor is registered; ours are locally administered"
	case is("erspan 3 ip"):
		return "tshark does not dissect ERSPAN III frame type IP"
	case is("vxlan vlan, old port"):
		return "tshark does not know VXLAN's port before IANA, 8472"
	case is("l2tpv3"):
		return "tshark wants to be told what an L2TPv3 session carries, and its cookie"
	case code == wire.BadIPLength && len(they.ips) == 0:
		return "tshark shows no address of a datagram whose length is below its header's; Weir charges it"
	case strings.HasPrefix(name, "l2/zeek-cisco-fabric-path") && len(they.ips) == 0 && len(got.ips) == 1 && got.ips[0][0].Is6():
		return "tshark stops at IPv6 of payload length 0 with a next header; Weir charges it"
	case strings.HasPrefix(name, "l2/zeek-cisco-fabric-path") && got.proto == wire.ProtoSCTP && strings.HasSuffix(they.protocols, ":sctp"):
		return "tshark shows no ports of an SCTP packet without chunks"
	case strings.HasPrefix(name, "l2/arkime-arkime_synthetic") && (got.src == 4790 || got.src == 6081) && len(they.ips) == 2:
		return "tshark takes VXLAN-GPE's and Geneve's port at the source too; the RFCs have it at the destination only"
	}
	return ""
}

// tsharkConfig makes a configuration folder in which all protocols but tsharkProtocols are disabled.
func tsharkConfig(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tshark", "-G", "protocols").Output()
	if err != nil {
		t.Fatalf("tshark -G protocols: %v", err)
	}
	keep := map[string]bool{}
	for _, p := range tsharkProtocols {
		keep[p] = true
	}
	var disabled strings.Builder
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) >= 3 && !keep[f[2]] {
			fmt.Fprintln(&disabled, f[2])
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "wireshark"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wireshark", "disabled_protos"), []byte(disabled.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func runTshark(t *testing.T, config string, lt wire.LinkType, list []sample) []tsharkSays {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("link%d.pcap", lt))
	var b bytes.Buffer
	w, err := pcapfile.NewWriter(&b, lt)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		if err := w.Write(int64(i)*1e6, s.wire, s.frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-n", "-r", path, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", "-E", "separator=|",
		"-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
	}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(t.Context(), "tshark", args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+config)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	var says []tsharkSays
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		says = append(says, parseTshark(t, strings.Split(sc.Text(), "|")))
	}
	return says
}

// parseTshark puts the lists of one line in the order of the protocols.
func parseTshark(t *testing.T, f []string) tsharkSays {
	t.Helper()
	if len(f) != len(tsharkFields) {
		t.Fatalf("tshark line of %d fields: %q", len(f), f)
	}
	lists := make([][]string, len(f))
	for i, v := range f {
		if v != "" && i > 0 {
			lists[i] = strings.Split(v, ",")
		}
	}
	take := func(i int) string {
		if len(lists[i]) == 0 {
			return ""
		}
		v := lists[i][0]
		lists[i] = lists[i][1:]
		return v
	}
	number := func(i int) uint16 {
		n, _ := strconv.ParseUint(take(i), 0, 16)
		return uint16(n)
	}
	says := tsharkSays{protocols: f[0]}
	transport := func(proto uint8, i int) {
		if len(lists[i+1]) == 0 {
			return // named, but cut before its ports
		}
		says.proto, says.src, says.dst = proto, number(i), number(i+1)
	}
	for _, p := range strings.Split(f[0], ":") {
		switch p {
		case "ip", "ipv6":
			i := 1
			if p == "ipv6" {
				i = 3
			}
			src, err1 := netip.ParseAddr(take(i))
			dst, err2 := netip.ParseAddr(take(i + 1))
			if err1 == nil && err2 == nil { // not of a header that was cut
				says.ips = append(says.ips, [2]netip.Addr{src, dst})
				says.proto, says.src, says.dst, says.flags = 0, 0, 0, 0
			}
		case "tcp":
			transport(6, 5)
			says.flags = uint8(number(7))
		case "udp":
			transport(17, 8)
		case "sctp":
			transport(132, 10)
		}
	}
	return says
}
