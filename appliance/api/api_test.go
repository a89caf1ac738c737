package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api/apitest"
	"github.com/weir-ddos/weir/appliance/config"
)

type answer struct {
	Success  bool            `json:"success"`
	Error    string          `json:"error_text"`
	Values   json.RawMessage `json:"values"`
	Value    json.RawMessage `json:"value"`
	Object   json.RawMessage `json:"object"`
	Message  string          `json:"message"`
	Warning  string          `json:"warning"`
	Problems []any           `json:"problems"`
	status   int
}

func client(socket string, dial func() (net.Conn, error)) *http.Client {
	if dial == nil {
		dial = func() (net.Conn, error) { return net.Dial("unix", socket) }
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial() },
	}}
}

func do(t *testing.T, c *http.Client, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://weir"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode}
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	if a.Success != (a.status == 200) || a.Success == (a.Error != "") {
		t.Errorf("%s %s: status %d, success %v, error %q do not agree", method, path, a.status, a.Success, a.Error)
	}
	return a
}

// ok insists on success.
func ok(t *testing.T, r *apitest.Running, method, path string) answer {
	t.Helper()
	a := do(t, client(r.Socket, nil), method, path, "")
	if !a.Success {
		t.Fatalf("%s %s: %s", method, path, a.Error)
	}
	return a
}

func TestShow(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	for path, want := range map[string]string{
		"/main/tick":          `value "1s"`,
		"/main/networks":      `values ["192.0.2.0/24","2001:db8::/32"]`,
		"/main/networks_list": `values ["192.0.2.0/24","2001:db8::/32"]`,
		"/main/ban_time":      `value "1900s"`,
		"/main/bans.unban_only_if_attack_finished": `value true`,
		"/main/enable_connection_tracking":         `value true`,
		"/hostgroup":                               `values ["global","web"]`,
		"/hostgroup/web":                           `object {"networks":["192.0.2.128/25","2001:db8:80::/48"],"threshold_pps":5000}`,
		"/hostgroup/global/threshold_pps":          `value 20000`,
		"/hostgroup/web/networks":                  `values ["192.0.2.128/25","2001:db8:80::/48"]`,
		"/bgp":                                     `values ["edge1"]`,
		"/bgp/edge1/remote_address":                `value "192.0.2.251"`,
		"/bgp/edge1/local_asn":                     `value 64500`,
		"/bgp/edge1/md5_auth_password":             `value "(hidden)"`,
		"/port":                                    `values ["eth1"]`,
		"/port/eth1/driver":                        `value "afxdp"`,
		"/kill_switch":                             `value false`,
		"/diff":                                    `values []`,
		"/blackhole": `values [{"uuid":"6c9e2f4e-0000-4000-8000-000000000004","ip":"192.0.2.10/32","state":"announced","hostgroup":"global","reason":"threshold_pps: 50000 pps is over 20000 pps","expires":"2026-03-01T12:31:40Z"},` +
			`{"uuid":"6c9e2f4e-0000-4000-8000-000000000006","ip":"2001:db8::10/128","state":"announced","hostgroup":"global","reason":"threshold_pps: 50000 pps is over 20000 pps","expires":"2026-03-01T12:31:40Z"}]`,
		"/ip_hostgroup/2001:db8::10": `object {"ip":"2001:db8::10","inside":true,"network":"2001:db8::/32","hostgroup":"global","whitelisted":false}`,
	} {
		a := ok(t, r, "GET", path)
		got := "value " + string(a.Value)
		if a.Values != nil {
			got = "values " + string(a.Values)
		} else if a.Object != nil {
			got = "object " + string(a.Object)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	names := func(path, key string) string {
		var list []map[string]any
		if err := json.Unmarshal(ok(t, r, "GET", path).Values, &list); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range list {
			out = append(out, e[key].(string))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct{ path, key, want string }{
		{"/host_counters/packets/incoming", "host", "192.0.2.10 2001:db8::10 192.0.2.200"},
		{"/host_counters/bytes/outgoing", "host", "192.0.2.200 2001:db8::10 192.0.2.10"},
		{"/host_counters/flows/incoming?limit=1", "host", "192.0.2.10"},
		{"/host_counters_v6/packets/incoming", "host", "2001:db8::10"},
		{"/host_counters_v4", "host", "192.0.2.10 192.0.2.200"},
		{"/network_counters", "network_name", "192.0.2.0/24 2001:db8::/32"},
		{"/network_counters_v6", "network_name", "2001:db8::/32"},
		{"/hostgroup_counters_total", "hostgroup_name", "global web"},
	} {
		if got := names(c.path, c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	if got := names("/total_traffic_counters", "counter_name"); !strings.HasPrefix(got, "incoming traffic incoming traffic incoming traffic incoming tcp") {
		t.Errorf("totals are %s", got)
	}
	var h map[string]any
	if err := json.Unmarshal(ok(t, r, "GET", "/single_host_counters/2001:db8::10").Object, &h); err != nil {
		t.Fatal(err)
	}
	if h["incoming_packets"] != 40000.0 || h["incoming_bytes"] != 4e6 || h["outgoing_flows"] != 2.0 {
		t.Errorf("host is %v", h)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	c := client(r.Socket, nil)
	for _, q := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/", 404, `there is nothing called ""`},
		{"GET", "/blakhole", 404, "did you mean blackhole"},
		{"GET", "/main/ban_tme", 400, "did you mean ban_time"},
		{"GET", "/main/xyzzy", 400, "there is no main option \"xyzzy\"; `show main` lists them"},
		{"GET", "/hostgroup/wbe", 404, "did you mean web"},
		{"GET", "/host_counters/pkts", 400, "usage: show host_counters"},
		{"GET", "/host_counters?limit=0", 400, "limit: \"0\" is outside 1..10000"},
		{"GET", "/single_host_counters/nowhere", 400, `"nowhere" is not an IP address`},
		{"GET", "/single_host_counters/198.51.100.1", 404, "outside the configured networks"},
		{"GET", "/single_host_counters/2001:db9::1", 404, "outside the configured networks"},
		{"GET", "/blackhole/xyz", 404, "there is no mitigation"},
		{"GET", "/history/9", 404, "there is no revision 9"},
		{"PUT", "/blackhole/198.51.100.1", 409, "refused: it is outside"},
		{"PUT", "/blackhole/2001:db9::%2f48", 409, "refused: it is outside"},
		{"PUT", "/blackhole/192.0.2.5%2f24", 400, "did you mean 192.0.2.0/24"},
		{"PUT", "/blackhole/192.0.2.5/never", 400, "is not a time"},
		{"DELETE", "/blackhole/xyz", 404, "not found"},
		{"PUT", "/kill_switch/perhaps", 400, "usage: set kill_switch"},
		{"PUT", "/main/tick", 400, "usage: set main OPTION VALUE"},
		{"PUT", "/main/tick/soon", 400, `tick: "soon" is not a duration`},
		{"PUT", "/main/networks/192.0.2.0%2f33", 400, "is not a network"},
		{"PUT", "/main/process_incoming_traffic/disable", 400, "set hostgroup global enable_ban_incoming disable"},
		{"PUT", "/hostgroup/nobody/threshold_pps/5", 404, "`set hostgroup nobody` makes it"},
		{"PUT", "/hostgroup/web/threshold_pps/many", 400, "must be a whole number"},
		{"PUT", "/hostgroup/web/threshold_pp/5", 400, "did you mean threshold_pps"},
		{"PUT", "/hostgroup/a%20b", 400, "cannot be a name"},
		{"DELETE", "/hostgroup/global", 409, "always exists"},
		{"DELETE", "/hostgroup/web/networks/192.0.2.0%2f25", 404, "does not hold 192.0.2.0/25"},
		{"PUT", "/bgp/edge1/active/disable", 409, "`delete bgp edge1` ends the session"},
		{"PUT", "/rollback/0", 400, "is not the number of a configuration"},
		{"PUT", "/rollback", 400, "there is no earlier configuration"},
		{"PUT", "/main/log.level/a%00b", 400, "characters that no value has"},
		{"GET", "/a/b/c/d/e/f/g/h/i", 400, "more than 8 words"},
		{"POST", "/commit", 405, "POST is not used here"},
	} {
		a := do(t, c, q.method, q.path, "")
		if a.status != q.status || !strings.Contains(a.Error, q.want) {
			t.Errorf("%s %s: %d %q, want %d %q", q.method, q.path, a.status, a.Error, q.status, q.want)
		}
	}
	if text, err := os.ReadFile(r.File); err != nil || !strings.HasPrefix(string(text), apitest.Config) {
		t.Errorf("the file was changed (%v)", err)
	}
	if a := ok(t, r, "GET", "/diff"); string(a.Values) != "[]" {
		t.Errorf("a refused change is in the candidate: %s", a.Values)
	}
}

func TestEditCommitRollback(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	for _, q := range [][2]string{
		{"PUT", "/hostgroup/global/threshold_udp_pps/1000"},
		{"PUT", "/hostgroup/global/ban_for_udp_pps/enable"},
		{"PUT", "/main/networks_list/198.51.100.0%2f24"},
		{"PUT", "/main/networks_list/198.51.100.0%2f24"}, // twice is no error
		{"DELETE", "/hostgroup/web/networks/192.0.2.128%2f25"},
		{"PUT", "/hostgroup/dns"},
		{"PUT", "/hostgroup/dns/networks/2001:db8:53::%2f48"},
		{"PUT", "/main/gobgp_next_hop_ipv6/100::2"},
		{"PUT", "/bgp/edge2"},
		{"PUT", "/bgp/edge2/remote_address/2001:db8::252"},
		{"PUT", "/bgp/edge2/remote_asn/64501"},
		{"PUT", "/bgp/edge2/multihop/enable"},
		{"PUT", "/bgp/edge2/ipv6_flowspec/enable"},
		{"PUT", "/bgp/edge2/active/enable"},
	} {
		ok(t, r, q[0], q[1])
	}
	if n := len(r.Applied()); n != 0 {
		t.Fatalf("%d configurations applied before commit", n)
	}
	a := ok(t, r, "PUT", "/commit")
	if !strings.HasSuffix(a.Message, "changes in force") || a.Warning != "" {
		t.Errorf("commit says %q, warns %q", a.Message, a.Warning)
	}
	applied := r.Applied()
	if len(applied) != 1 {
		t.Fatalf("%d configurations applied, want 1", len(applied))
	}
	cfg := applied[0]
	if g := cfg.Hostgroups["global"]; *g.ThresholdUDPPPS != 1000 || !*g.BanForUDPPPS || g.NextHopIPv6.String() != "100::2" {
		t.Errorf("global is %+v", g)
	}
	if len(cfg.Networks) != 3 || len(cfg.Hostgroups["web"].Networks) != 1 || cfg.Hostgroups["dns"].Networks[0].String() != "2001:db8:53::/48" {
		t.Errorf("networks %v, web %v, dns %v", cfg.Networks, cfg.Hostgroups["web"].Networks, cfg.Hostgroups["dns"].Networks)
	}
	if p := cfg.BGP.Peers[1]; p.Name != "edge2" || p.MultihopTTL != 255 || !p.Families.IPv6FlowSpec || p.RemoteASN != 64501 {
		t.Errorf("peer is %+v", p)
	}
	text, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# the edge\n", "networks: [192.0.2.0/24, 2001:db8::/32, 198.51.100.0/24]   # ours\n", "\n  # everybody\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lost %q:\n%s", want, text)
		}
	}

	ok(t, r, "PUT", "/hostgroup/web/threshold_pps/1") // an edit that rollback drops, and says so
	a = ok(t, r, "PUT", "/rollback")
	if !strings.Contains(a.Message, "back to configuration 1") || !strings.Contains(a.Warning, "not committed are gone") {
		t.Errorf("rollback says %q, warns %q", a.Message, a.Warning)
	}
	if applied = r.Applied(); len(applied) != 2 || len(applied[1].Networks) != 2 {
		t.Errorf("rollback applied %d configurations", len(applied))
	}
	if text, _ = os.ReadFile(r.File); !strings.HasPrefix(string(text), apitest.Config) {
		t.Errorf("rollback left another file:\n%s", text)
	}
	var history []map[string]any
	if err := json.Unmarshal(ok(t, r, "GET", "/history").Values, &history); err != nil || len(history) != 3 {
		t.Fatalf("history is %v (%v)", history, err)
	}
	if history[0]["cause"] != "start" || history[1]["cause"] != "commit" || history[2]["cause"] != "rollback to 1" {
		t.Errorf("history is %v", history)
	}
	a = ok(t, r, "PUT", "/rollback") // a second rollback returns to before the first
	if len(r.Applied()) != 3 || len(r.Applied()[2].Networks) != 3 || !strings.Contains(a.Message, "configuration 2") {
		t.Errorf("second rollback: %q", a.Message)
	}
}

func TestCommitRefusesAndKeeps(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	c := client(r.Socket, nil)

	// Not valid as a whole: a switch without its limit. The line is that of the candidate.
	ok(t, r, "PUT", "/hostgroup/web/ban_for_icmp_pps/enable")
	a := do(t, c, "PUT", "/commit", "")
	if a.status != 400 || len(a.Problems) != 1 || !strings.Contains(a.Error, "weir.yaml:12: hostgroups.web.ban_for_icmp_pps: is on") {
		t.Errorf("commit: %d %q", a.status, a.Error)
	}
	ok(t, r, "PUT", "/hostgroup/web/threshold_icmp_pps/10")

	// The appliance refuses.
	r.Refuse(errors.New("port eth9: no such device"))
	a = do(t, c, "PUT", "/commit", "")
	if a.Success || !strings.Contains(a.Error, "the old configuration stays in force: port eth9") {
		t.Errorf("commit: %q", a.Error)
	}
	if len(r.Applied()) != 0 || r.Server.Config().Hostgroups["web"].ThresholdICMPPPS != nil {
		t.Error("a refused configuration is in force")
	}

	// Somebody edited the file by hand.
	text, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.File, append([]byte("# by hand\n"), text...), 0o640); err != nil {
		t.Fatal(err)
	}
	a = do(t, c, "PUT", "/commit", "")
	if a.Success || !strings.Contains(a.Error, "changed by hand") {
		t.Errorf("commit: %q", a.Error)
	}
	ok(t, r, "PUT", "/reload")
	if got, _ := os.ReadFile(r.File); !strings.HasPrefix(string(got), "# by hand\n") {
		t.Error("reload changed the file")
	}

	// A broken file is not taken over, and the running configuration stays.
	if err := os.WriteFile(r.File, []byte("networks: [nowhere]\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	before := r.Server.Config()
	if err := r.Server.Reload(); err == nil || !strings.Contains(err.Error(), "weir.yaml:1: networks[0]") {
		t.Errorf("reload: %v", err)
	}
	if r.Server.Config() != before {
		t.Error("a broken file is in force")
	}
}

// TestBrokenFilesLeaveTheAppliance: whatever is wrong with a file, reload and import refuse it and nothing changes.
func TestBrokenFilesLeaveTheAppliance(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../config/testdata/broken/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken configurations (%v), want 40 and more", len(files), err)
	}
	r := apitest.Run(t, apitest.Config)
	before := r.Server.Config()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.File, text, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := r.Server.Reload(); err == nil || !strings.Contains(err.Error(), "weir.yaml:") {
			t.Errorf("%s: reload says %v", f, err)
		}
		if a := do(t, client(r.Socket, nil), "PUT", "/import", string(text)); a.Success || len(a.Problems) == 0 {
			t.Errorf("%s: import says %+v", f, a)
		}
	}
	if r.Server.Config() != before || len(r.Applied()) != 0 {
		t.Error("a broken file is in force")
	}
	if d := string(ok(t, r, "GET", "/diff").Values); d != "[]" {
		t.Errorf("a broken file is in the candidate: %s", d)
	}
}

func TestCommitOnFullDisk(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	ok(t, r, "PUT", "/main/tick/2s")
	// A directory that cannot be written stands for the full disk: the new file cannot be staged.
	if err := os.Rename(r.File, r.File+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.File, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.File+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := do(t, client(r.Socket, nil), "PUT", "/commit", "")
	if a.Success || !strings.Contains(a.Error, "after a restart the old configuration returns") {
		t.Errorf("commit: %q", a.Error)
	}
	if r.Server.Config().Tick != 2*time.Second {
		t.Error("the change is not in force although commit said so")
	}
}

func TestImportExport(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	c := client(r.Socket, nil)
	var text string
	if err := json.Unmarshal(ok(t, r, "GET", "/export").Value, &text); err != nil || !strings.HasPrefix(text, apitest.Config) {
		t.Fatalf("export is %q (%v)", text, err)
	}
	a := do(t, c, "PUT", "/import", "networks: [192.0.2.0/24]\nportz: []\n")
	if a.Success || len(a.Problems) != 2 {
		t.Errorf("import of a broken file: %+v", a)
	}
	next := strings.Replace(text, "threshold_pps: 5000", "threshold_pps: 6000", 1)
	if a = do(t, c, "PUT", "/import", next); !a.Success {
		t.Fatal(a.Error)
	}
	if d := string(ok(t, r, "GET", "/diff").Values); d != `[{"path":"hostgroups.web.threshold_pps","old":"5000","new":"6000"}]` {
		t.Errorf("diff is %s", d)
	}
	ok(t, r, "PUT", "/discard")
	if d := string(ok(t, r, "GET", "/diff").Values); d != `[]` {
		t.Errorf("diff after discard is %s", d)
	}
	if a = do(t, c, "PUT", "/import", strings.Repeat("#", config.MaxFile+1)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge import: %d %s", a.status, a.Error)
	}
}

func TestBlackholeAndAudit(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	for _, ip := range []string{"192.0.2.77", "2001:db8::77"} {
		a := ok(t, r, "PUT", "/blackhole/"+ip+"/10m")
		var m struct {
			ID      string    `json:"id"`
			Expires time.Time `json:"expires"`
		}
		if err := json.Unmarshal(a.Object, &m); err != nil || !m.Expires.Equal(apitest.Start.Add(10*time.Minute)) {
			t.Fatalf("blackhole is %s (%v)", a.Object, err)
		}
		ok(t, r, "DELETE", "/blackhole/"+m.ID)
	}
	ok(t, r, "PUT", "/kill_switch/enable")
	if !r.KillSwitch() {
		t.Error("the kill switch is off")
	}
	ok(t, r, "PUT", "/bgp/edge1/md5_auth_password/sesam")
	do(t, client(r.Socket, nil), "PUT", "/blackhole/198.51.100.1", "")
	var got []string
	for _, rec := range r.Records() {
		line := rec.Action
		if rec.Error != "" {
			line += " -> refused"
		}
		if rec.PID != int32(os.Getpid()) || int(rec.UID) != os.Getuid() || !rec.Time.Equal(apitest.Start) {
			t.Errorf("record is %+v", rec)
		}
		got = append(got, line)
	}
	want := "set blackhole 192.0.2.77 10m|delete blackhole 00000000-0000-4000-8000-000000000001|set blackhole 2001:db8::77 10m|" +
		"delete blackhole 00000000-0000-4000-8000-000000000002|set kill_switch enable|set bgp edge1 md5_auth_password (hidden)|" +
		"set blackhole 198.51.100.1 -> refused"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("audit:\n%s\nwant:\n%s", s, want)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	r := apitest.Run(t, apitest.Config)
	// The socket moves with a commit; the old one goes away.
	moved := r.Socket + "2"
	ok(t, r, "PUT", "/main/api.socket/"+url.PathEscape(moved))
	ok(t, r, "PUT", "/commit")
	if a := do(t, client(moved, nil), "GET", "/kill_switch", ""); !a.Success {
		t.Error(a.Error)
	}
	if _, err := net.Dial("unix", r.Socket); err == nil {
		t.Error("the old socket still answers")
	}
	if err := r.Server.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(moved); err == nil {
		t.Error("the socket is left behind")
	}
}
