//go:build linux

package afxdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// xdpDrop stands for "redirected" in the tests, which have no socket.
const xdpDrop = 1

// frameOf makes a frame and changes bytes at offsets of its network header.
func frameOf(s porttest.Shape, patch map[int][]byte) []byte {
	f := porttest.Build(1, s)
	for off, b := range patch {
		copy(f[14+4*len(s.Tags)+off:], b)
	}
	return f
}

// Every rule is judged by the kernel's own run of the program, for IPv4 and IPv6, with and without tags.
func TestPassRules(t *testing.T) {
	netns.Inside(t)
	const (
		v4 = "192.0.2.7"
		v6 = "2001:db8:2::7"
	)
	var (
		arp  = append(append(make([]byte, 12), 0x08, 0x06), make([]byte, 46)...)
		lldp = append(append(make([]byte, 12), 0x88, 0xcc), make([]byte, 46)...)
		bgp  = []byte{0, 179}
	)
	to := func(addr string, patch map[int][]byte, tags ...uint32) []byte {
		a := netip.MustParseAddr(addr)
		return frameOf(porttest.Shape{Size: 80, To: a, V6: a.Is6(), Tags: tags}, patch)
	}
	ndp := func(kind byte) map[int][]byte { return map[int][]byte{6: {58}, 40: {kind}} }
	all := []string{"arp", "ndp", "host/" + v4, "host/" + v6, "tcp/179", "udp/3784"}
	for _, tc := range []struct {
		name   string
		rules  []string
		frame  []byte
		kernel bool
	}{
		{"nothing is passed by default", nil, arp, false},
		{"arp", []string{"arp"}, arp, true},
		{"arp is not lldp", []string{"arp"}, lldp, false},
		{"non-ip is arp", []string{"non-ip"}, arp, true},
		{"non-ip is lldp", []string{"non-ip"}, lldp, true},
		{"non-ip is not ip", []string{"non-ip"}, to(v4, nil), false},
		{"non-ip is not ipv6", []string{"non-ip"}, to(v6, nil), false},
		{"non-ip is not tagged ip", []string{"non-ip"}, to(v6, nil, 0x88a80001, 0x81000002), false},
		{"tagged arp", []string{"arp"}, slices.Concat(make([]byte, 12), []byte{0x81, 0, 0, 5, 8, 6}, make([]byte, 46)), true},
		{"host v4", []string{"host/" + v4}, to(v4, nil), true},
		{"host v4 tagged", []string{"host/" + v4}, to(v4, nil, 0x81000064), true},
		{"host v4 twice tagged", []string{"host/" + v4}, to(v4, nil, 0x88a80064, 0x81000065), true},
		{"host v4 with the high bit", []string{"host/240.1.2.255"}, to("240.1.2.255", nil), true},
		{"other v4", []string{"host/" + v4}, to("192.0.2.8", nil), false},
		{"host v4 as source", []string{"host/" + v4}, to("192.0.2.8", map[int][]byte{12: {192, 0, 2, 7}}), false},
		{"host v6", []string{"host/" + v6}, to(v6, nil), true},
		{"host v6 tagged", []string{"host/2001:db8::1", "host/" + v6}, to(v6, nil, 0x81000064), true},
		{"other v6 low half", []string{"host/" + v6}, to("2001:db8:2::8", nil), false},
		{"other v6 high half", []string{"host/" + v6}, to("2001:db8:3::7", nil), false},
		{"ndp", []string{"ndp"}, to("ff02::1", ndp(135)), true},
		{"router solicitation", []string{"ndp"}, to("ff02::1", ndp(133)), true},
		{"redirect", []string{"ndp"}, to("ff02::1", ndp(137)), true},
		{"echo", []string{"ndp"}, to("ff02::1", ndp(128)), false},
		{"beyond ndp", []string{"ndp"}, to("ff02::1", ndp(138)), false},
		{"udp in v6 with ndp", []string{"ndp", "udp/53"}, to(v6, nil), true},
		{"tcp to 179 v4", []string{"tcp/179"}, to(v4, map[int][]byte{9: {6}, 22: bgp}), true},
		{"tcp from 179 v4", []string{"tcp/179"}, to(v4, map[int][]byte{9: {6}, 20: bgp}), true},
		{"tcp from 179 v4 with options", []string{"tcp/179"}, to(v4, map[int][]byte{0: {0x46}, 9: {6}, 24: bgp}), true},
		{"tcp 179 v6", []string{"tcp/179"}, to(v6, map[int][]byte{6: {6}, 42: bgp}), true},
		{"udp 179", []string{"tcp/179"}, to(v4, map[int][]byte{22: bgp}), false},
		{"udp 53 of a long list", []string{"tcp/1", "udp/2", "tcp/3", "udp/53"}, to(v4, nil), true},
		{"later fragment", []string{"udp/53"}, to(v4, map[int][]byte{6: {0, 185}}), false},
		{"first fragment", []string{"udp/53"}, to(v4, map[int][]byte{6: {0x20, 0}}), true},
		{"a header length of nothing", []string{"tcp/17664"}, to(v4, map[int][]byte{0: {0x40}, 9: {6}}), false},
		{"cut in ipv4", all, to(v4, nil)[:30], false},
		{"cut in ipv6", all, to(v6, nil)[:50], false},
		{"cut before ports", all, to("192.0.2.9", map[int][]byte{9: {6}, 22: bgp})[:36], false},
		{"cut in a tag", all, to(v4, nil, 0x81000001)[:16], false},
		{"everything, and none fits", all, to("198.51.100.1", nil), false},
		{"everything, and one fits", all, to(v6, nil), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := program(t, tc.rules).Test(tc.frame)
			if err != nil {
				t.Fatal(err)
			}
			want := uint32(xdpDrop)
			if tc.kernel {
				want = xdpPass
			}
			if got != want {
				t.Errorf("action %d, want %d, for %x", got, want, tc.frame)
			}
		})
	}
}

func program(t *testing.T, rules []string) *ebpf.Program {
	t.Helper()
	p, err := parsePass(rules)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sockets.Close() })
	prog, err := p.load(sockets, xdpDrop)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { _ = prog.Close() })
	return prog
}

// The longest list that is allowed, and each kind alone and with each other, pass the kernel's verifier.
func TestVerifierTakesEveryList(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	kinds := []string{"arp", "ndp", "non-ip", "host/192.0.2.1", "host/2001:db8::1", "tcp/179", "udp/53"}
	for mask := range 1 << len(kinds) {
		var rules []string
		for i, k := range kinds {
			if mask>>i&1 == 1 {
				rules = append(rules, k)
			}
		}
		program(t, rules)
	}
	for _, form := range []string{"host/192.0.2.%d", "host/2001:db8::%d", "tcp/%d"} {
		var rules []string
		for i := range maxPass {
			rules = append(rules, fmt.Sprintf(form, i+1))
		}
		program(t, rules)
	}
}

func TestParsePass(t *testing.T) {
	t.Parallel()
	_, err := parsePass([]string{"arp", "host/", "host/192.0.2.0/24", "host/fe80::1%eth0", "tcp", "tcp/0", "tcp/65536", "udp/x", "ipx", "ARP"})
	for _, want := range []string{"host/", "192.0.2.0/24", "fe80::1%eth0", `"tcp"`, "tcp/0", "65536", "udp/x", "ipx", "ARP"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	p, err := parsePass([]string{"host/::ffff:192.0.2.1", "tcp/65535"})
	if err != nil || len(p.hosts4) != 1 || p.ports[0].port != 65535 {
		t.Errorf("%+v, %v", p, err)
	}
}
