package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/export"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// collectorPort is where the appliance listens, in its own namespace.
const collectorPort = 2055

// flowsConfig has no port: flow exports are the only source.
func flowsConfig(l *lab.Lab, more string) string {
	return l.Base(lab.BIRD) + fmt.Sprintf(`
tick: 100ms
bans: {ban_time: 3s, quiet: 500ms}
guard: {min_hold: 1s, max_new_per_minute: 1000}
flows:
  listeners: [{address: "::", ports: [%d], sockets: 2}]
  templates: {path: %s}
%s
hostgroups:
  global: {ban_for_udp_pps: true, threshold_udp_pps: 1000}
`, collectorPort, l.Path("templates.json"), more)
}

// exporting is a device that goes on exporting until stop.
func (r *rig) exporting(to netip.Addr, cfg export.Config, s gen.Scenario) (stop func()) {
	r.t.Helper()
	g, err := gen.New(s)
	if err != nil {
		r.t.Fatal(err)
	}
	truth, err := gen.NewTruth(g, gen.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- r.App.Do(func() error {
			_, _, err := export.Run(ctx, g, truth, cfg, export.Live{Collector: netip.AddrPortFrom(to, collectorPort)})
			return err
		})
	}()
	var ended bool
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("export to %s: %v", to, err)
		}
	}
	r.t.Cleanup(stop)
	return stop
}

// TestFloodsInFlowExports: attacks that only exports tell of, in each protocol, sampled or not, are announced to the router, and
// withdrawn when they are over. Each exporter reports victims of its own.
func TestFloodsInFlowExports(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	w := r.start(flowsConfig(r.Lab, ""))
	var want []string
	var stops []func()
	for i, c := range []struct {
		protocol export.Protocol
		sampling uint32
		v6       bool // NetFlow v5 has none
	}{
		{export.NetFlow5, 10, false}, {export.NetFlow9, 1, true}, {export.NetFlow9, 10, true}, {export.IPFIX, 10, true}, {export.SFlow, 20, true},
	} {
		targets := []string{fmt.Sprintf("10.0.%d.5", i)}
		if c.v6 {
			targets = append(targets, fmt.Sprintf("2001:db8:%d::5", i))
		}
		cfg := export.Config{Protocol: c.protocol, Sampling: c.sampling, Active: time.Second, Inactive: time.Second, Domain: uint32(i + 1)}
		stops = append(stops, r.exporting(netip.AddrFrom4([4]byte{127, 0, 0, 1}), cfg, attack("udp", 4000, targets...)))
		want = append(want, blackholes(targets...)...)
	}
	r.expect("routes", want...)
	for target, inc := range incidents(t, w) {
		if inc.Threshold != "threshold_udp_pps" || inc.Direction != "incoming" {
			t.Errorf("%s: %+v", target, inc)
		}
	}
	for _, stop := range stops {
		stop()
	}
	r.expect("nothing any more")
	for _, name := range []string{"conservation_faults", "flow_decoder_panics", "flow_udp_packet_drops"} {
		if n := counter(t, w, name); n != 0 {
			t.Errorf("%s is %v", name, n)
		}
	}
}

// TestRestartedCollectorDecodesAtOnce: templates come twice a minute at most; after a restart the appliance reads the first data
// record as before, at the right rate, and the routes of an attack that goes on stay.
func TestRestartedCollectorDecodesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	w := r.start(flowsConfig(r.Lab, ""))
	cfg := export.Config{Protocol: export.IPFIX, Sampling: 10, Active: time.Second, Inactive: time.Second, Templates: 1_000_000}
	r.exporting(netip.AddrFrom4([4]byte{127, 0, 0, 1}), cfg, attack("udp", 4000, "10.0.1.5", "2001:db8:1::5"))
	want := blackholes("10.0.1.5", "2001:db8:1::5")
	r.expect("routes", want...)
	if err := w.Stop(patience); err != nil {
		t.Fatal(err)
	}
	w = r.restart()
	r.expect("routes after a restart", want...)
	r.wait("records", func() (bool, error) {
		n, err := w.Counter("ipfix_total_flows")
		return n > 0, err
	})
	if n := counter(t, w, "flow_sets_with_unknown_templates"); n != 0 {
		t.Errorf("%v sets were not understood after the restart", n)
	}
	if n := counter(t, w, "flow_records_unknown_sampling_rate"); n != 0 {
		t.Errorf("%v records had no sampling rate after the restart", n)
	}
}

// TestAQuietDownloadInFlowExports: 450 packets/s whose records arrive every five seconds are below 1000 packets/s in every
// tick of 100 ms; a record taken at once is 22 times above it. A record that comes late, since the machine is busy, is charged beside the
// next one: two of them are below the limit, too.
func TestAQuietDownloadInFlowExports(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"on", "off"} {
		t.Run("spread "+mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.bird(nil)
			w := r.start(flowsConfig(r.Lab, "  spread: "+mode))
			s := gen.Scenario{Seed: 5, Length: long}
			for _, target := range []string{"10.0.3.7", "2001:db8:3::7"} {
				s.Streams = append(s.Streams, gen.Stream{Kind: "quic", Target: target, PPS: 450, Duration: long, Flows: 1, Sizes: []int{1400}, Benign: true})
			}
			cfg := export.Config{Protocol: export.NetFlow9, Sampling: 10, Active: 5 * time.Second, Inactive: 5 * time.Second}
			r.exporting(netip.AddrFrom4([4]byte{127, 0, 0, 1}), cfg, s)
			if mode == "off" {
				r.expect("the false positive that spreading prevents", blackholes("10.0.3.7", "2001:db8:3::7")...)
				return
			}
			r.wait("four records of each", func() (bool, error) {
				n, err := w.Counter("netflow_v9_total_flows")
				return n >= 8, err
			})
			if list := incidents(t, w); len(list) != 0 {
				t.Errorf("banned: %s", strings.Join(addresses(list), ", "))
			}
		})
	}
}
