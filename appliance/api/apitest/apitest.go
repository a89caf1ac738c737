// Package apitest runs an API server on a socket of its own with a fake appliance behind it, for tests of the API and its clients.
package apitest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen"
)

// Start is the time at which the fake appliance's attack began.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Until is when its mitigations end.
var Until = Start.Add(1900 * time.Second)

// Config is what the fake appliance runs with.
const Config = `# the edge
networks: [192.0.2.0/24, 2001:db8::/32]   # ours
ports:
  - {driver: afxdp, device: eth1}

hostgroups:
  # everybody
  global: {ban_for_pps: true, threshold_pps: 20000}
  web:
    networks: [192.0.2.128/25, 2001:db8:80::/48]
    threshold_pps: 5000
bgp:
  asn: 64500
  router_id: 192.0.2.250
  peers:
    - name: edge1
      address: 192.0.2.251
      remote_asn: 64500
      password: geheim
`

// Appliance is a fake appliance with two hosts under attack, one of each family.
type Appliance struct {
	mu          sync.Mutex
	mitigations []api.Mitigation // guarded by mu, as all below
	kill        bool
	// Applied are the configurations that were applied.
	applied []*config.Config
	// Refuse makes the next Apply fail.
	refuse error
	next   int
}

// Running is a server and what it works on.
type Running struct {
	*Appliance
	Server *api.Server
	// Socket and File are the paths of the API's socket and of weir.yaml.
	Socket, File string

	mu      sync.Mutex
	records []api.Record
}

// Run starts a server with text as weir.yaml in a directory of its own; the test's end stops it. Keys api and history are appended.
func Run(tb testing.TB, text string) *Running {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weirapi") // short: a socket's path has at most 107 bytes
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	r := &Running{Appliance: &Appliance{}, Socket: filepath.Join(dir, "api.sock"), File: filepath.Join(dir, "weir.yaml")}
	text += fmt.Sprintf("api: {socket: %s}\nhistory: {directory: %s}\n", r.Socket, filepath.Join(dir, "history"))
	if err := os.WriteFile(r.File, []byte(text), 0o640); err != nil {
		tb.Fatal(err)
	}
	cfg, err := config.Parse(r.File, []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	r.mitigations = []api.Mitigation{
		attack("6c9e2f4e-0000-4000-8000-000000000004", "192.0.2.10/32", "announced"),
		attack("6c9e2f4e-0000-4000-8000-000000000006", "2001:db8::10/128", "announced"),
	}
	r.Server, err = api.New(api.Deps{
		Config: cfg, Text: []byte(text), Path: r.File, Runtime: r.Appliance, Applier: r.Appliance,
		Audit: func(rec api.Record) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.records = append(r.records, rec)
		},
		Now: func() time.Time { return Start },
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Server.Start(context.Background()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Server.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// Records are the audit so far.
func (r *Running) Records() []api.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

func attack(id, prefix, state string) api.Mitigation {
	return api.Mitigation{
		Mitigation: mitigate.Mitigation{
			ID: id, Kind: mitigate.Blackhole, Prefix: netip.MustParsePrefix(prefix), Hostgroup: "global",
			Reason: "threshold_pps: 50000 pps is over 20000 pps", Created: Start, Expires: Until,
		},
		State: state, Threshold: "threshold_pps", Direction: "incoming", Network: "192.0.2.0/24",
	}
}

// Apply records the configuration, or refuses once when told so.
func (a *Appliance) Apply(_, next *config.Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refuse; err != nil {
		a.refuse = nil
		return err
	}
	a.applied = append(a.applied, next)
	return nil
}

// Refuse makes the next Apply fail with err.
func (a *Appliance) Refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = err
}

// Applied are the configurations that were applied.
func (a *Appliance) Applied() []*config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.applied)
}

func rates(pps float64) api.Rates {
	r := api.Rate{Packets: pps, Bytes: pps * 100}
	return api.Rates{Total: r, UDP: r, Flows: pps / 10}
}

// Totals implements api.Runtime.
func (a *Appliance) Totals(f api.Family) (api.Totals, error) {
	return api.Totals{Incoming: rates(100000 / float64(1+f)), Outgoing: rates(2000)}, nil
}

func pick(list []api.TargetRates, q api.Query) []api.TargetRates {
	list = slices.DeleteFunc(list, func(t api.TargetRates) bool {
		if p, err := netip.ParsePrefix(t.Name); err == nil {
			return !q.Family.Has(p.Addr())
		}
		a, err := netip.ParseAddr(t.Name)
		return err == nil && !q.Family.Has(a)
	})
	slices.SortFunc(list, func(x, y api.TargetRates) int {
		if q.Less(&x, &y) {
			return -1
		}
		return 1
	})
	return list[:min(len(list), q.Limit)]
}

func hosts() []api.TargetRates {
	return []api.TargetRates{
		{Name: "192.0.2.10", Network: "192.0.2.0/24", Hostgroup: "global", Incoming: rates(50000), Outgoing: rates(10)},
		{Name: "192.0.2.200", Network: "192.0.2.0/24", Hostgroup: "web", Incoming: rates(100), Outgoing: rates(1500)},
		{Name: "2001:db8::10", Network: "2001:db8::/32", Hostgroup: "global", Incoming: rates(40000), Outgoing: rates(20)},
	}
}

// Networks implements api.Runtime.
func (a *Appliance) Networks(q api.Query) []api.TargetRates {
	return pick([]api.TargetRates{
		{Name: "192.0.2.0/24", Incoming: rates(50100), Outgoing: rates(1510)},
		{Name: "2001:db8::/32", Incoming: rates(40000), Outgoing: rates(20)},
	}, q)
}

// Hosts implements api.Runtime.
func (a *Appliance) Hosts(q api.Query) []api.TargetRates { return pick(hosts(), q) }

// Hostgroups implements api.Runtime.
func (a *Appliance) Hostgroups(q api.Query) []api.TargetRates {
	return pick([]api.TargetRates{{Name: "global", Incoming: rates(90000)}, {Name: "web", Incoming: rates(100), Outgoing: rates(1500)}}, q)
}

// Host implements api.Runtime.
func (a *Appliance) Host(ip netip.Addr) (api.TargetRates, error) {
	if !a.Membership(ip).Inside {
		return api.TargetRates{}, fmt.Errorf("%s: %w: it is outside the configured networks", ip, api.ErrNotFound)
	}
	for _, h := range hosts() {
		if h.Name == ip.String() {
			return h, nil
		}
	}
	return api.TargetRates{Name: ip.String()}, nil
}

// Membership implements api.Runtime.
func (a *Appliance) Membership(ip netip.Addr) api.Membership {
	m := api.Membership{IP: ip.String()}
	for _, n := range []string{"192.0.2.0/24", "2001:db8::/32"} {
		if netip.MustParsePrefix(n).Contains(ip) {
			m.Inside, m.Network, m.Hostgroup = true, n, "global"
		}
	}
	return m
}

// SystemCounters implements api.Runtime.
func (a *Appliance) SystemCounters() []api.SystemCounter {
	return []api.SystemCounter{{Name: "packets_received", Value: 123456789, Unit: "packets", Description: "since start"}}
}

// Incidents implements api.Runtime.
func (a *Appliance) Incidents(all bool) []api.Incident {
	out := []api.Incident{{
		ID: "inc-4", Target: "192.0.2.10", Direction: "incoming", Hostgroup: "global", Network: "192.0.2.0/24", State: "active",
		Vector: "udp_flood", Protocol: "udp", Threshold: "threshold_pps", Limit: 20000, Value: 50000, Unit: "pps", InitialPPS: 50000,
		PeakPPS: 51234, Start: Start, LastBreach: Start.Add(time.Minute), Until: Until,
	}}
	if all {
		out = append(out, api.Incident{
			ID: "inc-6", Target: "2001:db8::10", Direction: "outgoing", Hostgroup: "global", State: "clear", Vector: "syn_flood",
			Threshold: "threshold_tcp_syn_pps_outgoing", Limit: 1000, Value: 3000, Unit: "pps", Start: Start.Add(-time.Hour), End: Start.Add(-time.Minute),
		})
	}
	return out
}

// Mitigations implements api.Runtime.
func (a *Appliance) Mitigations() []api.Mitigation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.mitigations)
}

// Refusals implements api.Runtime.
func (a *Appliance) Refusals() []api.Refusal {
	return []api.Refusal{{Target: "192.0.2.53", Reason: "is whitelisted"}}
}

// SetBlackhole implements api.Runtime: only hosts of the networks are taken.
func (a *Appliance) SetBlackhole(_ context.Context, p netip.Prefix, d time.Duration, _ api.Actor) (api.Mitigation, error) {
	if !a.Membership(p.Addr()).Inside {
		return api.Mitigation{}, fmt.Errorf("%s: %w: it is outside the configured networks", p, api.ErrRefused)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	m := attack(fmt.Sprintf("00000000-0000-4000-8000-%012d", a.next), p.String(), "pending")
	m.Manual, m.Reason, m.Threshold = true, "set by hand", ""
	if d > 0 {
		m.Expires = Start.Add(d)
	}
	a.mitigations = append(a.mitigations, m)
	return m, nil
}

// Withdraw implements api.Runtime.
func (a *Appliance) Withdraw(_ context.Context, id string, _ api.Actor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.mitigations, func(m api.Mitigation) bool { return m.ID == id })
	if i < 0 {
		return fmt.Errorf("mitigation %q: %w", id, api.ErrNotFound)
	}
	a.mitigations = slices.Delete(a.mitigations, i, i+1)
	return nil
}

// KillSwitch implements api.Runtime.
func (a *Appliance) KillSwitch() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kill
}

// SetKillSwitch implements api.Runtime.
func (a *Appliance) SetKillSwitch(_ context.Context, on bool, _ api.Actor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kill = on
	return nil
}

// Peers implements api.Runtime.
func (a *Appliance) Peers() []mitigate.PeerStatus {
	return []mitigate.PeerStatus{{
		Name: "edge1", Address: "192.0.2.251", ASN: 64500, State: "established", Since: Start, Families: []string{"ipv4-unicast", "ipv6-unicast"},
	}}
}

// Exporters implements api.Flows: an IPv4 and an IPv6 router.
func (a *Appliance) Exporters() []collector.ExporterStats {
	return []collector.ExporterStats{
		{
			Address: netip.MustParseAddr("192.0.2.251"), Name: "edge1", Datagrams: map[string]uint64{"netflow9": 70, "netflow5": 5}, Records: 900,
			SamplingRate: 1000, SamplingFrom: "domain", FirstSeen: Start, LastSeen: Start.Add(time.Minute), Lost: map[string]uint64{"netflow9": 2}, Lossy: true,
		},
		{
			Address: netip.MustParseAddr("2001:db8::251"), Datagrams: map[string]uint64{"ipfix": 40, "sflow5": 30}, Records: 800,
			SamplingFrom: "unknown", UnknownRate: 800, FirstSeen: Start, LastSeen: Start, EffectiveRate: 640, RateOff: true,
			Sources: []collector.Source{{Agent: netip.MustParseAddr("2001:db8::251"), Index: 7, Announced: 512, Effective: 640, Taken: 5000, Dropped: 1000}},
		},
	}
}

// FlowInterfaces implements api.Flows.
func (a *Appliance) FlowInterfaces() []collector.InterfaceStats {
	agent := netip.MustParseAddr("2001:db8::251")
	return []collector.InterfaceStats{{
		Exporter: agent, Agent: agent, Index: 7, Type: 6, Speed: 10e9, AdminUp: true, OperUp: true, Interval: 20 * time.Second, Reported: Start,
		In:  collector.InterfaceCounters{Bytes: 5e12, Packets: 4e9, Discards: 3, Errors: 2, BitsPerSecond: 2.5e9, PacketsPerSecond: 312500, DiscardsPerSecond: 1.5},
		Out: collector.InterfaceCounters{Bytes: 1e12, Packets: 1e9, BitsPerSecond: 5e8, PacketsPerSecond: 62500},
	}}
}

// SamplingRates implements api.Flows.
func (a *Appliance) SamplingRates() []collector.Rate {
	return []collector.Rate{
		{Exporter: netip.MustParseAddr("192.0.2.251"), Protocol: "netflow9", Scope: "domain", Rate: 1000},
		{Exporter: netip.MustParseAddr("2001:db8::251"), Protocol: "ipfix", Domain: 3, Scope: "selector", ID: 1, Rate: 256},
		{Exporter: netip.MustParseAddr("2001:db8::251"), Protocol: "sflow5", Scope: "record", Rate: 512},
	}
}

// FlowFilter implements api.Flows.
func (a *Appliance) FlowFilter() filter.Stats {
	return filter.Stats{Records: 10, Dropped: 4, Unmatched: 6, Rules: []filter.RuleStats{{Rule: "drop udp and port 53", Records: 4}}}
}

// FlowSockets implements api.Flows.
func (a *Appliance) FlowSockets() []listen.SocketStats {
	return []listen.SocketStats{{Address: netip.MustParseAddrPort("[::]:2055"), Datagrams: 145, Bytes: 145000, Dropped: 3, Buffer: 32 << 20}}
}

// Ports implements api.Runtime.
func (a *Appliance) Ports() []api.Port {
	return []api.Port{{
		Stats: port.Stats{
			Device: "eth1", Driver: "afxdp", Mode: "native, copy", Queues: []port.QueueStats{{Received: 10, Bytes: 1000, Dropped: 1}, {Received: 20, Bytes: 2000}},
			Extra: map[string]uint64{"rx_ring_full": 1, "rx_invalid_descs": 0},
		},
		PacketsPerSecond: 100000, BytesPerSecond: 1e7,
		Link: &api.Link{State: "up", Mbps: 10000, MTU: 1500, Address: "02:00:00:00:00:01", Driver: "ixgbe"},
		Workers: []api.Worker{
			{
				Name: "eth1/0", Queues: []int{0}, CPU: 3, Node: 0, Idle: "spin", Busy: 0.25, LongestGap: 0.0061, Memory: 1 << 30, KeepsTurn: true,
				Gaps: []api.Gap{{Below: 9.8e-6, Count: 1000000}, {Below: 19.5e-6, Count: 2000}, {Below: 5.001e-3, Count: 3}, {Below: 10e-3, Count: 1}, {}},
			},
			{Name: "eth1/1", Queues: []int{1}, CPU: -1, Node: -1, Idle: "sleep"},
		},
	}}
}
