package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// steady is the host that gets a constant stream while the configuration changes.
const steady4, steady6 = "10.0.9.1", "2001:db8:9::1"

// reloadConfig is the i-th configuration of the test: thresholds, networks, hostgroups and the tick all differ from the last one's,
// and the steady hosts move between groups and networks.
func reloadConfig(l *lab.Lab, i int) string {
	base := l.Base(lab.BIRD)
	if i%2 == 1 { // the same addresses in more networks
		base = strings.Replace(base, "10.0.0.0/16, 2001:db8::/32",
			`10.0.0.0/17, 10.0.128.0/17, 10.0.9.0/24, "2001:db8::/33", "2001:db8:8000::/33", "2001:db8:9::/48", 192.168.0.0/16`, 1)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sports: [{driver: afxdp, device: w0, options: {frames: 32768}}]\n", base)
	fmt.Fprintf(&b, "tick: %dms\n", []int{100, 250, 1000}[i%3])
	fmt.Fprintf(&b, "hostgroups:\n  global: {ban_for_pps: true, threshold_pps: %d}\n", 1_000_000+i)
	switch i % 4 {
	case 1:
		fmt.Fprintf(&b, "  web%d: {networks: [10.0.9.0/24, \"2001:db8:9::/48\"], threshold_pps: %d}\n", i, 500_000+i)
	case 2:
		fmt.Fprintf(&b, "  one: {networks: [10.0.9.1/32, \"2001:db8:9::1/128\"], calculation: total, threshold_pps: %d}\n", 600_000+i)
		b.WriteString("  web: {networks: [10.0.8.0/22], parent: one}\n")
	}
	return b.String()
}

// commit puts a whole configuration in force.
func commit(t *testing.T, w *lab.Weir, text string) {
	t.Helper()
	if err := w.Call(http.MethodPut, "import", strings.NewReader(text), nil); err != nil {
		t.Fatalf("import: %v\n%s", err, text)
	}
	if err := w.Put("commit"); err != nil {
		t.Fatalf("commit: %v\n%s", err, text)
	}
}

// TestHotReload changes the configuration twenty times under a known stream: not one frame is lost or counted twice, nobody is
// banned, and the limit that is set last is in force at once.
func TestHotReload(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.bird(nil)
	w := r.start(reloadConfig(r.Lab, 0))
	s := gen.Scenario{Seed: 3, Background: 1000, Length: long}
	for _, a := range []string{steady4, steady6} {
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
			commit(t, w, reloadConfig(r.Lab, i))
		}
		r.wait("more packets", func() (bool, error) { return counter(t, w, "packets_counted") > before, nil })
	}
	list, err := w.Incidents(true)
	if err != nil || len(list) != 0 {
		t.Errorf("incidents %+v (%v) though no limit was ever crossed", list, err)
	}
	// The last one lowers the limit below the stream.
	commit(t, w, strings.Replace(reloadConfig(r.Lab, 20), "threshold_pps: 1000020", "threshold_pps: 300", 1))
	r.expect("routes by the new limit", blackholes(steady4, steady6)...)

	r.allCounted(w, f.stop())
	for name, want := range map[string]float64{"host_table_overflow_packets": 0, "port_reopens": 0} {
		if got := counter(t, w, name); got != want {
			t.Errorf("%s: %.0f, want %.0f", name, got, want)
		}
	}
}
