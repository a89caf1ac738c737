//go:build dpdk && cgo

package dpdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// weir and weirctl are the products under test, built once.
var weir, weirctl string

// patience bounds every wait; it costs nothing when all is well.
const patience = time.Minute

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-e2e-dpdk-")
	if err == nil {
		weir, weirctl = filepath.Join(dir, "weir"), filepath.Join(dir, "weirctl")
		err = errors.Join(build(weir, "appliance/cmd/weir"), build(weirctl, "tools/weirctl"))
	}
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// build uses cgo's flags of the environment in which the test runs.
func build(to, path string) error {
	out, err := exec.Command("go", "build", "-tags", "dpdk,pcap", "-o", to, "github.com/weir-ddos/weir/"+path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", path, err, out)
	}
	return nil
}

// newLab makes a lab for the time of the test.
func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	l, err := lab.New(weir, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// start starts the appliance. Each of ports is a device with its arguments.
func start(t *testing.T, l *lab.Lab, more string, ports ...string) *lab.Weir {
	t.Helper()
	config := l.Base() + more + "workers: {count: 4}\ntraffic: {hosts_per_worker: 65536, flows_per_worker: 262144}\nports:\n"
	for _, p := range ports {
		config += fmt.Sprintf("  - {driver: dpdk, device: %q, options: {huge_pages: false, memory: 256, descriptors: 2048}}\n", p)
	}
	w, err := l.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the appliance:\n%s", w.Log())
		}
	})
	return w
}

func wait(ctx context.Context, t *testing.T, what string, f func() (bool, error)) {
	t.Helper()
	if err := lab.Wait(ctx, patience, what, f); err != nil {
		t.Fatal(err)
	}
}

// sums are what the product has counted, by the names of the API's system counters.
type sums map[string]float64

// live asks a running appliance.
func live(w *lab.Weir) (sums, error) {
	var list []api.SystemCounter
	err := w.Get("system_counters", &list)
	out := sums{}
	for _, c := range list {
		out[c.Name] = c.Value
	}
	return out, err
}

// replayed asks `weir replay --json` about captures.
func replayed(t *testing.T, l *lab.Lab, files ...string) (packets, bytes uint64, codes map[string]uint64, totals map[string]traffic.Counters) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), weir, append([]string{"replay", "--json", "-c", l.Path("weir.yaml")}, files...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Packets, Bytes uint64
		Codes          map[string]uint64
		Totals         map[string]traffic.Counters
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r.Packets, r.Bytes, r.Codes, r.Totals
}

// capture writes a capture of every kind of traffic that there is, in every encapsulation; seed changes what is random in it.
func capture(t *testing.T, seed uint64) string {
	t.Helper()
	s, err := gen.Builtin("all-cases")
	if err != nil {
		t.Fatal(err)
	}
	s.Seed = seed
	return write(t, s)
}

// small is a capture of a flood on a host of each family, with few frames: net_pcap's infinite_rx takes a buffer for each.
func small(t *testing.T) string {
	t.Helper()
	second := gen.Duration(time.Second)
	return write(t, gen.Scenario{Seed: 1, Length: second, Streams: []gen.Stream{
		{Kind: "udp", Target: "10.0.0.66", PPS: 500, Duration: second}, {Kind: "syn", Target: "2001:db8::66", PPS: 500, Duration: second},
	}})
}

func write(t *testing.T, s gen.Scenario) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = gen.WritePcap(f, s, gen.Options{})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
