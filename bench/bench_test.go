package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/bench/ports"
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
