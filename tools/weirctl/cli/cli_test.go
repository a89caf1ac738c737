package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api/apitest"
)

// call runs the program as a user does.
func call(t *testing.T, name, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		return f
	}
	in, out, errs := file("in", stdin), file("out", ""), file("err", "")
	status = Main(append([]string{"/usr/bin/" + name}, args...), in, out, errs)
	read := func(f *os.File) string {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return status, read(out), read(errs)
}

// want runs and compares all that is printed.
func want(t *testing.T, r *apitest.Running, wantStatus int, wantOut, wantErr string, words ...string) {
	t.Helper()
	status, out, errs := call(t, "weirctl", "", append([]string{"--socket", r.Socket}, words...)...)
	if status != wantStatus || out != wantOut || errs != wantErr {
		t.Errorf("weirctl %s: status %d, want %d\nstdout:\n%swant:\n%sstderr:\n%swant:\n%s",
			strings.Join(words, " "), status, wantStatus, out, wantOut, errs, wantErr)
	}
}

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

func TestTables(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	want(t, r, 0, `host          in pkt/s  in Mbit/s  in flows/s  out pkt/s  out Mbit/s  out flows/s  hostgroup
192.0.2.10      50,000      40.00       5,000         10        0.01            1  global
2001:db8::10    40,000      32.00       4,000         20        0.02            2  global
192.0.2.200        100       0.08          10      1,500        1.20          150  web
`, "", "show", "host_counters", "packets", "incoming")
	want(t, r, 0, `host          in pkt/s  in Mbit/s  in flows/s  out pkt/s  out Mbit/s  out flows/s  hostgroup
2001:db8::10    40,000      32.00       4,000         20        0.02            2  global
`, "", "show", "host_counters_v6", "bytes", "outgoing")
	want(t, r, 0, `network        in pkt/s  in Mbit/s  in flows/s  out pkt/s  out Mbit/s  out flows/s
192.0.2.0/24     50,100      40.08       5,010      1,510        1.21          151
2001:db8::/32    40,000      32.00       4,000         20        0.02            2
`, "", "show", "network_counters")
	want(t, r, 0, `prefix            uuid                                  state      hostgroup  until                reason
192.0.2.10/32     6c9e2f4e-0000-4000-8000-000000000004  announced  global     2026-03-01 12:31:40  threshold_pps: 50000 pps is over 20000 pps
2001:db8::10/128  6c9e2f4e-0000-4000-8000-000000000006  announced  global     2026-03-01 12:31:40  threshold_pps: 50000 pps is over 20000 pps
`, "", "show", "blackhole")
	want(t, r, 0, `target        direction  state   vector     why                                                peak pkt/s  hostgroup  start                end                  id
192.0.2.10    incoming   active  udp_flood  threshold_pps: 50,000 > 20,000 pps                     51,234  global     2026-03-01 12:00:00  -                    inc-4
2001:db8::10  outgoing   clear   syn_flood  threshold_tcp_syn_pps_outgoing: 3,000 > 1,000 pps           0  global     2026-03-01 11:00:00  2026-03-01 11:59:00  inc-6
`, "", "show", "incidents", "all")
	want(t, r, 0, `peer   address        asn  state        since                flaps  families                   last error
edge1  192.0.2.251  64500  established  2026-03-01 12:00:00      0  ipv4-unicast ipv6-unicast
`, "", "show", "bgp_peers")
	want(t, r, 0, `device  driver  mode          link    queues  received  dropped  packets/s  Mbit/s  state
eth1    afxdp   native, copy  up 10G       2        30        1    100,000   80.00  ok

worker  cpu  node  idle   keeps turn    busy  longest gap  gaps <10us  10-80us  80-640us  0.6-5ms  5ms and more
eth1/0    3     0  spin   yes         25.0 %        6.1ms   1,000,000    2,000         0        3             1
eth1/1  any     -  sleep  no           0.0 %           0s           0        0         0        0             0

eth1: kernel driver ixgbe; MTU 1500; 02:00:00:00:00:01; the driver counts rx_ring_full 1
queue   worker  received  bytes  dropped
eth1/0  eth1/0        10  1,000        1
eth1/1  eth1/1        20  2,000        0
`, "", "show", "interfaces")
	want(t, r, 0, `exporter       name   protocols          datagrams  records  lost  no template  sampling                                   last seen            state
192.0.2.251    edge1  netflow5,netflow9         75      900     2            0  1:1000 (domain)                            2026-03-01 12:01:00  lossy
2001:db8::251         ipfix,sflow5              70      800     0            0  unknown, announced 1:512, effective 1:640  2026-03-01 12:00:00  rate unknown, samples at another rate
`, "", "show", "exporters")
	want(t, r, 0, `exporter       name  interface  Mbit/s of  in Mbit/s  in packets/s  out Mbit/s  out packets/s  discards  errors  reported             state
2001:db8::251                7   10000.00    2500.00       312,500      500.00         62,500         3       2  2026-03-01 12:00:00  up
`, "", "show", "exporter_interfaces")
	want(t, r, 0, `address    socket  datagrams    bytes  dropped     buffer
[::]:2055       0        145  145,000        3  32768 KiB
`, "", "show", "flow_sockets")
	want(t, r, 0, "192.0.2.251 1000\n", "", "show", "netflow_sampling_rates")
	want(t, r, 0, "2001:db8::251 256\n", "", "show", "ipfix_sampling_rates")
	want(t, r, 0, "2001:db8::251 512  effective 640\n", "", "show", "sflow_sampling_rates")
	want(t, r, 0, "192.0.2.251 70\n", "", "show", "netflow9_packets_per_device")
	want(t, r, 0, "192.0.2.251 5\n", "", "show", "netflow5_packets_per_device")
	want(t, r, 0, "2001:db8::251 40\n", "", "show", "ipfix_packets_per_device")
	want(t, r, 0, "2001:db8::251 30\n", "", "show", "sflow_packets_per_device")
	want(t, r, 0, "192.0.2.10  hostgroup global  network 192.0.2.0/24\n", "", "show", "ip_hostgroup", "192.0.2.10")
	want(t, r, 0, "disabled: mitigations are announced\n", "", "show", "kill_switch")
	want(t, r, 0, "networks       192.0.2.128/25 2001:db8:80::/48\nthreshold_pps  5000\n", "", "show", "hostgroup", "web")
	want(t, r, 0, "192.0.2.0/24\n2001:db8::/32\n", "", "show", "main", "networks_list")
	want(t, r, 0, "enable\n", "", "show", "main", "unban_only_if_attack_finished")
	status, out, _ := call(t, "weirctl", "", "show", "total_traffic_counters", "--socket", r.Socket)
	if lines := strings.Split(out, "\n"); status != 0 || len(lines) < 10 ||
		lines[0] != "traffic             packets/s  Mbit/s  flows/s" || lines[1] != "incoming traffic      100,000   80.00   10,000" {
		t.Errorf("totals:\n%s", out)
	}
	if _, out, _ := call(t, "weirctl", "", "--socket", r.Socket, "show", "single_host_counters", "2001:db8::10"); !strings.Contains(out, "udp          40,000      32.00         20        0.02\n") {
		t.Errorf("single host:\n%s", out)
	}
	if _, out, _ := call(t, "weirctl", "", "--socket", r.Socket, "show", "system_counters"); !strings.Contains(out, "packets_received  123,456,789  packets   since start\n") {
		t.Errorf("system counters:\n%s", out)
	}
}

func TestEditing(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	const edited = "changed in the candidate; `diff` shows it, `commit` applies it\n"
	want(t, r, 0, edited, "", "set", "hostgroup", "global", "threshold_udp_pps", "1000")
	want(t, r, 0, edited, "", "set", "main", "networks_whitelist", "2001:db8::53")
	want(t, r, 0, edited, "", "set", "main", "gobgp_announce_whole_subnet", "enable")
	diff := "+ hostgroups.global.announce_subnet: true\n+ hostgroups.global.threshold_udp_pps: 1000\n+ whitelist: 2001:db8::53/128\n"
	want(t, r, 0, diff, "", "diff")
	want(t, r, 0, diff+"3 changes in force\n", "", "commit")
	want(t, r, 0, "nothing to change\n", "", "commit")
	if n := len(r.Applied()); n != 2 {
		t.Errorf("%d configurations applied", n)
	}
	want(t, r, 0, "- hostgroups.global.announce_subnet: true\n- hostgroups.global.threshold_udp_pps: 1000\n- whitelist: 2001:db8::53/128\n"+
		"back to configuration 1: 3 changes in force\n", "", "rollback")
	want(t, r, 0, edited, "", "set", "hostgroup", "web", "ban_for_udp_bandwidth", "enable")
	status, out, errs := call(t, "weirctl", "", "--socket", r.Socket, "commit")
	if status != 1 || out != "" || !strings.HasPrefix(errs, "weirctl: not done:\n  "+r.File+":12: hostgroups.web.ban_for_udp_bandwidth: is on, and threshold_udp_mbps") {
		t.Errorf("a bad commit: %d %q %q", status, out, errs)
	}
	want(t, r, 0, "the candidate is what runs\n", "", "discard")
	want(t, r, 0, "", "", "diff")
}

func TestErrorsAndStatus(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	want(t, r, 1, "", "weirctl: there is no main option \"ban_tme\"; did you mean ban_time?; `show main` lists them\n", "show", "main", "ban_tme")
	want(t, r, 1, "", "weirctl: 198.51.100.7/32: refused: it is outside the configured networks\n", "set", "blackhole", "198.51.100.7")
	want(t, r, 1, "", "weirctl: there is no hostgroup \"wbe\"; did you mean web?\n", "show", "hostgroup", "wbe")
	want(t, r, 2, "", "weirctl: \"shwo\" is not a command; `weirctl help` lists them\n", "shwo")
	want(t, r, 2, "", "weirctl: \"commi\" is not a command; did you mean commit?; `weirctl help` lists them\n", "commi")
	want(t, r, 2, "", "weirctl: show what? `weirctl help` lists it\n", "show")
	want(t, r, 2, "", "weirctl: \"commit\" is a command by itself: weirctl commit\n", "set", "commit")
	want(t, r, 2, "", "weirctl: flag provided but not defined: -frob; `weirctl --help` shows how\n", "--frob")
	status, _, errs := call(t, "weirctl", "", "--socket", "/nonexistent/api.sock", "diff")
	if status != 1 || !strings.Contains(errs, "there is no appliance at /nonexistent/api.sock; start it with `systemctl start weir`") {
		t.Errorf("no appliance: %d %q", status, errs)
	}
	if status, out, _ := call(t, "weirctl", "", "--help"); status != 0 || !strings.HasPrefix(out, "usage: weirctl") {
		t.Errorf("help: %d %q", status, out)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	for _, words := range [][]string{{"show", "host_counters"}, {"set", "blackhole", "2001:db8::99"}, {"show", "mitigations"}, {"diff"}} {
		status, out, errs := call(t, "weirctl", "", append([]string{"--json", "--socket", r.Socket}, words...)...)
		var a struct {
			Success bool `json:"success"`
		}
		if err := json.Unmarshal([]byte(out), &a); err != nil || !a.Success || status != 0 || errs != "" {
			t.Errorf("%v: status %d, %v, %q %q", words, status, err, out, errs)
		}
	}
	status, out, errs := call(t, "weirctl", "", "--json", "--socket", r.Socket, "show", "hostgroup", "none")
	var a struct {
		Success bool   `json:"success"`
		Error   string `json:"error_text"`
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || a.Success || !strings.Contains(a.Error, "there is no hostgroup") || status != 1 || errs != "" {
		t.Errorf("a refusal: status %d, %v, %q %q", status, err, out, errs)
	}
}

func TestFcli(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	fcli := func(words ...string) string {
		t.Helper()
		status, out, errs := call(t, "fcli", "", append([]string{"--socket", r.Socket}, words...)...)
		if status != 0 || errs != "" {
			t.Errorf("fcli %v: %d %q", words, status, errs)
		}
		return out
	}
	if out := fcli("set", "blackhole", "192.0.2.77"); out != "Ban executed\n" {
		t.Errorf("set blackhole: %q", out)
	}
	if out, want := fcli("show", "blackhole"), "192.0.2.10/32 6c9e2f4e-0000-4000-8000-000000000004\n2001:db8::10/128 6c9e2f4e-0000-4000-8000-000000000006\n"+
		"192.0.2.77/32 00000000-0000-4000-8000-000000000001\n"; out != want {
		t.Errorf("show blackhole: %q", out)
	}
	if out, want := fcli("show", "blackhole", "00000000-0000-4000-8000-000000000001"), "IP: 192.0.2.77\nUUID: 00000000-0000-4000-8000-000000000001\n"+
		"Hostgroup: global\nHost Network: 192.0.2.0/24\nDetection Source: manual\nDetection Threshold: \nDetection Direction: incoming\n"; out != want {
		t.Errorf("show blackhole UUID: %q", out)
	}
	if out := fcli("delete", "blackhole", "00000000-0000-4000-8000-000000000001"); out != "Disabled correctly\n" {
		t.Errorf("delete blackhole: %q", out)
	}
	if out := fcli("show", "ip_hostgroup", "2001:db8::1"); out != "global\n" {
		t.Errorf("show ip_hostgroup: %q", out)
	}
	if out := fcli("show", "main", "enable_ban"); out != "enable\n" {
		t.Errorf("show main enable_ban: %q", out)
	}
	if out := fcli("show", "system_counters"); !strings.HasPrefix(out, "packets_received 123456789\n") {
		t.Errorf("show system_counters: %q", out)
	}
	if out := fcli("set", "main", "ban_time", "600") + fcli("commit"); out != "" {
		t.Errorf("set and commit: %q", out)
	}
	if c := r.Applied()[0]; c.Bans.BanTime.Seconds() != 600 {
		t.Errorf("ban time is %v", c.Bans.BanTime)
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	status, out, errs := call(t, "weirctl", "# a script\nset hostgroup web description 'the web farm'\n\nshow hostgroup web description\nshow nothing\nset kill_switch enable\n", "--socket", r.Socket)
	if status != 1 || !strings.HasSuffix(out, "the web farm\n") || !strings.Contains(errs, "stopped at line 5") {
		t.Errorf("script: %d %q %q", status, out, errs)
	}
	if r.KillSwitch() {
		t.Error("the script went on after an error")
	}
}

func TestExportImport(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	file := filepath.Join(t.TempDir(), "out.yaml")
	want(t, r, 0, "", "", "export", file)
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), apitest.Config) {
		t.Fatalf("export: %q (%v)", text, err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the export holds passwords and has mode %v (%v)", st.Mode(), err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "threshold_pps: 5000", "threshold_pps: 0", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errs := call(t, "weirctl", "", "--socket", r.Socket, "import", file)
	if status != 1 || !strings.Contains(errs, ":11: hostgroups.web.threshold_pps: a limit of zero") {
		t.Errorf("a bad import: %d %q", status, errs)
	}
	want(t, r, 0, "", "", "diff")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "threshold_pps: 5000", "threshold_pps: 1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, r, 0, "read into the candidate; `diff` shows what would change, `commit` applies it\n", "", "import", file)
	want(t, r, 0, "- hostgroups.web.threshold_pps: 5000\n+ hostgroups.web.threshold_pps: 1\n", "", "diff")
}

func TestComplete(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	for line, want := range map[string]string{
		"sh":                                   "show",
		"show black":                           "blackhole",
		"show host_counters_v":                 "host_counters_v4 host_counters_v6",
		"show host_counters p":                 "packets",
		"show host_counters packets ":          "incoming outgoing",
		"set hostgroup w":                      "web",
		"set hostgroup web threshold_tcp_syn_": "threshold_tcp_syn_mbps threshold_tcp_syn_mbps_outgoing threshold_tcp_syn_pps threshold_tcp_syn_pps_outgoing",
		"set hostgroup web ban_for_pps ":       "disable enable",
		"set main bans.unban":                  "bans.unban_only_if_attack_finished",
		"delete hostgroup web networks ":       "192.0.2.128/25 2001:db8:80::/48",
		"delete blackhole ":                    "6c9e2f4e-0000-4000-8000-000000000004 6c9e2f4e-0000-4000-8000-000000000006",
		"set bgp ":                             "edge1",
		"rollback ":                            "1",
		"set kill_switch ":                     "disable enable",
		"nonsense ":                            "",
	} {
		words := strings.Split(line, " ")
		_, out, _ := call(t, "weirctl", "", append([]string{"--socket", r.Socket, "__complete"}, words...)...)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("%q completes to %q, want %q", line, got, want)
		}
	}
	if _, out, _ := call(t, "weirctl", "", "--socket", "/nonexistent", "__complete", "show", ""); strings.TrimSpace(out) != "" {
		t.Errorf("completion without an appliance prints %q", out)
	}
}

func TestTab(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	s := &session{client: newClient(r.Socket), name: "weirctl"}
	for _, c := range []struct{ line, want, listed string }{
		{"sho", "show ", ""},
		{"set host", "set hostgroup ", ""},
		{"set hostgroup web threshold_tcp_s", "set hostgroup web threshold_tcp_syn_", ""},
		{"show host_counters packets ", "show host_counters packets ", "incoming  outgoing\n"},
		{"xyzzy", "xyzzy", ""},
	} {
		var listed strings.Builder
		got, pos, ok := s.tab(&listed, c.line, len(c.line), '\t')
		if !ok || got != c.want || pos != len(c.want) || listed.String() != c.listed {
			t.Errorf("%q becomes %q (%d), listing %q", c.line, got, pos, listed.String())
		}
	}
	if _, _, ok := s.tab(nil, "sho", 3, 'w'); ok {
		t.Error("an ordinary key is swallowed")
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`set main ports '{driver: afxdp, device: eth1}'`: "set|main|ports|{driver: afxdp, device: eth1}",
		`a "b \" c" d\ e ''`:                             `a|b " c|d e|`,
		"  a\t b ":                                       "a|b",
		"":                                               "",
	} {
		got, err := split(line)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q (%v), want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`a "b`, `a '`, `a \`} {
		if got, err := split(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := &history{path: filepath.Join(t.TempDir(), "h")}
	for _, l := range []string{"show blackhole", "show blackhole", "", "set bgp a md5_auth_password x", "diff"} {
		h.Add(l)
	}
	h.save()
	text, err := os.ReadFile(h.path)
	if err != nil || string(text) != "show blackhole\ndiff\n" {
		t.Errorf("history is %q (%v)", text, err)
	}
	if h.Len() != 2 || h.At(0) != "diff" {
		t.Errorf("newest is %q of %d", h.At(0), h.Len())
	}
}
