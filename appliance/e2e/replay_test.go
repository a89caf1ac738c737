package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// replayed is what `weir replay --json` says, as far as a truth has it too.
type replayed struct {
	Packets    uint64            `json:"packets"`
	Bytes      uint64            `json:"bytes"`
	Codes      map[string]uint64 `json:"codes"`
	Totals     gen.Totals        `json:"totals"`
	Hosts      []gen.Host        `json:"hosts"`
	Overflowed gen.C             `json:"overflowed"`
	Saturated  uint64            `json:"flows_saturated"`
	Faults     []string          `json:"faults"`
	Incidents  []struct {
		Target string `json:"target"`
	} `json:"incidents"`
}

// replay runs `weir replay --json` with GOMAXPROCS and arguments, and returns also its exit error.
func replay(t *testing.T, procs int, args ...string) (r replayed, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"replay", "--json"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(procs))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("weir replay %v: %w: %s", args, err, stderr.Bytes())
	}
	if jerr := json.Unmarshal(stdout.Bytes(), &r); jerr != nil {
		t.Fatalf("weir replay %v: %v: %s", args, errors.Join(err, jerr), stdout.Bytes())
	}
	return r, err
}

// writeFile writes a file into a directory of the test and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// replayConfig charges one header of all tunnels. The second hostgroup is there so that membership is looked up.
func replayConfig(charge gen.Charge) string {
	var b strings.Builder
	b.WriteString(`networks: [10.0.0.0/16, "2001:db8::/32"]
traffic: {internal: both, flows: true, hosts_per_worker: 65536, flows_per_worker: 262144}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 1000}
  some: {networks: [10.0.64.0/18, "2001:db8:1::/48"], threshold_pps: 2000}
decode:
`)
	for _, tunnel := range []string{"gre", "erspan", "ipip", "sit", "4in6", "gtpu", "vxlan", "geneve", "mpls_udp", "teredo"} {
		fmt.Fprintf(&b, "  %s: %s\n", tunnel, charge)
	}
	return b.String()
}

// scaled is a built-in scenario at a part of its rates.
func scaled(t *testing.T, name string, by float64) gen.Scenario {
	t.Helper()
	s, err := gen.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	s.Background *= by
	for i := range s.Streams {
		s.Streams[i].PPS *= by
	}
	return s
}

// TestReplayExact compares `weir replay --json` with the truth of what was generated: equal per host, direction and class, flows
// and decode codes included, whatever the speed, the number of workers and of processors, and whichever header is charged.
func TestReplayExact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		scenario string
		scale    float64
		charge   gen.Charge
		victim   string // that must have an incident
	}{
		{"all-cases", 1, gen.ChargeOuter, ""},
		{"all-cases", 1, gen.ChargeInner, ""},
		{"all-cases", 1, gen.ChargeBoth, ""},
		{"quiet-then-syn6", 0.1, gen.ChargeOuter, "2001:db8::66"},
		{"quiet-then-udp/vlan/mpls", 0.1, gen.ChargeOuter, "10.0.0.66"},
		{"multi-vector", 0.1, gen.ChargeOuter, "10.0.0.66"},
		{"carpet", 0.05, gen.ChargeOuter, ""},
		{"carpet6", 0.05, gen.ChargeOuter, ""},
		{"outgoing", 0.1, gen.ChargeOuter, ""},
		{"case-table", 0.01, gen.ChargeOuter, ""},
	} {
		t.Run(fmt.Sprintf("%s/%s", strings.ReplaceAll(tc.scenario, "/", "-"), tc.charge), func(t *testing.T) {
			t.Parallel()
			pcap := filepath.Join(t.TempDir(), "x.pcap")
			f, err := os.Create(pcap)
			if err != nil {
				t.Fatal(err)
			}
			s := scaled(t, tc.scenario, tc.scale)
			truth, err := gen.WritePcap(f, s, gen.Options{Charge: tc.charge})
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			conf := writeFile(t, "weir.yaml", replayConfig(tc.charge))
			for _, run := range []struct {
				procs int
				args  []string
			}{
				{1, []string{"--workers", "1"}},
				{4, []string{"--workers", "4"}},
				{1, []string{"--workers", "4"}},
				{4, []string{"--workers", "1", "--speed", "20"}},
				{4, []string{"--workers", "4", "--speed", "50"}},
			} {
				if s.Length > gen.Duration(time.Minute) && len(run.args) > 2 {
					continue // minutes of real time, even at this speed
				}
				got, err := replay(t, run.procs, append(run.args, "-c", conf, pcap)...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, fmt.Sprintf("GOMAXPROCS=%d %v", run.procs, run.args), &got, &truth)
				if tc.victim != "" && (len(got.Incidents) != 1 || got.Incidents[0].Target != tc.victim) {
					t.Errorf("incidents %v, want one of %s", got.Incidents, tc.victim)
				}
			}
		})
	}
}

// compare names everything that differs.
func compare(t *testing.T, what string, got *replayed, want *gen.Result) {
	t.Helper()
	if got.Packets != want.Packets || got.Bytes != want.Bytes || want.Packets == 0 {
		t.Errorf("%s: %d packets of %d bytes, want %d, %d", what, got.Packets, got.Bytes, want.Packets, want.Bytes)
	}
	if !reflect.DeepEqual(got.Codes, want.Codes) {
		t.Errorf("%s: codes %v, want %v", what, got.Codes, want.Codes)
	}
	if got.Totals != want.Totals {
		t.Errorf("%s: totals\n%+v\nwant\n%+v", what, got.Totals, want.Totals)
	}
	if got.Overflowed.Packets != 0 || got.Saturated != 0 || len(got.Faults) != 0 {
		t.Errorf("%s: overflowed %v, saturated %d, faults %v", what, got.Overflowed, got.Saturated, got.Faults)
	}
	for i := range min(len(got.Hosts), len(want.Hosts)) {
		if got.Hosts[i] != want.Hosts[i] {
			t.Errorf("%s: host %d\n%+v\nwant\n%+v", what, i, got.Hosts[i], want.Hosts[i])
			return
		}
	}
	if len(got.Hosts) != len(want.Hosts) {
		t.Errorf("%s: %d hosts, want %d", what, len(got.Hosts), len(want.Hosts))
	}
}

// shared is the folder of real captures beside the repository.
func shared(t *testing.T) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("WEIR_SHARED"), "../../../shared")
	if _, err := os.Stat(filepath.Join(dir, "data/pcap/INDEX.tsv")); err != nil {
		t.Skipf("the collection of captures is not here: %v", err)
	}
	return filepath.Join(dir, "data/pcap")
}

// TestReplayCaptures sends every real capture through `weir replay`: no crash, and every packet that the index knows is accounted for
// in exactly one code. A capture whose records are damaged may end early, and then says so.
func TestReplayCaptures(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	conf := writeFile(t, "weir.yaml", "networks: [10.0.0.0/8, 192.168.0.0/16, \"2001:db8::/32\"]\n"+
		"traffic: {hosts_per_worker: 65536, flows_per_worker: 262144}\n")
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")
	if len(lines) < 20 {
		t.Fatalf("the index has %d lines", len(lines))
	}
	for _, line := range lines[1:] {
		cols := strings.Split(line, "\t")
		packets, err := strconv.ParseUint(cols[2], 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		damaged := strings.Contains(cols[7], "!badrec")
		t.Run(cols[0], func(t *testing.T) {
			t.Parallel()
			r, err := replay(t, 2, "-c", conf, "--workers", "2", filepath.Join(dir, cols[0]))
			var sum uint64
			for _, n := range r.Codes {
				sum += n
			}
			if r.Packets != sum {
				t.Errorf("%d packets, %d in codes %v", r.Packets, sum, r.Codes)
			}
			if damaged {
				if err == nil && r.Packets != packets || r.Packets > packets || err != nil && len(r.Faults) == 0 {
					t.Errorf("damaged capture: %d packets of %d, faults %v, %v", r.Packets, packets, r.Faults, err)
				}
				return
			}
			if err != nil || r.Packets != packets {
				t.Errorf("%d packets, the index has %d; %v", r.Packets, packets, err)
			}
		})
	}
}

// TestReplayIsRepeatable replays one capture several times: not one byte of the report may differ, the incidents' times included.
func TestReplayIsRepeatable(t *testing.T) {
	t.Parallel()
	pcap := filepath.Join(t.TempDir(), "x.pcap")
	f, err := os.Create(pcap)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gen.WritePcap(f, scaled(t, "multi-vector", 0.1), gen.Options{Epoch: 100 * time.Millisecond})
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	conf := writeFile(t, "weir.yaml", replayConfig(gen.ChargeOuter)+"tick: 100ms\nbans: {ban_time: 2s, quiet: 1s}\n")
	var first []byte
	for _, args := range [][]string{{"--workers", "1"}, {"--workers", "4"}, {"--workers", "3", "--speed", "40"}} {
		cmd := exec.CommandContext(t.Context(), binary, append(append([]string{"replay", "--json", "-c", conf}, args...), pcap)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out
		}
		if !bytes.Equal(first, out) {
			t.Errorf("%v: the report differs from that of one worker:\n%s\n%s", args, out, first)
		}
	}
}
