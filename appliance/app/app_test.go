package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	_ "github.com/weir-ddos/weir/dataplane/port/replay" // the driver of these tests
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// capture writes a scenario and returns the file's name and how many frames it has.
func capture(t *testing.T, name string) (path string, frames uint64) {
	t.Helper()
	s, err := gen.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "capture.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gen.WritePcap(f, s, gen.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return path, r.Packets
}

// bench is one appliance under test.
type bench struct {
	*App
	t   *testing.T
	dir string
	cfg *config.Config
}

// text is a configuration in the test's own directory, with more lines appended.
func (b *bench) text(more ...string) []byte {
	head := fmt.Sprintf("networks: [10.0.0.0/16, 2001:db8::/32]\napi: {socket: %s/api.sock}\njournal: {path: %s/journal.db}\n"+
		"history: {directory: %s/history}\nengine: {reconcile_every: 100ms}\n", b.dir, b.dir, b.dir)
	return []byte(head + strings.Join(more, "\n"))
}

func (b *bench) parse(more ...string) *config.Config {
	b.t.Helper()
	cfg, err := config.Parse("weir.yaml", b.text(more...))
	if err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

func start(t *testing.T, more ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.cfg = b.parse(more...)
	path := filepath.Join(b.dir, "weir.yaml")
	if err := os.WriteFile(path, b.text(more...), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := New(Options{
		Config: b.cfg, Text: b.text(more...), Path: path, Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.App = app
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) apply(more ...string) error {
	next := b.parse(more...)
	err := b.Apply(b.cfg, next)
	if err == nil {
		b.cfg = next
	}
	return err
}

// eventually polls f until it says true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

func replays(path string, speed string) string {
	return fmt.Sprintf("ports: [{driver: replay, device: %s, options: {speed: %s}}]\ntick: 100ms\nworkers: {idle: pause}", path, speed)
}

// TestHotReloadLosesNothing: while a capture plays, networks, hostgroups, limits and the tick change again and again; every
// frame is counted once.
func TestHotReloadLosesNothing(t *testing.T) {
	path, frames := capture(t, "quiet-then-syn")
	b := start(t, replays(path, "60"), "hostgroups: {global: {ban_for_pps: true, threshold_pps: 1000000}}")
	deadline := time.Now().Add(time.Minute)
	for i := 0; b.source.sums().frames < frames; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d frames after %d reloads", b.source.sums().frames, frames, i)
		}
		groups := fmt.Sprintf("hostgroups: {global: {ban_for_pps: true, threshold_pps: %d}, g%d: {networks: [10.0.%d.0/24]}}", 1_000_000+i, i%7, i%200)
		tick := fmt.Sprintf("tick: %dms", 100+i%3*50)
		if err := b.apply(strings.Replace(replays(path, "60"), "tick: 100ms", tick, 1), groups); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // the pace of the test, not a wait
	}
	sums := b.source.sums()
	if sums.frames != frames {
		t.Errorf("counted %d frames, the capture has %d", sums.frames, frames)
	}
	if h := b.engine.View().Health; h.ConservationFaults != 0 || h.Overflowed.Packets != 0 {
		t.Errorf("%+v", h)
	}
}

// TestPortsAreReplaced: a commit that names other ports takes them, and what was counted before stays counted.
func TestPortsAreReplaced(t *testing.T) {
	one, n1 := capture(t, "all-cases")
	two, n2 := capture(t, "quiet-then-udp6")
	b := start(t, replays(one, "max"))
	eventually(t, "end of the first capture", func() bool { return b.source.sums().frames == n1 })
	before := b.plane.Load()
	if err := b.apply(replays(two, "max")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the second capture", func() bool { return b.source.sums().frames == n1+n2 })
	now := b.plane.Load()
	if now == before {
		t.Error("the ports were not replaced")
	}
	if err := b.apply(replays(filepath.Join(b.dir, "missing.pcap"), "max")); err == nil || !strings.Contains(err.Error(), "missing.pcap") {
		t.Errorf("a port that cannot be opened: %v", err)
	}
	if b.plane.Load() != now || b.source.sums().frames != n1+n2 {
		t.Error("the ports that work were touched for one that does not")
	}
	if got := b.config().Ports[0].Device; got != two {
		t.Errorf("the configuration in force names %s", got)
	}
}

// TestPortsComeBack: when neither the new ports nor the old ones could be opened, that is an alarm, and they are tried again.
func TestPortsComeBack(t *testing.T) {
	path, n := capture(t, "all-cases")
	b := start(t, replays(path, "max"))
	eventually(t, "end of the capture", func() bool { return b.source.sums().frames == n })
	b.mu.Lock()
	gone := b.plane.Load()
	if err := gone.stop(); err != nil {
		t.Error(err)
	}
	b.retire(gone)
	b.plane.Store(&dataplane{})
	if alarms := fmt.Sprint(running{b.App}.SystemCounters()); !strings.Contains(alarms, "no port is open") {
		t.Error("no alarm")
	}
	b.mu.Unlock()
	eventually(t, "ports", func() bool { return !b.portless() && b.source.sums().frames == 2*n })
}

func TestRefusedCommitChangesNothing(t *testing.T) {
	path, _ := capture(t, "quiet")
	b := start(t, replays(path, "real"), "hostgroups: {global: {ban_for_pps: true, threshold_pps: 5}}")
	next := b.parse(replays(path, "real"))
	next.Journal.Path = "/elsewhere/journal.db"
	if err := b.Apply(b.cfg, next); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("%v", err)
	}
	if b.config() != b.cfg {
		t.Error("another configuration is in force")
	}
}

// TestRuntime looks at the appliance as the API does.
func TestRuntime(t *testing.T) {
	path, _ := capture(t, "quiet-then-syn6")
	b := start(t, replays(path, "8"), "hostgroups: {global: {ban_for_pps: true, threshold_pps: 20000}}\nguard: {min_hold: 0s}\n"+
		"bans: {ban_time: 10s}\nwhitelist: [10.0.7.0/24]")
	r := running{b.App}
	victim := netip.MustParseAddr("2001:db8::66")
	// Rates first: they end with the capture.
	flooded := func(family api.Family) bool {
		totals, err := r.Totals(family)
		if err != nil {
			t.Error(err)
		}
		return totals.Incoming.TCPSYN.Packets > 20000
	}
	eventually(t, "the victim among the busiest hosts, and in the totals of its family", func() bool {
		if flooded(api.IPv4) {
			t.Fatal("IPv4 is flooded")
		}
		list := r.Hosts(api.Query{Order: "packets", Limit: 5})
		return len(list) > 0 && list[0].Name == victim.String() && list[0].Incoming.TCPSYN.Packets > 20000 && flooded(api.IPv6)
	})
	var inc api.Incident
	eventually(t, "incident", func() bool {
		list := r.Incidents(false)
		if len(list) > 0 {
			inc = list[0]
		}
		return len(list) > 0 && inc.State == "active"
	})
	if inc.Target != victim.String() || inc.Vector != "syn_flood" || inc.Threshold != "threshold_pps" || inc.Value <= inc.Limit || inc.Unit != "pps" {
		t.Errorf("%+v", inc)
	}
	eventually(t, "mitigation", func() bool { return len(r.Mitigations()) == 1 })
	m := r.Mitigations()[0]
	// No router is configured, so nothing is announced.
	if m.Prefix != netip.PrefixFrom(victim, 128) || m.State != "no router" || m.Threshold != "threshold_pps" {
		t.Errorf("%+v", m)
	}
	if h, err := r.Host(victim); err != nil || h.Network != "2001:db8::/32" || h.Hostgroup != "global" {
		t.Errorf("%+v %v", h, err)
	}
	if _, err := r.Host(netip.MustParseAddr("198.51.100.1")); err == nil {
		t.Error("a host outside the networks was found")
	}
	if w := r.Membership(netip.MustParseAddr("10.0.7.9")); !w.Inside || !w.Whitelisted {
		t.Errorf("%+v", w)
	}
	if _, err := r.SetBlackhole(t.Context(), netip.MustParsePrefix("192.0.2.1/32"), 0, api.Actor{}); err == nil {
		t.Error("an address outside the networks was blocked")
	}
	block, err := r.SetBlackhole(t.Context(), netip.MustParsePrefix("10.0.0.9/32"), time.Minute, api.Actor{User: "tester"})
	if err != nil || block.Prefix.String() != "10.0.0.9/32" || !block.Manual {
		t.Errorf("%+v %v", block, err)
	}
	if err := r.Withdraw(t.Context(), block.ID, api.Actor{}); err != nil {
		t.Error(err)
	}
	if err := r.Withdraw(t.Context(), "nonsense", api.Actor{}); err == nil {
		t.Error("an unknown id was withdrawn")
	}
	if err := r.SetKillSwitch(t.Context(), true, api.Actor{UID: 7}); err != nil || len(r.Mitigations()) != 0 || !r.KillSwitch() {
		t.Errorf("%v %v", err, r.Mitigations())
	}
	eventually(t, "what the worker did", func() bool {
		p := r.Ports()
		if len(p) != 1 || len(p[0].Workers) != 1 {
			return false
		}
		w := p[0].Workers[0]
		var gaps uint64
		for _, g := range w.Gaps {
			gaps += g.Count
		}
		return gaps > 0 && w.LongestGap > 0 && w.Busy >= 0 && w.Busy < 1 && w.Idle == "pause" && slices.Equal(w.Queues, []int{0})
	})
	for _, want := range []string{"packets_counted", "total_ipv6_packets", "alarm", "worker_busy_share", "worker_gaps_over_5ms"} {
		if !strings.Contains(fmt.Sprint(r.SystemCounters()), want) {
			t.Errorf("no system counter %s", want)
		}
	}
}

// TestPoliciesFollowParents: what a hostgroup leaves out comes from its parents before it comes from global.
func TestPoliciesFollowParents(t *testing.T) {
	b := &bench{t: t, dir: t.TempDir()}
	cfg := b.parse(replays("x.pcap", "max"), `hostgroups:
  global: {mitigation: blackhole, next_hop_ipv4: 192.0.2.9}
  customers: {networks: [10.0.0.0/17], mitigation: flowspec, flowspec_rate_mbps: 5}
  gold: {networks: [10.0.1.0/24], parent: customers, flowspec_rate_mbps: 7}`)
	p := policies(cfg)
	if g := p["gold"]; g.Mitigation != mitigate.ModeFlowSpec || g.FlowSpecRateMbps != 7 {
		t.Errorf("%+v", g)
	}
	if c := p["customers"]; c.FlowSpecRateMbps != 5 || c.NextHopIPv4.IsValid() {
		t.Errorf("%+v", c)
	}
}

func TestMergeWaitsATenthOfATick(t *testing.T) {
	for tick, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: 20 * time.Millisecond, 500 * time.Millisecond: 50 * time.Millisecond, 10 * time.Second: 100 * time.Millisecond,
	} {
		if got := mergeConfig(&config.Config{Tick: tick}).Wait; got != want {
			t.Errorf("tick %v: waits %v, want %v", tick, got, want)
		}
	}
}
