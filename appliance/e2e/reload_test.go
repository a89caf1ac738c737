package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

func commit(t *testing.T, w *lab.Weir, text string) {
	t.Helper()
	if err := w.Commit(text); err != nil {
		t.Fatal(err)
	}
}

// TestHotReload changes the configuration twenty times under a known stream: not one frame is lost or counted twice, nobody is
// banned, and the limit that is set last is in force at once.
func TestHotReload(t *testing.T) {
	t.Parallel()
	const ports = "[{driver: afxdp, device: w0, options: {frames: 32768}}]"
	r := newRig(t, 2)
	r.bird(nil)
	w := r.start(lab.Variant(r.Base(lab.BIRD), ports, 0))
	s := gen.Scenario{Seed: 3, Background: 1000, Length: long}
	for _, a := range lab.Steady {
		s.Streams = append(s.Streams, gen.Stream{Kind: "udp", Target: a, PPS: 1500, Duration: long})
	}
	f := r.flood(s, send.Config{})
	for i := 1; i <= 20; i++ {
		before := counter(t, w, "packets_counted")
		if i%5 == 0 { // as a person does it
			if err := w.Put("hostgroup/global/threshold_pps/" + url.PathEscape(fmt.Sprint(2_000_000+i))); err != nil {
				t.Fatal(err)
			}
			if err := w.Put("commit"); err != nil {
				t.Fatal(err)
			}
		} else {
			commit(t, w, lab.Variant(r.Base(lab.BIRD), ports, i))
		}
		r.wait("more packets", func() (bool, error) { return counter(t, w, "packets_counted") > before, nil })
	}
	list, err := w.Incidents(true)
	if err != nil || len(list) != 0 {
		t.Errorf("incidents %+v (%v) though no limit was ever crossed", list, err)
	}
	// The last one lowers the limit below the stream.
	commit(t, w, strings.Replace(lab.Variant(r.Base(lab.BIRD), ports, 20), "threshold_pps: 1000020", "threshold_pps: 300", 1))
	r.expect("routes by the new limit", blackholes(lab.Steady[:]...)...)

	r.allCounted(w, f.stop())
	for name, want := range map[string]float64{"host_table_overflow_packets": 0, "port_reopens": 0} {
		if got := counter(t, w, name); got != want {
			t.Errorf("%s: %.0f, want %.0f", name, got, want)
		}
	}
}

// TestReloadStorm puts a configuration in force every 50 ms: networks, hostgroups, thresholds, ticks. Of either family every packet is
// counted once, and in its direction.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	for name, port := range map[string]string{
		"afpacket": "{driver: afpacket, device: w0, queues: 2}",
		"afxdp":    "{driver: afxdp, device: w0, options: {frames: 32768}}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			ports := "[" + port + "]"
			w := r.start(lab.Variant(r.Base(), ports, 0))
			commits, sent, err := w.Storm(t.Context(), r.Base(), ports, 5000, 3*time.Second)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d commits, %d packets", commits, sent)
			if commits < lab.Fewest || sent < 1000 {
				t.Errorf("%d commits during %d packets are no storm", commits, sent)
			}
		})
	}
}
