package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/bench/ports"
	"github.com/weir-ddos/weir/bench/soak"
	"github.com/weir-ddos/weir/bench/versus"
)

func TestMain(m *testing.M) {
	cable.Child()
	os.Exit(m.Run())
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t             Target
		text, verdict string
	}{
		{Target{Limit: 30, Value: 24, Unit: "ns"}, "≤ 30.0 ns", "met, 20 % to spare"},
		{Target{Limit: 30, Value: 30, Unit: "ns"}, "≤ 30.0 ns", "met, 0 % to spare"},
		{Target{Limit: 30, Value: 45, Unit: "ns", Text: "2 x bare"}, "≤ 30.0 ns (2 x bare)", "**missed by 50 %**"},
		{Target{Limit: 14.88, Value: 17, Unit: "Mpps", AtLeast: true}, "≥ 14.9 Mpps", "met, 14 % to spare"},
		{Target{Limit: 37, Value: 18.5, Unit: "Mpps", AtLeast: true, Text: "then"}, "≥ 37.0 Mpps (then)", "**missed by 50 %**"},
		{Target{Limit: 1.2, Value: 0.9, Unit: "s"}, "≤ 1.200 s", "met, 25 % to spare"},
		{Target{Limit: 400, Value: 300, Unit: "B"}, "≤ 400 B", "met, 25 % to spare"},
	} {
		if got := c.t.String(); got != c.text {
			t.Errorf("%+v: %s, want %s", c.t, got, c.text)
		}
		if got := c.t.verdict(); got != c.verdict {
			t.Errorf("%+v: %s, want %s", c.t, got, c.verdict)
		}
	}
}

func testReport() *Report {
	r := &Report{
		Machine: "2 x CPU", Kernel: "Linux 6", Go: "go1.26", Commit: "abc+", Date: time.Now(), Load: [2]string{"0.10"},
	}
	first := row("ports", "afxdp", "ns", []float64{30, 10, 20})
	first.Beside = []Beside{{"bare counter", 15, "ns"}, {"lost", 0, "%"}}
	first.Targets = []Target{{Text: "2 x bare", Limit: 30, Value: 20, Unit: "ns"}, {Limit: 10, Value: 20, Unit: "ns"}}
	r.finish([]Row{first, row("ports", "afpacket", "s", []float64{1})}, errors.Join(errors.New("ports: packets lost"), errors.New("tick: late\n\tlog of it")))
	return r
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := testReport().Markdown(&b); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "\n")
	const want = `
| | Case | Median | Range | Next to it | Target | |
|---|---|---|---|---|---|---|
| ports | afxdp | 20.0 ns | 10.0 .. 30.0 | bare counter 15.0 ns, lost 0.0 % | ≤ 30.0 ns (2 x bare); ≤ 10.0 ns | met, 33 % to spare; **missed by 100 %** |
|  | afpacket | 1.000 s | 1.000 .. 1.000 |  |  |  |

FAULT: ports: packets lost

FAULT: tick: late
`
	if table != want {
		t.Errorf("%s\nwant\n%s", table, want)
	}
	if head := b.String(); !strings.HasPrefix(head, "2 x CPU, Linux 6, go1.26, commit abc+, ") || !strings.Contains(head, "load 0.10 before and ") {
		t.Error(head)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := testReport().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var r Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 2 || r.Rows[0].Median != 20 || r.Rows[0].Runs != 3 || !r.Rows[0].Targets[0].Met || r.Rows[0].Targets[1].Met || len(r.Faults) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestAddShape(t *testing.T) {
	t.Parallel()
	result := func(what string, ns float64, dropped uint64) ports.Result {
		return ports.Result{Case: ports.Case{Driver: "afxdp", What: what, Rate: 200_000}, Nanoseconds: ns, Received: 100, Dropped: dropped, Elapsed: time.Second}
	}
	b := &bench{log: io.Discard}
	runs := [][]ports.Result{
		{result(ports.Bare, 100, 0), result(ports.Bare, 120, 0), result(ports.Bare, 90, 0)},
		{result(ports.Hosts, 300, 9), result(ports.Hosts, 150, 0), result(ports.Hosts, 160, 9)},
		{result(ports.Flows, 170, 100), result(ports.Flows, 180, 300), result(ports.Flows, 190, 300)},
	}
	err := b.addShape("x", runs)
	if err == nil || err.Error() != "x, hosts and flows: 50.00 % lost" { // hosts lost nothing once
		t.Error(err)
	}
	if len(b.rows) != 2 || b.rows[0].Median != 160 || b.rows[0].Min != 150 || b.rows[0].Max != 300 || b.rows[0].Targets[0].Limit != 200 {
		t.Errorf("%+v", b.rows)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		err  string
	}{
		{"--list", ""},
		{"--only nonsense", `no scenario "nonsense"`},
		{"--only memory,memory", `no scenario "memory"`},
		{"--nonsense", "flag provided but not defined"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(c.args), &out, io.Discard)
		if c.err == "" && (err != nil || !strings.Contains(out.String(), "latency")) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v\n%s", c.args, err, out.String())
		}
	}
}

// TestPrefixes runs the smallest scenario from the command line to the table.
func TestPrefixes(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--only", "prefixes", "--quick", "--json"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 2 || r.Rows[0].Median <= 0 || r.Rows[1].Median <= 0 || !r.Quick {
		t.Errorf("%+v", r)
	}
}

// TestVersusRow: limits come from the medians, and say between what parts of them the turns were; the floor is told where it is above.
func TestVersusRow(t *testing.T) {
	t.Parallel()
	sides, err := versus.Choose("weir-afpacket", "bare-afpacket", "floor-afpacket", "fastnetmon-ct")
	if err != nil {
		t.Fatal(err)
	}
	var results []versus.Result
	for i, ns := range [][3]float64{{60, 80, 90}, {40, 30, 50}, {81, 82, 83}, {600, 1000, 800}} {
		r := versus.Result{Scenario: versus.Scenario{Name: "x", About: "X"}, Side: sides[i]}
		for _, x := range ns {
			r.Runs = append(r.Runs, versus.Run{Nanoseconds: x, Net: x, Offered: 1e6, Delivered: 1, Counted: 1})
		}
		results = append(results, r)
	}
	out := versusRow(results[0], results)
	want := []Target{
		{Text: "2 x bare, less than the floor", Limit: 80, Value: 80, Unit: "ns", Least: 0.75, Most: 80.0 / 60},
		{Text: "FastNetMon/10, less than the floor", Limit: 80, Value: 80, Unit: "ns", Least: 0.8, Most: 90.0 / 80},
	}
	if out.Median != 80 || len(out.Targets) != len(want) {
		t.Fatalf("%+v", out)
	}
	for i, w := range want {
		got := out.Targets[i]
		if math.Abs(got.Least-w.Least) > 1e-9 || math.Abs(got.Most-w.Most) > 1e-9 || math.Abs(got.Limit-w.Limit) > 1e-9 {
			t.Errorf("%+v, want %+v", got, w)
		}
		if got.Text != w.Text || got.Value != w.Value {
			t.Errorf("%+v, want %+v", got, w)
		}
	}
	if got, want := out.Targets[0].verdict(), "met, 0 % to spare (75 to 133 % of it turn by turn)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	results[2].Runs = results[1].Runs // a floor that is below both
	for i, text := range []string{"2 x bare", "FastNetMon/10"} {
		if got := versusRow(results[0], results).Targets[i].Text; got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	six := results[0]
	six.Scenario.IPv6 = true
	if got := versusRow(six, results).Targets[1]; got.Text != "FastNetMon/4, which counts no IPv6 flows" || got.Limit != 200 {
		t.Errorf("IPv6: %+v", got)
	}
	if one := versusRow(versus.Result{Scenario: results[0].Scenario, Side: sides[0], Runs: results[0].Runs[:1]}, results); one.Targets[0].Most != 0 {
		t.Errorf("%+v", one.Targets)
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	r := soak.Result{Gaps: []api.Gap{{Below: 50e-6, Count: 70}, {Below: 100e-6, Count: 3}, {Below: 1.2503e-3, Count: 2}, {Below: 10.0024e-3}, {Count: 1}}}
	if got := histogram(&r); !slices.Equal(got, []Beside{{"gaps < 100µs", 73, ""}, {"< 1.25ms", 2, ""}, {"longer", 1, ""}}) {
		t.Errorf("%+v", got)
	}
	if got := number(53416326, ""); got != "53 416 326" {
		t.Errorf("%q", got)
	}
	if got := number(999, ""); got != "999" {
		t.Errorf("%q", got)
	}
}
