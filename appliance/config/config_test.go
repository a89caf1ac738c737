package config

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/config/strict"
	"github.com/weir-ddos/weir/dataplane/wire"
)

var update = flag.Bool("update", false, "write what the broken configurations give into their .txt files")

// smallest is the smallest configuration of DESIGN.md 7.
const smallest = `networks: [192.0.2.0/24, 2001:db8::/32]
ports:
  - {driver: afxdp, device: eth1}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 20000}
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("weir.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSmallest(t *testing.T) {
	t.Parallel()
	c := parse(t, smallest)
	want := Default()
	want.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	want.Ports = c.Ports
	g := Hostgroup{}
	g.BanForPPS, g.ThresholdPPS = new(true), new(uint64(20000))
	want.Hostgroups = map[string]Hostgroup{"global": g}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if len(c.Ports) != 1 || c.Ports[0].Driver != "afxdp" || c.Ports[0].Device != "eth1" {
		t.Errorf("ports are %+v", c.Ports)
	}
}

// TestBroken reads every file of testdata/broken and compares its problems with the .txt beside it.
func TestBroken(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken configurations (%v), want 40 and more", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("weir.yaml", text)
			var problems strict.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("error is %v, want problems", err)
			}
			for _, p := range problems {
				if p.File != "weir.yaml" || p.Line < 1 {
					t.Errorf("no file:line in %q", p)
				}
			}
			golden := strings.TrimSuffix(f, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

const full = `# everything that differs from its default, both families
networks: [192.0.2.0/24, 198.51.100.0/24, 2001:db8::/32]
whitelist: [192.0.2.53, 2001:db8::53]
ports:
  - {driver: afpacket, device: eth0, queues: 2, options: {fanout: hash, ring: {blocks: 8}}}
workers: {count: 2, idle: pause, cpus: [2, 3]}
traffic: {hosts_per_worker: 65536, flows: false, internal: none, count_bytes: ip, memory_limit: 512MiB}
memory: {headroom: 1GiB}
decode: {gre: inner, vxlan: both}
tick: 100ms
rates: {mode: average, average_time: 15}
hostgroups:
  global: {ban_for_pps: enable, threshold_pps: 20_000, next_hop_ipv6: "100::1", communities_host: ["65535:666", no-export]}
  dns:
    networks: [192.0.2.53/32, 2001:db8::53/128]
    calculation: total
    enable_ban: false
bans: {ban_time: 1900, unban_only_if_attack_finished: disable}
guard: {min_length_ipv6: 64, protected: [192.0.2.1, 2001:db8::1]}
api: {socket: /tmp/x.sock, read_group: adm, write_group: weir}
log: {level: debug, format: json}
`

func TestFull(t *testing.T) {
	t.Parallel()
	c := parse(t, full)
	if c.Tick != 100*time.Millisecond || c.Rates.AverageTime != 15*time.Second || c.Bans.BanTime != 1900*time.Second {
		t.Errorf("durations: tick %v, average %v, ban %v", c.Tick, c.Rates.AverageTime, c.Bans.BanTime)
	}
	if c.Whitelist[0] != netip.MustParsePrefix("192.0.2.53/32") || c.Whitelist[1] != netip.MustParsePrefix("2001:db8::53/128") {
		t.Errorf("whitelist is %v", c.Whitelist)
	}
	if c.Traffic.MemoryLimit != 512<<20 || c.Traffic.Flows {
		t.Errorf("traffic is %+v", c.Traffic)
	}
	charges := c.Decode.Charges()
	if charges[wire.TunnelGRE] != wire.ChargeInner || charges[wire.TunnelVXLAN] != wire.ChargeBoth || charges[wire.TunnelSIT] != wire.ChargeOuter {
		t.Errorf("charges are %v", charges)
	}
	if g := c.Hostgroups["global"]; *g.ThresholdPPS != 20000 || !*g.BanForPPS || len(g.CommunitiesHost) != 2 {
		t.Errorf("global is %+v", g)
	}
	if ring, ok := c.Ports[0].Options["ring"].(map[string]any); !ok || ring["blocks"] != 8 {
		t.Errorf("options are %v", c.Ports[0].Options)
	}
}

func TestDumpReadsBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{smallest, full} {
		c := parse(t, text)
		dump, err := c.Dump()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("dump", dump)
		if err != nil {
			t.Fatalf("%v\n%s", err, dump)
		}
		if d := Diff(c, again); len(d) != 0 {
			t.Errorf("the dump differs: %v", d)
		}
	}
}

func TestValidateAgreesWithParse(t *testing.T) {
	t.Parallel()
	c := parse(t, full)
	if err := c.Validate(); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	c.Tick = 0
	c.Networks = nil
	c.Log.Level = "loud"
	err := c.Validate()
	if err == nil {
		t.Fatal("a bad configuration is valid")
	}
	for _, want := range []string{"networks: must list", "tick: 0s is outside", `log.level: "loud" is not one of`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// Flows alone are a source.
func TestFlowsWithoutPorts(t *testing.T) {
	t.Parallel()
	c, err := Parse("x", []byte("networks: [192.0.2.0/24, 2001:db8::/32]\nflows:\n  listeners:\n    - {port: 6343}\n    - {address: '::', ports: [2055, 4739]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Flows.Listeners; len(c.Ports) != 0 || len(l) != 2 || l[0].Port != 6343 || len(l[1].Ports) != 2 || l[1].Ports[1] != 4739 {
		t.Errorf("%+v", l)
	}
	text, err := c.Dump()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse("dump", text); err != nil || len(Diff(c, again)) != 0 {
		t.Errorf("what was dumped reads as %v, %v", Diff(c, again), err)
	}
}

func TestWithoutPorts(t *testing.T) {
	t.Parallel()
	text := []byte("networks: [192.0.2.0/24]\n")
	if _, err := Parse("x", text); err == nil || !strings.Contains(err.Error(), "x:1: ports: must name at least one source") {
		t.Errorf("error is %v", err)
	}
	if _, err := Parse("x", text, WithoutPorts()); err != nil {
		t.Error(err)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	a := parse(t, smallest)
	b := parse(t, `# other text, other order
hostgroups:
  web: {networks: [198.51.100.0/25]}
  global: {threshold_pps: 30000, ban_for_pps: true, threshold_udp_pps: 5}
ports: [{driver: afxdp, device: eth1}]
networks: [2001:db8::/32, 198.51.100.0/24]
tick: 1000ms
bgp:
  asn: 64500
  router_id: 192.0.2.250
  peers: [{name: r1, address: 192.0.2.1, remote_asn: 64500, password: geheim}]
`)
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.String())
	}
	out := strings.Join(got, "\n")
	for _, want := range []string{
		"- hostgroups.global.threshold_pps: 20000\n+ hostgroups.global.threshold_pps: 30000",
		"+ hostgroups.global.threshold_udp_pps: 5", "+ hostgroups.web.networks: 198.51.100.0/25",
		"- networks: 192.0.2.0/24\n+ networks: 198.51.100.0/24", "- bgp.asn: 0\n+ bgp.asn: 64500",
		"+ bgp.peers[r1].address: 192.0.2.1", "+ bgp.peers[r1].password: (hidden)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("diff lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "tick") || strings.Contains(out, "2001:db8") || strings.Contains(out, "geheim") {
		t.Errorf("diff shows what did not change, or a secret:\n%s", out)
	}
	if d := Diff(a, a); d != nil {
		t.Errorf("diff of equals: %v", d)
	}
}

func TestKeysAreAllReadable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	lists := strings.NewReplacer("ports.*", "ports[0]", "peers.*", "peers[0]", "listeners.*", "listeners[0]", "exporters.*", "exporters[0]")
	for _, k := range Keys() {
		if seen[k.Path] {
			t.Errorf("%s is listed twice", k.Path)
		}
		seen[k.Path] = true
		parts := strict.Split(lists.Replace(k.Path))
		if _, err := TypeAt(parts); err != nil {
			t.Errorf("%s: %v", k.Path, err)
		}
	}
	for _, want := range []string{"networks", "tick", "hostgroups.*.threshold_tcp_syn_mbps_outgoing", "hostgroups.*.next_hop_ipv6", "ports.*.driver", "flows.listeners.*.ports"} {
		if !seen[want] {
			t.Errorf("%s is not listed", want)
		}
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	a, err := OpenArchive(History{Directory: filepath.Join(t.TempDir(), "h"), Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, text := range []string{"a", "b", "b", "c", "d", "e"} {
		if _, err := a.Add([]byte(text), Revision{Time: at, UID: 7, User: "eve", Cause: "commit"}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []Revision{
		{3, at, 7, "eve", "commit"}, {4, at, 7, "eve", "commit"}, {5, at, 7, "eve", "commit"},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("revisions are %+v, want %+v", list, want)
	}
	if text, err := a.Text(4); err != nil || string(text) != "d" {
		t.Errorf("revision 4 is %q (%v)", text, err)
	}
	if _, err := a.Text(1); err == nil || !strings.Contains(err.Error(), "there is no revision 1") {
		t.Errorf("a forgotten revision: %v", err)
	}
	st, err := os.Stat(a.file(5, ".yaml"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v (%v), want 0600", st.Mode(), err)
	}
}

func TestWriteFileKeepsModeAndLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "weir.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(path, []byte("old"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	st, err := os.Stat(path)
	if err != nil || string(text) != "new" || st.Mode().Perm() != 0o604 {
		t.Errorf("file is %q, mode %v (%v)", text, st.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for f, text := range map[string]string{good: smallest, bad: smallest + "tick: 1h\nlog: {level: x}\n"} {
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"good":    {[]string{"-c", good}, 0, good + ": valid: 2 networks, 1 port, 1 hostgroup\n", ""},
		"bad":     {[]string{"-c", bad}, 1, bad + ":6: tick: 1h is outside 100ms..60s\n" + bad + ":7: log.level: \"x\" is not one of debug, info, warn, error\n", "weir check: " + bad + " has 2 problems\n"},
		"missing": {[]string{"-c", dir + "/none"}, 1, "", "weir check: read configuration: open " + dir + "/none: no such file or directory\n"},
		"usage":   {[]string{good}, 2, "", "weir check: unexpected \"" + good + "\"; the file is named with -c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := Check(c.args, &out, &errs); got != c.status {
				t.Errorf("status %d, want %d", got, c.status)
			}
			if out.String() != c.stdout || errs.String() != c.stderr {
				t.Errorf("stdout %q, want %q\nstderr %q, want %q", out.String(), c.stdout, errs.String(), c.stderr)
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{"0": 0, "1000": 1000, "4GiB": 4 << 30, "4G": 4 << 30, "512 MiB": 512 << 20, "64KiB": 65536, "1T": 1 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d (%v), want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "99999999999999999999", "99999999TiB", "4GiBGiB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

// FuzzParse checks that no text makes the reader panic, and that what it takes it can write and read back.
func FuzzParse(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte(full))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz", text)
		if err != nil {
			var problems strict.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error is %T: %v", err, err)
			}
			return
		}
		dump, err := c.Dump()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("dump", dump)
		if err != nil {
			t.Fatalf("%v\n%s", err, dump)
		}
		if d := Diff(c, again); len(d) != 0 {
			t.Fatalf("the dump differs: %v\n%s", d, dump)
		}
	})
}
