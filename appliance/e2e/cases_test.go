package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// caseScale is by what FastNetMon's rates and thresholds are divided, so that a small machine can send all cases at once.
const caseScale = 100

// caseConfig has FastNetMon's thresholds of BASELINE.md 3, divided by caseScale, and the hostgroups of its second table.
const caseConfig = `
tick: 500ms
bans: {ban_time: 10m}
guard: {max_new_per_minute: 10000, max_blackholes: 10000}
whitelist: [10.0.60.1/32, "2001:db8:60::1/128"]
hostgroups:
  global:
    ban_for_pps: true
    threshold_pps: 200
    ban_for_tcp_pps: true
    threshold_tcp_pps: 50
    ban_for_icmp_pps: true
    threshold_icmp_pps: 10
    ban_for_ip_fragments_pps: true
    threshold_ip_fragments_pps: 200
    ban_for_pps_outgoing: true
    threshold_pps_outgoing: 200
  net: # inside a listed network, with a limit of its own
    networks: [10.0.70.0/24, "2001:db8:70::/64"]
    threshold_pps: 20
  host:
    networks: [10.0.71.7/32, "2001:db8:71::7/128"]
    threshold_pps: 20
  carpet:
    networks: [10.0.77.0/24, "2001:db8:77::/48"]
    calculation: total
    threshold_pps: 500
    communities_subnet: ["64512:77"]
`

// extra are the rows of FastNetMon's tables that are not about a kind of packet: what becomes of each is in routes.
func extra() (list []victim) {
	list = []victim{
		{kind: "udp", target: "10.0.70.5", pps: 60, group: "net", threshold: "threshold_pps", vector: "udp_flood", routes: blackholes("10.0.70.5")},
		{kind: "udp", target: "2001:db8:70::5", pps: 60, group: "net", threshold: "threshold_pps", vector: "udp_flood", routes: blackholes("2001:db8:70::5")},
		{kind: "udp", target: "10.0.71.7", pps: 60, group: "host", threshold: "threshold_pps", vector: "udp_flood", routes: blackholes("10.0.71.7")},
		{kind: "udp", target: "2001:db8:71::7", pps: 60, group: "host", threshold: "threshold_pps", vector: "udp_flood", routes: blackholes("2001:db8:71::7")},
		{kind: "udp", target: "10.0.60.1", pps: 300}, // whitelisted
		{kind: "udp", target: "2001:db8:60::1", pps: 300},
		// Carpet bombing: far below every limit of a host. Both families count for the one group.
		{kind: "udp", target: "10.0.77.0/24", pps: 500},
		{
			kind: "udp", target: "2001:db8:77::/120", pps: 500,
			routes: []string{unicast("10.0.77.0/24", "192.0.2.1", "64512:77"), unicast("2001:db8:77::/48", "100::1", "64512:77")},
		},
	}
	return list
}

// TestCases is FastNetMon's two case tables (BASELINE.md 3) on one appliance: every kind of packet is counted for its victim, so that
// every case is banned, IPv4 and IPv6, for a reason that is true; the whitelisted are not; and nobody else is.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"afxdp", "afpacket"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			bird := r.bird(nil)
			w := r.start(r.Base(lab.BIRD) + "ports: [{driver: " + driver + ", device: w0}]\n" + caseConfig)

			cases := gen.Cases(time.Duration(long), 1.0/caseScale)
			s := scenario(extra())
			s.Background = 100
			var want []string
			for _, c := range cases {
				s.Streams = append(s.Streams, c.Stream)
				want = append(want, blackhole(c.Victim.String()))
			}
			for _, v := range extra() {
				want = append(want, v.routes...)
			}
			f := r.flood(s, send.Config{})
			r.expectAt("bird", bird, "route for every case", want...)
			r.wait("incidents of the whitelisted", func() (bool, error) {
				open, err := w.Incidents(false)
				return len(open) == len(cases)+7, err
			})
			st := f.stop()
			checkCases(t, w, cases)
			r.allCounted(w, st)
			r.expectAt("bird", bird, "same routes at the end", want...)
		})
	}
}

// checkCases compares the incidents with the cases and the extra rows.
func checkCases(t *testing.T, w *lab.Weir, cases []gen.Case) {
	t.Helper()
	found := incidents(t, w)
	for _, c := range cases {
		key, threshold := c.Victim.String()+" incoming", "threshold_"+c.Threshold
		if c.Stream.Outgoing {
			key, threshold = c.Victim.String()+" outgoing", threshold+"_outgoing"
		}
		inc, ok := found[key]
		delete(found, key)
		if inc.Threshold == "threshold_tcp_pps" && inc.Protocol == "tcp" {
			threshold = inc.Threshold // the lower limit may be crossed a tick before that of all packets
		}
		switch {
		case !ok:
			t.Errorf("%s: no incident of %s", c.Name, key)
		case inc.Value <= inc.Limit || inc.Hostgroup != "global":
			t.Errorf("%s: %v over %v in hostgroup %s", c.Name, inc.Value, inc.Limit, inc.Hostgroup)
		case inc.Threshold != threshold && !slices.Contains(inc.Others, threshold):
			t.Errorf("%s: fired for %s and %v, not %s", c.Name, inc.Threshold, inc.Others, threshold)
		}
	}
	for _, key := range []string{"10.0.70.5", "2001:db8:70::5", "10.0.71.7", "2001:db8:71::7", "10.0.60.1", "2001:db8:60::1", "hostgroup carpet"} {
		inc, ok := found[key+" incoming"]
		delete(found, key+" incoming")
		if !ok || inc.Threshold != "threshold_pps" || inc.Whitelisted != strings.Contains(key, "60") {
			t.Errorf("%s: %+v", key, inc)
		}
	}
	if len(found) > 0 {
		t.Errorf("incidents of hosts that were not attacked: %v", addresses(found))
	}
}
