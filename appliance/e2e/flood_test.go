package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// victim is one attacked host: the flood on it, and what must become of it.
type victim struct {
	kind, target string
	pps          float64
	outgoing     bool
	// threshold and vector are the reason in the incident; of several thresholds separated by "|" one.
	threshold, vector string
	// group is global when empty.
	group string
	// routes are what both routers must show; none for victims that are reported only.
	routes []string
	// bird and frr are Flow Spec rules, which each router writes in its own words.
	bird, frr string
}

// floodConfig has a hostgroup for each way of mitigation.
const floodConfig = `
tick: 100ms
bans: {ban_time: 4s, quiet: 3s}
guard: {min_hold: 1s, max_new_per_minute: 1000}
whitelist: [10.0.60.1/32, "2001:db8:60::1/128"]
hostgroups:
  global:
    ban_for_tcp_syn_pps: true
    threshold_tcp_syn_pps: 300
    ban_for_udp_pps: true
    threshold_udp_pps: 300
    ban_for_icmp_pps: true
    threshold_icmp_pps: 300
    ban_for_udp_pps_outgoing: true
    threshold_udp_pps_outgoing: 300
    ban_for_tcp_syn_pps_outgoing: true
    threshold_tcp_syn_pps_outgoing: 300
  fragments: # only these limits, so that the reason is certain
    networks: [10.0.2.0/24, "2001:db8:2::/48"]
    ban_for_udp_pps: false
    ban_for_ip_fragments_pps: true
    threshold_ip_fragments_pps: 300
  bandwidth:
    networks: [10.0.3.0/24, "2001:db8:3::/48"]
    ban_for_udp_pps: false
    ban_for_udp_bandwidth: true
    threshold_udp_mbps: 1
  connections:
    networks: [10.0.4.0/24, "2001:db8:4::/48"]
    ban_for_udp_pps: false
    ban_for_flows: true
    threshold_flows: 300
  web:
    networks: [10.0.10.0/24, "2001:db8:10::/48"]
    next_hop_ipv4: 192.0.2.66
    next_hop_ipv6: 100::66
    communities_host: ["64512:99", "64512:1:7"]
  scrub:
    networks: [10.0.20.0/23, "2001:db8:20::/47"]
    announce_subnet: true
    communities_subnet: ["64512:20"]
    next_hop_subnet_ipv4: 192.0.2.77
    next_hop_subnet_ipv6: 100::77
  flow:
    networks: [10.0.30.0/24, "2001:db8:30::/48"]
    mitigation: flowspec
  limit:
    networks: [10.0.31.0/24, "2001:db8:31::/48"]
    parent: flow
    flowspec_action: rate-limit
    flowspec_rate_mbps: 8
  flowfragments:
    networks: [10.0.32.0/24, "2001:db8:32::/48"]
    parent: flow
    ban_for_udp_pps: false
    ban_for_ip_fragments_pps: true
    threshold_ip_fragments_pps: 300
  dry:
    networks: [10.0.40.0/24, "2001:db8:40::/48"]
    dry_run: true
  report:
    networks: [10.0.50.0/24, "2001:db8:50::/48"]
    mitigation: none
`

// victims lists the attacks: every kind of flood of the issue in both families, and every way of mitigation.
func victims() (list []victim) {
	both := func(v victim, v4, v6 string) {
		for _, a := range []string{v4, v6} {
			v.target, v.routes = a, blackholes(a)
			list = append(list, v)
		}
	}
	both(victim{kind: "syn", threshold: "threshold_tcp_syn_pps", vector: "syn_flood"}, "10.0.1.1", "2001:db8:1::1")
	both(victim{kind: "udp", threshold: "threshold_udp_pps", vector: "udp_flood"}, "10.0.1.2", "2001:db8:1::2")
	both(victim{kind: "icmp", threshold: "threshold_icmp_pps", vector: "icmp_flood"}, "10.0.1.3", "2001:db8:1::3")
	both(victim{kind: "ntp_amp", threshold: "threshold_udp_pps", vector: "udp_flood"}, "10.0.1.4", "2001:db8:1::4")
	both(victim{kind: "udp", outgoing: true, threshold: "threshold_udp_pps_outgoing", vector: "udp_flood"}, "10.0.1.5", "2001:db8:1::5")
	both(victim{kind: "syn", outgoing: true, threshold: "threshold_tcp_syn_pps_outgoing", vector: "syn_flood"}, "10.0.1.6", "2001:db8:1::6")
	both(victim{kind: "frag_later", group: "fragments", threshold: "threshold_ip_fragments_pps", vector: "ip_fragmentation"}, "10.0.2.1", "2001:db8:2::1")
	both(victim{kind: "dns_amp", pps: 400, group: "bandwidth", threshold: "threshold_udp_mbps", vector: "udp_flood"}, "10.0.3.1", "2001:db8:3::1")
	both(victim{kind: "udp", group: "connections", threshold: "threshold_flows", vector: "udp_flood"}, "10.0.4.1", "2001:db8:4::1")
	return slices.Concat(list, policyVictims(), flowVictims())
}

// flowVictims are attacks that become Flow Spec rules.
func flowVictims() []victim {
	syn := victim{kind: "syn", group: "flow", threshold: "threshold_tcp_syn_pps", vector: "syn_flood"}
	udp := victim{kind: "udp", group: "flow", threshold: "threshold_udp_pps", vector: "udp_flood"}
	icmp := victim{kind: "icmp", group: "flow", threshold: "threshold_icmp_pps", vector: "icmp_flood"}
	out := victim{kind: "udp", group: "flow", outgoing: true, threshold: "threshold_udp_pps_outgoing", vector: "udp_flood"}
	limit := victim{kind: "udp", group: "limit", threshold: "threshold_udp_pps", vector: "udp_flood"}
	frag := victim{kind: "frag_later", group: "flowfragments", threshold: "threshold_ip_fragments_pps", vector: "ip_fragmentation"}
	rule := func(v victim, target, bird, frr string) victim {
		v.target, v.bird, v.frr = target, bird, frr
		return v
	}
	return []victim{
		rule(udp, "10.0.30.1", "flow4 { dst 10.0.30.1/32; proto 17; }"+birdDiscard,
			"Destination Address 10.0.30.1/32 IP Protocol = 17"+frrDiscard),
		rule(udp, "2001:db8:30::1", "flow6 { dst 2001:db8:30::1/128; next header 17; }"+birdDiscard,
			"Destination Address 2001:db8:30::1/128/off 0 IP Protocol = 17"+frrDiscard),
		rule(syn, "10.0.30.2", "flow4 { dst 10.0.30.2/32; proto 6; tcp flags 0x2/0x2 && 0x0/0x10; }"+birdDiscard,
			"Destination Address 10.0.30.2/32 IP Protocol = 6 TCP Flags = 2,&∋ ! 16"+frrDiscard),
		rule(syn, "2001:db8:30::2", "flow6 { dst 2001:db8:30::2/128; next header 6; tcp flags 0x2/0x2 && 0x0/0x10; }"+birdDiscard,
			"Destination Address 2001:db8:30::2/128/off 0 IP Protocol = 6 TCP Flags = 2,&∋ ! 16"+frrDiscard),
		rule(icmp, "10.0.30.3", "flow4 { dst 10.0.30.3/32; proto 1; }"+birdDiscard,
			"Destination Address 10.0.30.3/32 IP Protocol = 1"+frrDiscard),
		rule(icmp, "2001:db8:30::3", "flow6 { dst 2001:db8:30::3/128; next header 58; }"+birdDiscard,
			"Destination Address 2001:db8:30::3/128/off 0 IP Protocol = 58"+frrDiscard),
		rule(out, "10.0.30.4", "flow4 { src 10.0.30.4/32; proto 17; }"+birdDiscard,
			"Source Address 10.0.30.4/32 IP Protocol = 17"+frrDiscard),
		rule(out, "2001:db8:30::4", "flow6 { src 2001:db8:30::4/128; next header 17; }"+birdDiscard,
			"Source Address 2001:db8:30::4/128/off 0 IP Protocol = 17"+frrDiscard),
		rule(limit, "10.0.31.1", "flow4 { dst 10.0.31.1/32; proto 17; }"+birdLimit,
			"Destination Address 10.0.31.1/32 IP Protocol = 17"+frrLimit),
		rule(limit, "2001:db8:31::1", "flow6 { dst 2001:db8:31::1/128; next header 17; }"+birdLimit,
			"Destination Address 2001:db8:31::1/128/off 0 IP Protocol = 17"+frrLimit),
		rule(frag, "10.0.32.1", "flow4 { dst 10.0.32.1/32; fragment !!is_fragment || !!first_fragment; }"+birdDiscard,
			"Destination Address 10.0.32.1/32 Packet Fragment ∋ 2,|∋ 4"+frrDiscard),
		rule(frag, "2001:db8:32::1", "flow6 { dst 2001:db8:32::1/128; fragment !!is_fragment || !!first_fragment; }"+birdDiscard,
			"Destination Address 2001:db8:32::1/128/off 0 Packet Fragment ∋ 2,|∋ 4"+frrDiscard),
	}
}

// What the routers show of the actions: the traffic-rate communities of RFC 8955, with the rate in bytes/s as a float.
const (
	birdDiscard = " => (generic, 0x80060000, 0x0)"
	birdLimit   = " => (generic, 0x80060000, 0x49742400)" // 1,000,000
	frrDiscard  = " => rate 0.000000"
	frrLimit    = " => rate 1000000.000000"
)

// policyVictims have a hostgroup with a policy of its own.
func policyVictims() []victim {
	host4 := func(a string) string { return unicast(a+"/32", "192.0.2.1", "65535:65281", "65535:666") }
	host6 := func(a string) string { return unicast(a+"/128", "100::1", "65535:65281", "65535:666") }
	list := []victim{
		{kind: "udp", target: "10.0.10.1", group: "web", routes: []string{unicast("10.0.10.1/32", "192.0.2.66", "64512:99", "64512:1:7")}},
		{kind: "udp", target: "2001:db8:10::1", group: "web", routes: []string{unicast("2001:db8:10::1/128", "100::66", "64512:99", "64512:1:7")}},
		{kind: "udp", target: "10.0.21.1", group: "scrub", routes: []string{host4("10.0.21.1"), unicast("10.0.21.0/24", "192.0.2.77", "64512:20")}},
		{kind: "udp", target: "2001:db8:21::1", group: "scrub", routes: []string{host6("2001:db8:21::1"), unicast("2001:db8:21::/48", "100::77", "64512:20")}},
		{kind: "udp", target: "10.0.40.1", group: "dry"},
		{kind: "udp", target: "2001:db8:40::1", group: "dry"},
		{kind: "udp", target: "10.0.50.1", group: "report"},
		{kind: "udp", target: "2001:db8:50::1", group: "report"},
		{kind: "udp", target: "10.0.60.1"},
		{kind: "udp", target: "2001:db8:60::1"},
	}
	for i := range list {
		list[i].threshold, list[i].vector = "threshold_udp_pps", "udp_flood"
	}
	return list
}

// scenario has all floods at once, and innocents in both families.
func scenario(list []victim) gen.Scenario {
	s := gen.Scenario{Seed: 7, Background: 300, Length: long}
	for _, v := range list {
		pps := v.pps
		if pps == 0 {
			pps = 1000
		}
		s.Streams = append(s.Streams, gen.Stream{Kind: v.kind, Target: v.target, PPS: pps, Outgoing: v.outgoing, Duration: long})
	}
	return s
}

// TestFloods is the main job, whole: frames in by AF_XDP, routes out to BIRD and FRR at once. Every kind of flood of the issue,
// IPv4 and IPv6, becomes exactly the routes that its hostgroup's policy says, for the right reason; no innocent is touched;
// and when the attack is over every route is withdrawn at both routers.
func TestFloods(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.bird(nil)
	r.frr()
	runFloods(r, "{driver: afxdp, device: w0}", victims())
}

// TestFloodsAFPacket is the same through AF_PACKET, with fewer victims and one router.
func TestFloodsAFPacket(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	list := slices.DeleteFunc(victims(), func(v victim) bool { return v.group != "" && v.group != "fragments" })
	runFloods(r, "{driver: afpacket, device: w0}", list)
}

func runFloods(r *rig, port string, list []victim) {
	t := r.t
	t.Helper()
	w := r.start(r.Base(lab.BIRD, lab.FRR) + "ports: [" + port + "]\n" + floodConfig)
	f := r.flood(scenario(list), send.Config{})
	for name, router := range r.routers {
		r.expectAt(name, router, "routes of the attack", wanted(name, list)...)
	}
	r.wait("incident for every victim", func() (bool, error) {
		open, err := w.Incidents(false)
		return len(open) >= len(list), err
	})
	checkReasons(t, w, list)

	if st := f.stop(); st.Refused > 0 {
		t.Errorf("the sender failed: %+v", st)
	}
	r.expect("withdrawal of all routes")
	r.wait("end of all incidents", func() (bool, error) {
		open, err := w.Incidents(false)
		return len(open) == 0, err
	})
	checkReasons(t, w, list) // nobody else had one in all that time
	if n := counter(t, w, "conservation_faults"); n != 0 {
		t.Errorf("%v conservation faults", n)
	}
}

// wanted are all routes that a router must show for the victims.
func wanted(router string, list []victim) (routes []string) {
	for _, v := range list {
		routes = append(routes, v.routes...)
		rule := v.frr
		if router == "bird" {
			rule = v.bird
		}
		if rule != "" {
			routes = append(routes, "flow "+rule)
		}
	}
	return routes
}

// checkReasons compares the incidents of all time with the victims.
func checkReasons(t *testing.T, w *lab.Weir, list []victim) {
	t.Helper()
	found := incidents(t, w)
	for _, v := range list {
		direction := "incoming"
		if v.outgoing {
			direction = "outgoing"
		}
		key := v.target + " " + direction
		inc, ok := found[key]
		if !ok {
			t.Errorf("%s: no incident", key)
			continue
		}
		delete(found, key)
		group := v.group
		if group == "" {
			group = "global"
		}
		if !slices.Contains(strings.Split(v.threshold, "|"), inc.Threshold) || inc.Vector != v.vector || inc.Hostgroup != group || inc.Value <= inc.Limit {
			t.Errorf("%s: fired for %s, %v over %v, vector %s, hostgroup %s; want %s, %s, %s", key, inc.Threshold, inc.Value, inc.Limit,
				inc.Vector, inc.Hostgroup, v.threshold, v.vector, group)
		}
		if white := strings.HasSuffix(v.target, ":60::1") || v.target == "10.0.60.1"; inc.Whitelisted != white {
			t.Errorf("%s: whitelisted %v", key, inc.Whitelisted)
		}
	}
	if len(found) > 0 {
		t.Errorf("incidents of hosts that were not attacked: %v", addresses(found))
	}
}
