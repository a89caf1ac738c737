package api

import (
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/version"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/dataplane/port"
)

// Bounds of a list.
const (
	defaultHosts = 100 // FastNetMon's api_host_counters_max_hosts_in_response
	maxHosts     = 10000
)

// shows are the nouns of GET. A noun may have _v4 or _v6 behind it where addresses are listed.
var shows map[string]func(*Server, *request, Family) (envelope, error)

func init() { // not a literal: the list of nouns itself is shown
	shows = map[string]func(*Server, *request, Family) (envelope, error){
		"total_traffic_counters":   (*Server).showTotals,
		"network_counters":         (*Server).showNetworks,
		"host_counters":            (*Server).showHosts,
		"single_host_counters":     (*Server).showHost,
		"hostgroup_counters":       (*Server).showHostgroups,
		"hostgroup_counters_total": (*Server).showHostgroups,
		"ip_hostgroup":             (*Server).showMembership,
		"system_counters":          (*Server).showSystem,
		"blackhole":                (*Server).showBlackholes,
		"flowspec":                 (*Server).showFlowSpec,
		"mitigations":              (*Server).showMitigations,
		"refusals":                 (*Server).showRefusals,
		"incidents":                (*Server).showIncidents,
		"bgp_peers":                (*Server).showPeers,
		"interfaces":               (*Server).showPorts,
		"kill_switch":              (*Server).showKillSwitch,

		"exporters":                   (*Server).showExporters,
		"exporter_interfaces":         (*Server).showExporterInterfaces,
		"flow_sockets":                (*Server).showFlowSockets,
		"flow_filter":                 (*Server).showFlowFilter,
		"netflow_sampling_rates":      showRates("netflow"),
		"ipfix_sampling_rates":        showRates("ipfix"),
		"sflow_sampling_rates":        showRates("sflow"),
		"netflow5_packets_per_device": showDevices("netflow5"),
		"netflow9_packets_per_device": showDevices("netflow9"),
		"ipfix_packets_per_device":    showDevices("ipfix"),
		"sflow_packets_per_device":    showDevices("sflow"),

		"history": (*Server).showHistory,
		"diff":    (*Server).showDiff,
		"export":  (*Server).showExport,
		"version": (*Server).showVersion,
		"rights":  (*Server).showRights,
		"nouns":   (*Server).showNouns,
		"keys":    (*Server).showKeys,
	}
}

func (s *Server) get(q *request) (envelope, error) {
	noun := q.words[0]
	if c, ok := categories[noun]; ok {
		return s.showConfig(q, c)
	}
	if f, ok := shows[noun]; ok {
		return f(s, q, AnyFamily)
	}
	for suffix, family := range map[string]Family{"_v4": IPv4, "_v6": IPv6} {
		if base, ok := strings.CutSuffix(noun, suffix); ok && strings.HasSuffix(base, "_counters") && shows[base] != nil {
			return shows[base](s, q, family)
		}
	}
	return envelope{}, fail(http.StatusNotFound, "there is nothing called %q to show%s", noun, orNear(noun, nouns()))
}

func nouns() []string {
	var out []string
	for n := range categories {
		out = append(out, n)
	}
	for n := range shows {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// TrafficCounter is one line of total_traffic_counters, in FastNetMon's form.
type TrafficCounter struct {
	Name  string  `json:"counter_name"`
	Value float64 `json:"value"`
	// Unit is pps, mbps or flows.
	Unit string `json:"unit"`
}

func (s *Server) showTotals(q *request, f Family) (envelope, error) {
	if err := q.want(1, 1, "show total_traffic_counters"); err != nil {
		return envelope{}, err
	}
	t, err := s.deps.Runtime.Totals(f)
	if err != nil {
		return envelope{}, err
	}
	var out []TrafficCounter
	for _, d := range []struct {
		name string
		r    *Rates
	}{{"incoming", &t.Incoming}, {"outgoing", &t.Outgoing}, {"internal", &t.Internal}, {"other", &t.Other}} {
		for _, c := range []struct {
			name string
			rate Rate
		}{
			{"traffic", d.r.Total},
			{"tcp", d.r.TCP},
			{"tcp_syn", d.r.TCPSYN},
			{"udp", d.r.UDP},
			{"icmp", d.r.ICMP},
			{"fragments", d.r.Fragments},
			{"other", d.r.Other},
		} {
			name := d.name + " " + c.name
			out = append(out, TrafficCounter{name, math.Round(c.rate.Packets), "pps"}, TrafficCounter{name, mbps(c.rate.Bytes), "mbps"})
			if c.name == "traffic" {
				out = append(out, TrafficCounter{name, math.Round(d.r.Flows), "flows"})
			}
		}
	}
	return list(out), nil
}

// mbps turns bytes/s into Mbit/s (10^6 bits) with two decimals.
func mbps(bytes float64) float64 { return math.Round(bytes*8/1e4) / 100 }

// query reads [packets|bytes|flows] [incoming|outgoing] and the limit.
func (q *request) query(f Family, usage string) (Query, error) {
	out := Query{Order: "packets", Family: f}
	if err := q.want(1, 3, usage); err != nil {
		return out, err
	}
	for _, w := range q.words[1:] {
		switch w {
		case "packets", "bytes", "flows":
			out.Order = w
		case "incoming":
			out.Outgoing = false
		case "outgoing":
			out.Outgoing = true
		default:
			return out, fail(http.StatusBadRequest, "usage: %s", usage)
		}
	}
	var err error
	out.Limit, err = q.number("limit", defaultHosts, maxHosts)
	return out, err
}

// Counters are one target's rates in FastNetMon's form, whole packets, bytes and flows per second, and all of them beside.
type Counters struct {
	// Host, Network or Hostgroup is the target's name, by its kind.
	Host            string `json:"host,omitempty"`
	NetworkName     string `json:"network_name,omitempty"`
	HostgroupName   string `json:"hostgroup_name,omitempty"`
	Hostgroup       string `json:"hostgroup,omitempty"`
	Network         string `json:"network,omitempty"`
	IncomingPackets uint64 `json:"incoming_packets"`
	IncomingBytes   uint64 `json:"incoming_bytes"`
	IncomingFlows   uint64 `json:"incoming_flows"`
	OutgoingPackets uint64 `json:"outgoing_packets"`
	OutgoingBytes   uint64 `json:"outgoing_bytes"`
	OutgoingFlows   uint64 `json:"outgoing_flows"`
	Incoming        Rates  `json:"incoming"`
	Outgoing        Rates  `json:"outgoing"`
}

func counters(t TargetRates) Counters {
	whole := func(v float64) uint64 { return uint64(max(0, math.Round(v))) }
	return Counters{
		Hostgroup: t.Hostgroup, Network: t.Network,
		IncomingPackets: whole(t.Incoming.Total.Packets), IncomingBytes: whole(t.Incoming.Total.Bytes), IncomingFlows: whole(t.Incoming.Flows),
		OutgoingPackets: whole(t.Outgoing.Total.Packets), OutgoingBytes: whole(t.Outgoing.Total.Bytes), OutgoingFlows: whole(t.Outgoing.Flows),
		Incoming: t.Incoming, Outgoing: t.Outgoing,
	}
}

func countersOf(list []TargetRates, name func(*Counters, string)) []Counters {
	out := make([]Counters, len(list))
	for i, t := range list {
		out[i] = counters(t)
		name(&out[i], t.Name)
	}
	return out
}

func (s *Server) showNetworks(q *request, f Family) (envelope, error) {
	query, err := q.query(f, "show network_counters [packets|bytes|flows] [incoming|outgoing]")
	if err != nil {
		return envelope{}, err
	}
	return list(countersOf(s.deps.Runtime.Networks(query), func(c *Counters, n string) { c.NetworkName = n })), nil
}

func (s *Server) showHosts(q *request, f Family) (envelope, error) {
	query, err := q.query(f, "show host_counters [packets|bytes|flows] [incoming|outgoing]")
	if err != nil {
		return envelope{}, err
	}
	return list(countersOf(s.deps.Runtime.Hosts(query), func(c *Counters, n string) { c.Host = n })), nil
}

func (s *Server) showHostgroups(q *request, f Family) (envelope, error) {
	query, err := q.query(f, "show hostgroup_counters [packets|bytes|flows] [incoming|outgoing]")
	if err != nil {
		return envelope{}, err
	}
	return list(countersOf(s.deps.Runtime.Hostgroups(query), func(c *Counters, n string) { c.HostgroupName = n })), nil
}

func (s *Server) showHost(q *request, f Family) (envelope, error) {
	if err := q.want(2, 2, "show single_host_counters IP"); err != nil {
		return envelope{}, err
	}
	a, err := parseAddr(q.words[1])
	if err != nil {
		return envelope{}, err
	}
	if !f.Has(a) {
		return envelope{}, fail(http.StatusBadRequest, "%s is of the other address family", a)
	}
	t, err := s.deps.Runtime.Host(a)
	if err != nil {
		return envelope{}, err
	}
	c := counters(t)
	c.Host = t.Name
	return envelope{Object: c}, nil
}

func (s *Server) showMembership(q *request, _ Family) (envelope, error) {
	if err := q.want(2, 2, "show ip_hostgroup IP"); err != nil {
		return envelope{}, err
	}
	a, err := parseAddr(q.words[1])
	if err != nil {
		return envelope{}, err
	}
	return envelope{Object: s.deps.Runtime.Membership(a)}, nil
}

func (s *Server) showSystem(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 1, "show system_counters"); err != nil {
		return envelope{}, err
	}
	out := slices.Clone(s.deps.Runtime.SystemCounters())
	st := s.Stats()
	out = append(out, []SystemCounter{
		{"api_requests", float64(st.Requests), "requests", "answered by the API since start"},
		{"api_denied", float64(st.Denied), "requests", "refused for lack of rights"},
		{"api_failed", float64(st.Failed), "requests", "answered with an error"},
		{"api_changes", float64(st.Changes), "changes", "done through the API"},
	}...)
	return list(out), nil
}

// Blackhole is one line of show blackhole, in FastNetMon's form.
type Blackhole struct {
	UUID string `json:"uuid"`
	// IP is the prefix: 192.0.2.1/32.
	IP        string `json:"ip"`
	State     string `json:"state"`
	Hostgroup string `json:"hostgroup,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Expires   string `json:"expires,omitempty"`
}

func (s *Server) mitigation(id string) (Mitigation, error) {
	all := s.deps.Runtime.Mitigations()
	i := slices.IndexFunc(all, func(m Mitigation) bool { return m.ID == id })
	if i < 0 {
		return Mitigation{}, fail(http.StatusNotFound, "there is no mitigation %q; `show mitigations` lists them", id)
	}
	return all[i], nil
}

func (s *Server) showBlackholes(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "show blackhole [UUID]"); err != nil {
		return envelope{}, err
	}
	if id := q.word(1); id != "" {
		m, err := s.mitigation(id)
		return envelope{Object: m}, err
	}
	var out []Blackhole
	for _, m := range s.deps.Runtime.Mitigations() {
		if m.Kind == mitigate.Blackhole {
			out = append(out, Blackhole{
				UUID: m.ID, IP: m.Prefix.String(), State: m.State, Hostgroup: m.Hostgroup, Reason: m.Reason,
				Expires: m.Expires.UTC().Format("2006-01-02T15:04:05Z"),
			})
		}
	}
	return list(out), nil
}

// FlowSpecRule is one line of show flowspec.
type FlowSpecRule struct {
	UUID     string     `json:"uuid"`
	Announce Mitigation `json:"announce"`
}

func (s *Server) showFlowSpec(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "show flowspec [UUID]"); err != nil {
		return envelope{}, err
	}
	if id := q.word(1); id != "" {
		m, err := s.mitigation(id)
		return envelope{Object: m}, err
	}
	var out []FlowSpecRule
	for _, m := range s.deps.Runtime.Mitigations() {
		if m.Kind == mitigate.FlowSpec {
			out = append(out, FlowSpecRule{UUID: m.ID, Announce: m})
		}
	}
	return list(out), nil
}

func (s *Server) showMitigations(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "show mitigations [UUID]"); err != nil {
		return envelope{}, err
	}
	if id := q.word(1); id != "" {
		m, err := s.mitigation(id)
		return envelope{Object: m}, err
	}
	return list(s.deps.Runtime.Mitigations()), nil
}

func (s *Server) showRefusals(q *request, _ Family) (envelope, error) {
	return list(s.deps.Runtime.Refusals()), q.want(1, 1, "show refusals")
}

func (s *Server) showIncidents(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "show incidents [all|ID]"); err != nil {
		return envelope{}, err
	}
	switch w := q.word(1); w {
	case "":
		return list(s.deps.Runtime.Incidents(false)), nil
	case "all":
		return list(s.deps.Runtime.Incidents(true)), nil
	default:
		all := s.deps.Runtime.Incidents(true)
		i := slices.IndexFunc(all, func(x Incident) bool { return x.ID == w })
		if i < 0 {
			return envelope{}, fail(http.StatusNotFound, "there is no incident %q; `show incidents all` lists them", w)
		}
		return envelope{Object: all[i]}, nil
	}
}

func (s *Server) showPeers(q *request, _ Family) (envelope, error) {
	return list(s.deps.Runtime.Peers()), q.want(1, 1, "show bgp_peers")
}

func (s *Server) showPorts(q *request, _ Family) (envelope, error) {
	return list(s.deps.Runtime.Ports()), q.want(1, 1, "show interfaces")
}

func (s *Server) showKillSwitch(q *request, _ Family) (envelope, error) {
	return envelope{Value: s.deps.Runtime.KillSwitch()}, q.want(1, 1, "show kill_switch")
}

func (s *Server) showVersion(q *request, _ Family) (envelope, error) {
	return envelope{Object: map[string]any{"version": version.String(), "drivers": port.Drivers()}}, q.want(1, 1, "show version")
}

func (s *Server) showRights(q *request, _ Family) (envelope, error) {
	may := rightsOf(q.peer, *s.groups.Load())
	return envelope{Object: map[string]any{"user": q.peer.name(), "uid": q.peer.UID, "read": may.read, "change": may.change}}, nil
}

func (s *Server) showNouns(*request, Family) (envelope, error) { return list(nouns()), nil }

func (s *Server) showKeys(*request, Family) (envelope, error) { return list(config.Keys()), nil }
