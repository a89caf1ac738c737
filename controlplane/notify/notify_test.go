package notify

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// udpFlood is the attack of FastNetMon's recorded calls: 96,969 pps of 60-byte UDP and 7,083 flows.
func udpFlood(host string, pps float64) incident.Incident {
	inc := incident.Incident{
		ID: "i1", Target: rule.Target{Host: netip.MustParseAddr(host)}, Direction: traffic.Incoming, State: incident.Active,
		Vector: incident.UDPFlood, Protocol: "udp", InitialPPS: pps, PeakPPS: pps,
		Start: time.Date(2026, 11, 21, 21, 41, 39, 0, time.UTC),
	}
	in := &inc.Why.In
	in[rule.PPS], in[rule.UDPPPS], in[rule.Flows] = pps, pps, 7083
	in[rule.Mbps] = pps * 60 * 8 / 1e6
	in[rule.UDPMbps] = in[rule.Mbps]
	return inc
}

// recorded reads what a real FastNetMon 1.2.4 gave its script; the part behind the marker line.
func recorded(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("WEIR_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	raw, err := os.ReadFile(filepath.Join(dir, "data/fastnetmon", name))
	if err != nil {
		t.Skipf("recordings of FastNetMon are not here: %v", err)
	}
	_, text, ok := strings.Cut(string(raw), "--- stdin\n")
	if !ok {
		t.Fatalf("%s: no marker", name)
	}
	return text
}

func TestReportEqualsFastNetMon(t *testing.T) {
	t.Parallel()
	text := recorded(t, "notify.ban.txt")
	want, _, _ := strings.Cut(text, "Incoming\n\nUDP flows") // the flow dump follows
	if got := Text(Event{Action: Ban, Incident: udpFlood("10.0.0.11", 96969.7)}, time.UTC); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReportIPv6EqualsFastNetMonButForItsBug(t *testing.T) {
	t.Parallel()
	want := strings.Replace(recorded(t, "notify.ban.ipv6.raw.txt"), "IP: 0.0.0.0\n", "IP: 2001:db8::55\n", 1)
	inc := udpFlood("2001:db8::55", 7051)
	inc.Why.In[rule.Flows] = 0
	inc.Why.In[rule.Mbps] = 7051 * 74 * 8 / 1e6
	inc.Why.In[rule.UDPMbps] = inc.Why.In[rule.Mbps]
	if got := Text(Event{Action: Ban, Incident: inc}, time.UTC); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

var packetRE = regexp.MustCompile(`(?m)^(\S+ \S+) (\S+):(\d+) > (\S+):(\d+) protocol: udp frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  $`)

func TestAttackDetailsEqualsFastNetMon(t *testing.T) {
	t.Parallel()
	want := recorded(t, "notify.attack_details.txt")
	var packets []Packet
	for _, m := range packetRE.FindAllStringSubmatch(want, -1) {
		at, err := time.Parse("2006-01-02 15:04:05.000000", m[1])
		if err != nil {
			t.Fatal(err)
		}
		sport, _ := strconv.Atoi(m[3])
		dport, _ := strconv.Atoi(m[5])
		packets = append(packets, Packet{
			Time: at, Src: netip.MustParseAddr(m[2]), Dst: netip.MustParseAddr(m[4]), SrcPort: uint16(sport), DstPort: uint16(dport),
			Proto: 17, TTL: 64, Length: 60,
		})
	}
	if len(packets) != 20 {
		t.Fatalf("%d packets in the recording", len(packets))
	}
	if got := Text(Details(udpFlood("10.0.0.11", 96969), time.Time{}, packets), time.UTC); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestReport is the same without the recordings, with every figure different.
func TestReport(t *testing.T) {
	t.Parallel()
	inc := incident.Incident{
		Target: rule.Target{Host: netip.MustParseAddr("2001:db8::7")}, Direction: traffic.Outgoing, Vector: incident.SYNFlood, Protocol: "tcp",
		InitialPPS: 1000.9, PeakPPS: 2000.9,
	}
	for m := range rule.NumMetrics {
		inc.Why.In[m], inc.Why.Out[m] = float64(m)+1.9, float64(m)+101.9
	}
	const want = `IP: 2001:db8::7
Attack type: syn_flood
Initial attack power: 1000 packets per second
Peak attack power: 2000 packets per second
Attack direction: outgoing
Attack protocol: tcp
Total incoming traffic: 2 mbps
Total outgoing traffic: 102 mbps
Total incoming pps: 1 packets per second
Total outgoing pps: 101 packets per second
Total incoming flows: 3 flows per second
Total outgoing flows: 103 flows per second
Average incoming traffic: 2 mbps
Average outgoing traffic: 102 mbps
Average incoming pps: 1 packets per second
Average outgoing pps: 101 packets per second
Average incoming flows: 3 flows per second
Average outgoing flows: 103 flows per second
Incoming ip fragmented traffic: 13 mbps
Outgoing ip fragmented traffic: 113 mbps
Incoming ip fragmented pps: 12 packets per second
Outgoing ip fragmented pps: 112 packets per second
Incoming tcp traffic: 5 mbps
Outgoing tcp traffic: 105 mbps
Incoming tcp pps: 4 packets per second
Outgoing tcp pps: 104 packets per second
Incoming syn tcp traffic: 11 mbps
Outgoing syn tcp traffic: 111 mbps
Incoming syn tcp pps: 10 packets per second
Outgoing syn tcp pps: 110 packets per second
Incoming udp traffic: 7 mbps
Outgoing udp traffic: 107 mbps
Incoming udp pps: 6 packets per second
Outgoing udp pps: 106 packets per second
Incoming icmp traffic: 9 mbps
Outgoing icmp traffic: 109 mbps
Incoming icmp pps: 8 packets per second
Outgoing icmp pps: 108 packets per second

Average packet size for incoming traffic: 190789.5 bytes 
Average packet size for outgoing traffic: 126226.7 bytes 
`
	if got := Report(&inc); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := Text(Event{Action: Unban, Incident: inc}, time.UTC); got != "" {
		t.Errorf("unban: %q", got)
	}
	inc.Target = rule.Target{Group: "web"}
	if got := Report(&inc); !strings.HasPrefix(got, "Hostgroup: web\nAttack type") {
		t.Errorf("%q", got[:40])
	}
}

func TestPacketLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2015, 1, 1, 12, 0, 0, 123456789, time.UTC)
	v4 := Packet{Time: at, Src: netip.MustParseAddr("1.2.3.4"), Dst: netip.MustParseAddr("10.10.10.221"), SrcPort: 1024, DstPort: 80, Proto: 6, TCPFlags: wire.FlagSYN, TTL: 64, Length: 60}
	v6 := v4
	v6.Src, v6.Dst, v6.Proto, v6.SrcPort, v6.DstPort, v6.Fragment, v6.SampleRate = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), 58, 0, 0, true, 512
	v6.Time = time.Time{}
	odd := v4
	odd.Proto, odd.TCPFlags = 253, 0xff
	all := v4
	all.TCPFlags = 0xff
	none := v4
	none.TCPFlags = 0
	for _, tt := range []struct {
		p    Packet
		want string
	}{
		{v4, "2015-01-01 12:00:00.123456 1.2.3.4:1024 > 10.10.10.221:80 protocol: tcp flags: syn frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n"},
		{v6, "2026-01-02 04:04:05.000000 2001:db8::1:0 > 2001:db8::2:0 protocol: ipv6-icmp frag: 1  packets: 1 size: 60 bytes ttl: 64 sample ratio: 512  \n"},
		{odd, "2015-01-01 12:00:00.123456 1.2.3.4:1024 > 10.10.10.221:80 protocol: 253 frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n"},
		{all, "2015-01-01 12:00:00.123456 1.2.3.4:1024 > 10.10.10.221:80 protocol: tcp flags: fin,syn,rst,psh,ack,urg frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n"},
		{none, "2015-01-01 12:00:00.123456 1.2.3.4:1024 > 10.10.10.221:80 protocol: tcp flags: - frag: 0  packets: 1 size: 60 bytes ttl: 64 sample ratio: 1  \n"},
	} {
		var b strings.Builder
		packetLine(&b, &tt.p, time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", -3600)), time.UTC)
		if b.String() != tt.want {
			t.Errorf("got  %qwant %q", b.String(), tt.want)
		}
	}
}

func TestFromTransition(t *testing.T) {
	t.Parallel()
	const none = ""
	want := map[[2]incident.State]Action{
		{incident.Clear, incident.Active}: Ban, {incident.Suspect, incident.Active}: Ban, {incident.Cooling, incident.Active}: none,
		{incident.Clear, incident.Suspect}: none, {incident.Suspect, incident.Clear}: none, {incident.Active, incident.Cooling}: none,
		{incident.Active, incident.Clear}: Unban, {incident.Cooling, incident.Clear}: Unban,
	}
	for states, action := range want {
		in := incident.Transition{Incident: udpFlood("2001:db8::7", 1), From: states[0], To: states[1], At: time.Unix(7, 0), Cause: "why"}
		e, ok := FromTransition(in)
		if ok != (action != none) || e.Action != action {
			t.Errorf("%v to %v: %v %v, want %q", states[0], states[1], e.Action, ok, action)
		}
		if ok && (e.Incident.ID != "i1" || !e.At.Equal(in.At) || e.Cause != "why") {
			t.Errorf("%+v", e)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for key, change := range map[string]func(*Config){
		"script": func(c *Config) { c.Script = "notify.sh" }, "script_timeout": func(c *Config) { c.ScriptTimeout = 0 },
		"script_queue": func(c *Config) { c.ScriptQueue = 0 }, "script_parallel": func(c *Config) { c.ScriptParallel = 65 },
		"attack_folder": func(c *Config) { c.AttackFolder = "/var/../x" }, "attack_files": func(c *Config) { c.AttackFiles = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"10.0.0.11", "2001:db8::55"} {
		cfg := DefaultConfig()
		cfg.AttackFolder = filepath.Join(t.TempDir(), "made", "on demand")
		f, err := NewFolder(cfg, time.UTC, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f.Start()
		ban := Event{Action: Ban, Incident: udpFlood(host, 96969)}
		details := Details(ban.Incident, ban.Incident.Start, []Packet{{Src: netip.MustParseAddr(host), Dst: netip.MustParseAddr(host)}})
		for _, e := range []Event{ban, details, {Action: Unban, Incident: ban.Incident}} {
			if !f.Notify(e) {
				t.Fatalf("%s dropped", e.Action)
			}
		}
		f.Stop()
		f.Stop()
		path := filepath.Join(cfg.AttackFolder, host+"_21_11_26_21:41:39.txt")
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := Text(ban, time.UTC) + "\n\n" + Text(details, time.UTC) + "\n\n"; string(got) != want {
			t.Errorf("got %q", got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		if s := f.Stats(); s != (FolderStats{Written: 2}) {
			t.Errorf("%+v", s)
		}
		if f.Notify(ban) || f.Stats().Dropped != 1 {
			t.Error("an event after Stop was not counted as dropped")
		}
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.AttackFolder = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(cfg.AttackFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := NewFolder(cfg, time.UTC, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	f.Notify(Event{Action: Ban, Incident: udpFlood("10.0.0.11", 1)})
	f.Stop()
	if s := f.Stats(); s.Failed != 1 || !strings.Contains(s.Err, "attack folder") {
		t.Errorf("%+v", s)
	}
}

func TestFolderKeepsTheNewest(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.AttackFolder, cfg.AttackFiles = t.TempDir(), 3
	for i := range 10 {
		name := filepath.Join(cfg.AttackFolder, fmt.Sprintf("10.0.0.%d_old.txt", i))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(cfg.AttackFolder, "notes.md")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := NewFolder(cfg, time.UTC, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	f.Notify(Event{Action: Ban, Incident: udpFlood("2001:db8::7", 1)})
	f.Stop()
	left, _ := filepath.Glob(filepath.Join(cfg.AttackFolder, "*"))
	var names []string
	for _, p := range left {
		names = append(names, filepath.Base(p))
	}
	if got := strings.Join(names, " "); got != "10.0.0.8_old.txt 10.0.0.9_old.txt 2001:db8::7_21_11_26_21:41:39.txt notes.md" || f.Stats().Removed != 8 {
		t.Errorf("%s, %+v", got, f.Stats())
	}
}

func TestFileNameOfAGroup(t *testing.T) {
	t.Parallel()
	inc := udpFlood("10.0.0.1", 1)
	inc.Target = rule.Target{Group: "../../etc/x y"}
	if got := FileName(&inc, time.UTC); got != "hostgroup_______etc_x_y_21_11_26_21:41:39.txt" {
		t.Error(got)
	}
}
