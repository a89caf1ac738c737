//go:build dpdk && cgo

package dpdk

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// same waits until the appliance has counted what `weir replay` counts of the captures, and compares all that both tell.
func same(t *testing.T, l *lab.Lab, w *lab.Weir, files ...string) {
	t.Helper()
	packets, bytes, codes, totals := replayed(t, l, files...)
	var got sums
	wait(t.Context(), t, "count of all packets", func() (ok bool, err error) {
		got, err = live(w)
		counted, received := got["packets_counted"], got["total_simple_packets_processed"] // each with its own tick
		return min(counted, received) >= float64(packets), errors.Join(err, fmt.Errorf("%.0f received, %.0f counted of %d", received, counted, packets))
	})
	want := sums{"packets_counted": float64(packets), "bytes_counted": float64(bytes), "total_simple_packets_processed": float64(packets)}
	for _, name := range []string{
		"port_dropped_packets", "port_reopens", "conservation_faults", "host_table_overflow_packets", "flow_table_saturated_packets",
	} {
		want[name] = 0
	}
	for code, n := range codes {
		if code != "ok" {
			want["frames_"+code] = float64(n)
		}
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s is %.0f, want %.0f", name, got[name], n)
		}
	}
	for d := range traffic.NumDirections {
		c := totals[d.String()].Total
		for kind, n := range map[string]uint64{"packets": c.Packets, "bytes": c.Bytes} {
			name := "total_" + d.String() + "_" + kind + "_"
			if sum := got[name+"ipv4"] + got[name+"ipv6"]; sum != float64(n) {
				t.Errorf("%sipv4 and %sipv6 are %.0f, want %d", name, name, sum, n)
			}
		}
	}
	if packets == 0 || totals["incoming"].Total.Packets == 0 || totals["outgoing"].Total.Packets == 0 {
		t.Errorf("the capture is no test: %d packets, %+v", packets, totals)
	}
}

// stop is a clean stop.
func stop(t *testing.T, w *lab.Weir) {
	t.Helper()
	if err := w.Stop(patience); err != nil {
		t.Error(err)
	}
	if log := w.Log(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") || !strings.Contains(log, "stopping") {
		t.Errorf("the stop was not clean:\n%s", log)
	}
}

// Several ports, one of them with several queues, a worker each.
func TestSameCountsPcap(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b, c := capture(t, 1), capture(t, 2), capture(t, 3)
	w := start(t, l, "", "net_pcap0,rx_pcap="+a, "net_pcap1,rx_pcap="+b+",rx_pcap="+c)
	same(t, l, w, a, b, c)
	var ports []api.Port
	wait(t.Context(), t, "hardware counters", func() (bool, error) {
		if err := w.Get("interfaces", &ports); err != nil || len(ports) != 2 || len(ports[1].Queues) != 2 {
			return false, errors.Join(err, fmt.Errorf("%+v", ports))
		}
		for _, p := range ports {
			var received uint64
			for _, q := range p.Queues {
				received += q.Received
			}
			for _, name := range []string{"ipackets", "xstat_rx_good_packets"} {
				if n, ok := p.Extra[name]; !ok || n != received || n == 0 {
					return false, fmt.Errorf("%s: %d received, %v", p.Device, received, p.Extra)
				}
			}
			for _, name := range []string{"imissed", "rx_nombuf", "ierrors"} {
				if n, ok := p.Extra[name]; !ok || n != 0 {
					return false, fmt.Errorf("%s: %s is %d, %v", p.Device, name, n, ok)
				}
			}
			if p.Err != "" || !strings.Contains(p.Mode, "net_pcap") || !strings.Contains(p.Mode, "link up") {
				return false, fmt.Errorf("%+v", p)
			}
		}
		return true, nil
	})
	out, err := exec.CommandContext(t.Context(), weirctl, "--socket", w.Socket, "show", "interfaces").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "net_pcap1") || !strings.Contains(string(out), "link up") {
		t.Errorf("weirctl show interfaces: %v\n%s", err, out)
	}
	stop(t, w)
}

// Frames on a real cable, through the AF_XDP socket that DPDK makes.
func TestSameCountsVeth(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l, "", "net_af_xdp0,iface="+lab.Watch)
	s, err := gen.Builtin("all-cases")
	if err != nil {
		t.Fatal(err)
	}
	s.Seed = 1
	st, err := l.Send(t.Context(), s, send.Config{})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := l.WireLost()
	if err != nil || lost > 0 || st.Refused > 0 {
		t.Skipf("the cable lost %d frames and refused %d: the machine is too busy (%v)", lost, st.Refused, err)
	}
	// The socket holds 2048 frames: a worker that gets no processor for longer loses some, and says so.
	var dropped float64
	wait(t.Context(), t, "reception of all that was sent", func() (bool, error) {
		got, err := live(w)
		dropped = got["port_dropped_packets"]
		n := got["total_simple_packets_processed"] + dropped
		return n == float64(st.Sent), errors.Join(err, fmt.Errorf("%.0f of %d, %.0f of them dropped", n, st.Sent, dropped))
	})
	if dropped > 0 {
		t.Skipf("the port lost %.0f frames: the machine is too busy", dropped)
	}
	same(t, l, w, capture(t, 1))
	stop(t, w)
}

// net_null makes frames of zeros as fast as they are taken: each is counted, with its length, and none is IP.
func TestNull(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := start(t, l, "", "net_null0,size=64")
	wait(t.Context(), t, "a million frames", func() (bool, error) {
		got, err := live(w)
		n := got["packets_counted"]
		if got["bytes_counted"] != 64*n || got["conservation_faults"] != 0 || got["total_ipv4_packets"]+got["total_ipv6_packets"] != 0 {
			t.Fatalf("%v", got)
		}
		return n > 1e6, errors.Join(err, fmt.Errorf("%.0f", n))
	})
	stop(t, w)
}

// A configuration is put in force every 50 ms: every packet is counted once. net_pcap on an interface tells what it lost.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ports := fmt.Sprintf("[{driver: dpdk, device: %q, options: {huge_pages: false, descriptors: 4096}}]", "net_pcap0,rx_iface="+lab.Watch)
	w, err := l.Start(t.Context(), lab.Variant(l.Base(), ports, 0))
	if err != nil {
		t.Fatal(err)
	}
	commits, sent, err := w.Storm(t.Context(), l.Base(), ports, 5000, 3*time.Second)
	if err != nil {
		t.Errorf("%v\n%s", err, w.Log())
	}
	t.Logf("%d commits, %d packets", commits, sent)
	if commits < lab.Fewest || sent < 1000 {
		t.Errorf("%d commits during %d packets are no storm", commits, sent)
	}
	stop(t, w)
}

// A flood out of DPDK becomes an incident with its target, of either family.
func TestFlood(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	path := small(t)
	w := start(t, l, "hostgroups: {global: {ban_for_pps: true, threshold_pps: 1000}}\n", "net_pcap0,infinite_rx=1,rx_pcap="+path)
	wait(t.Context(), t, "incidents", func() (bool, error) {
		list, err := w.Incidents(false)
		var v4, v6 bool
		for _, i := range list {
			v4 = v4 || strings.HasPrefix(i.Target, "10.0.")
			v6 = v6 || strings.HasPrefix(i.Target, "2001:db8:")
		}
		return v4 && v6, errors.Join(err, fmt.Errorf("%d incidents", len(list)))
	})
	stop(t, w)
}
