package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/export"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

func exec(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestPcapAndTruth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.pcap")
	code, out, errs := exec("--kind", "udp", "--via", "vlan,mpls", "--target", "2001:db8::5", "--pps", "100", "--duration", "2s", "--background", "500", "--scale", "2", "--out", file)
	if code != 0 || !strings.Contains(out, " 1 attack;") {
		t.Fatalf("code %d: %s%s", code, out, errs)
	}
	b, err := os.ReadFile(filepath.Join(dir, "a.truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r gen.Result
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Attacks) != 1 || r.Attacks[0].Packets != 400 || r.Attacks[0].PPS != 200 || r.Packets < 2300 || r.Packets > 2500 {
		t.Errorf("attacks %+v, %d packets", r.Attacks, r.Packets)
	}
	if info, err := os.Stat(file); err != nil || uint64(info.Size()) != 24+16*r.Packets+r.Bytes {
		t.Errorf("capture: %v, %v, want %d bytes", info, err, 24+16*r.Packets+r.Bytes)
	}
}

func TestScenarioFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml, file := filepath.Join(dir, "s.yaml"), filepath.Join(dir, "s.pcap")
	if err := os.WriteFile(yaml, []byte("name: mine\nseed: 7\nstreams:\n- {kind: icmp, target: 172.16.0.1, pps: 10, duration: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := exec("--scenario", yaml, "--networks", "172.16.0.0/12, 2001:db8::/32", "--out", file, "--truth", "-")
	var r gen.Result
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("code %d, %v: %s%s", code, err, out, errs)
	}
	if r.Scenario != "mine" || r.Seed != 7 || r.Totals.Incoming.ICMP.Packets != 10 || len(r.Hosts) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestListAndHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := exec("--list")
	for _, want := range append(append(gen.Kinds(), gen.Encapsulations()...), "all-cases", "quiet-then-KIND") {
		if !strings.Contains(out, "  "+want+" ") && !strings.Contains(out, want+"[") {
			t.Errorf("--list does not show %s", want)
		}
	}
	if code != 0 {
		t.Errorf("--list: code %d", code)
	}
	if code, _, errs := exec("--help"); code != 0 || !strings.Contains(errs, "trafficgen --scenario") || !strings.Contains(errs, "-flat-out") {
		t.Errorf("--help: code %d: %s", code, errs)
	}
}

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "x.pcap")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"one of --out and --device", []string{"--kind", "syn"}},
		{"give --scenario or --kind", []string{"--out", out}},
		{"give one of --scenario and --kind", []string{"--out", out, "--scenario", "quiet", "--kind", "syn"}},
		{"neither built in nor a file", []string{"--out", out, "--scenario", "noise"}},
		{`kind "sin" is unknown`, []string{"--out", out, "--kind", "sin", "--target", "10.0.0.1"}},
		{"neither an address nor a prefix", []string{"--out", out, "--kind", "syn"}},
		{"--networks", []string{"--out", out, "--kind", "syn", "--target", "10.0.0.1", "--networks", "ten"}},
		{"charge", []string{"--out", out, "--kind", "syn", "--target", "10.0.0.1", "--charge", "all"}},
		{`unexpected argument "now"`, []string{"--kind", "syn", "now"}},
		{"not defined: -sped; see --help\n", []string{"--sped", "3"}},
		{`"weir-none"`, []string{"--device", "weir-none", "--kind", "syn", "--target", "10.0.0.1"}},
		{"not a directory", []string{"--out", filepath.Join(out, "y"), "--kind", "syn", "--target", "10.0.0.1"}},
	} {
		if code, _, errs := exec(c.args...); code != 1 || !strings.Contains(errs, c.want) {
			t.Errorf("%v: code %d, %q, want %q", c.args, code, errs, c.want)
		}
	}
}

// TestExport: each protocol to a capture, with the truth beside it.
func TestExport(t *testing.T) {
	t.Parallel()
	for _, protocol := range export.Protocols() {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.pcap")
		code, out, errs := exec("--kind", "syn", "--target", "10.0.0.5", "--pps", "200", "--duration", "2s", "--export", string(protocol), "--sampling", "4",
			"--active", "1s", "--inactive", "500ms", "--domain", "9", "--out", file)
		if code != 0 || !strings.Contains(out, "100 packets") {
			t.Fatalf("%s: code %d: %s%s", protocol, code, out, errs)
		}
		b, err := os.ReadFile(filepath.Join(dir, "a.truth.json"))
		if err != nil {
			t.Fatal(err)
		}
		var truth export.Truth
		if err := json.Unmarshal(b, &truth); err != nil {
			t.Fatal(err)
		}
		e := truth.Export
		if e.Protocol != protocol || e.Sampling != 4 || e.Frames != 400 || e.Exported.Packets != 100 || truth.Traffic.Packets != 400 || len(e.Hosts) != 1 || e.Hosts[0].Incoming.Packets != 100 {
			t.Errorf("%s: %+v", protocol, e)
		}
	}
}

func TestExportLive(t *testing.T) {
	t.Parallel()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	code, out, errs := exec("--kind", "udp", "--target", "2001:db8::5", "--pps", "1000", "--duration", "1s", "--export", "ipfix", "--flat-out", "--collector", c.LocalAddr().String())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 2 || !strings.Contains(lines[0], `"event":"attack"`) || !strings.Contains(lines[1], `"records":1000`) {
		t.Fatalf("code %d: %s%s", code, out, errs)
	}
	buf := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(buf); err != nil || n < 100 || buf[1] != 10 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestBadExports(t *testing.T) {
	t.Parallel()
	base := []string{"--kind", "udp", "--target", "10.0.0.5", "--pps", "10", "--duration", "1s", "--out", filepath.Join(t.TempDir(), "x.pcap")}
	for want, args := range map[string][]string{
		`"netflow" is none of`:      {"--export", "netflow"},
		"goes to a collector":       {"--export", "ipfix", "--device", "lo"},
		"--collector":               {"--export", "ipfix", "--collector", "localhost"},
		"--agent":                   {"--export", "ipfix", "--agent", "me"},
		"not of one address family": {"--export", "ipfix", "--agent", "2001:db8::1"},
		"--active and --inactive":   {"--export", "ipfix", "--active", "0s"},
		"14 bits":                   {"--export", "netflow5", "--sampling", "20000"},
		"--sampling or --domain":    {"--export", "sflow", "--sampling", "99999999999"},
	} {
		if code, _, errs := exec(append(base, args...)...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: code %d, %q, want %q", args, code, errs, want)
		}
	}
}
