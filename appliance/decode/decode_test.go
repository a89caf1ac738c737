package decode

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// capture writes frames, one a second from 1 s after the epoch, and returns the path.
func capture(t *testing.T, frames ...[]byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapfile.NewWriter(&b, wire.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		if err := w.Write(int64(i+1)*1e9+5, uint32(len(f)+2), f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := Run(args, &out, &errs); got != want {
		t.Fatalf("weir decode %q: status %d, want %d; %s", args, got, want, errs.String())
	}
	return out.String(), errs.String()
}

func sample(t *testing.T) string {
	return capture(t,
		packetbuild.Ether().VLAN(7).IPv4("192.0.2.1", "198.51.100.2").GRE().IPv4("10.0.0.1", "10.0.0.2").UDP(53, 4242).Bytes(),
		packetbuild.Ether().IPv6("2001:db8::1", "2001:db8::2").TCP(1025, 443, wire.FlagSYN|wire.FlagACK).Bytes(),
		packetbuild.Ether().IPv6("::ffff:192.0.2.1", "2001:db8::2").Frag(1, 1480, false).Next(17).Payload(9).Bytes(),
		packetbuild.Ether().ARP().Pad(60).Bytes(),
	)
}

func TestJSON(t *testing.T) {
	t.Parallel()
	out, _ := run(t, 0, sample(t), "--json")
	want := `{"n":1,"ts":"1970-01-01T00:00:01.000000005Z","wire_len":72,"cap_len":70,"code":"ok","layers":["eth","vlan","ipv4","gre","ipv4","udp"],"outer":{"src":"192.0.2.1","dst":"198.51.100.2","proto":47,"ttl":64,"length":52},"inner":{"src":"10.0.0.1","dst":"10.0.0.2","proto":17,"ttl":64,"length":28},"src_port":53,"dst_port":4242,"tcp_flags":"","fragment":false}
{"n":2,"ts":"1970-01-01T00:00:02.000000005Z","wire_len":76,"cap_len":74,"code":"ok","layers":["eth","ipv6","tcp"],"outer":{"src":"2001:db8::1","dst":"2001:db8::2","proto":6,"ttl":64,"length":60},"inner":{"src":"2001:db8::1","dst":"2001:db8::2","proto":6,"ttl":64,"length":60},"src_port":1025,"dst_port":443,"tcp_flags":"SA","fragment":false}
{"n":3,"ts":"1970-01-01T00:00:03.000000005Z","wire_len":73,"cap_len":71,"code":"ok","layers":["eth","ipv6","fragment"],"outer":{"src":"::ffff:192.0.2.1","dst":"2001:db8::2","proto":17,"ttl":64,"length":57},"inner":{"src":"::ffff:192.0.2.1","dst":"2001:db8::2","proto":17,"ttl":64,"length":57},"src_port":0,"dst_port":0,"tcp_flags":"","fragment":true}
{"n":4,"ts":"1970-01-01T00:00:04.000000005Z","wire_len":62,"cap_len":60,"code":"arp","layers":["eth"],"outer":null,"inner":null,"src_port":0,"dst_port":0,"tcp_flags":"","fragment":false}
`
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	out, _ := run(t, 0, sample(t))
	want := `     1 1970-01-01T00:00:01.000000005Z ok                     72/70              10.0.0.1:53 > 10.0.0.2:4242         udp              eth/vlan/ipv4/gre/ipv4/udp outer 192.0.2.1 > 198.51.100.2
     2 1970-01-01T00:00:02.000000005Z ok                     76/74       [2001:db8::1]:1025 > [2001:db8::2]:443     tcp    SA        eth/ipv6/tcp
     3 1970-01-01T00:00:03.000000005Z ok                     73/71         ::ffff:192.0.2.1 > 2001:db8::2           udp         frag eth/ipv6/fragment
     4 1970-01-01T00:00:04.000000005Z arp                    62/60                        -   -                     -                eth
`
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestFlagLetters(t *testing.T) {
	t.Parallel()
	for f, want := range map[uint8]string{
		0: "", wire.FlagSYN: "S", wire.FlagSYN | wire.FlagACK: "SA", wire.FlagFIN | wire.FlagPSH | wire.FlagURG: "FPU", 0xff: "FSRPAUEC",
	} {
		if got := flagLetters(f); got != want {
			t.Errorf("flags %#x: %q, want %q", f, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if _, errs := run(t, 2); !strings.Contains(errs, "usage:") {
		t.Errorf("no usage: %q", errs)
	}
	if _, errs := run(t, 2, "--wrong"); !strings.Contains(errs, "-wrong") {
		t.Errorf("the wrong option is not named: %q", errs)
	}
	if _, errs := run(t, 0, "--help"); !strings.Contains(errs, "usage:") {
		t.Errorf("no usage: %q", errs)
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	good := sample(t)
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pcap")
	out, errs := run(t, 1, "--json", missing, cut, good)
	if n := strings.Count(out, "\n"); n != 3+4 {
		t.Errorf("%d packets, want the 3 before the cut and 4 of the good file", n)
	}
	for _, want := range []string{missing, cut, "packet 4", "offset"} {
		if !strings.Contains(errs, want) {
			t.Errorf("errors do not say %q: %s", want, errs)
		}
	}
	if !strings.Contains(out, `"file":`+strconv.Quote(good)) {
		t.Error("with several files, packets do not name theirs")
	}
}

// TestShared decodes every shared capture in both forms: one line a packet, and as many packets as its index says.
func TestShared(t *testing.T) {
	t.Parallel()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../../shared"
	}
	dir := filepath.Join(root, "data", "pcap")
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Skipf("shared captures are not here (%v); set WEIR_SHARED", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		f := strings.Split(line, "\t")
		status := 0
		if strings.Contains(f[7], "!badrec") { // ends in a record whose header was fuzzed
			status = 1
		}
		path := filepath.Join(dir, f[0])
		human, _ := run(t, status, path)
		out, _ := run(t, status, "--json", path)
		want, _ := strconv.Atoi(f[2])
		if n, m := strings.Count(out, "\n"), strings.Count(human, "\n"); n != want || m != want {
			t.Errorf("%s: %d objects and %d lines, want %d", f[0], n, m, want)
		}
		for i, l := range strings.SplitN(out, "\n", 1001)[:min(want, 1000)] {
			var p packet
			if err := json.Unmarshal([]byte(l), &p); err != nil {
				t.Fatalf("%s: packet %d: %v", f[0], i+1, err)
			}
			if p.N != i+1 || p.Code == "" || p.Code == "invalid" || int(p.WireLen) < p.CapLen || (p.Outer == nil) != (p.Inner == nil) {
				t.Errorf("%s: packet %d: %s", f[0], i+1, l)
			}
		}
	}
}
