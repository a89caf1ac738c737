package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/bench/versus"
)

// versusPath puts Weir next to others that watch the same cable.
func versusPath(ctx context.Context, b *bench) (err error) {
	if why := versus.Missing(); why != "" {
		return errors.New(why)
	}
	plan, err := versus.Plan(b.quick)
	if err != nil {
		return err
	}
	length := 2 * time.Second
	if b.quick {
		length = 300 * time.Millisecond
	}
	cfg := versus.Config{Weir: b.weir, WeirDPDK: buildDPDK(ctx, b.dir, b.log), Length: length, Log: b.log}
	b.versions = versus.Versions(ctx, cfg, versus.Sides())
	results, err := runBlocks(ctx, cfg, plan, plan[0].Repeat)
	for _, r := range results {
		b.add(versusRow(r, results))
	}
	return errors.Join(err, unfair(results), b.draw(results))
}

// runBlocks measures a plan, and at its end the rate at which FastNetMon lost packets, lossy times a side when not 0. What was
// measured is returned with an error, too.
func runBlocks(ctx context.Context, cfg versus.Config, plan []versus.Block, lossy int) (results []versus.Result, err error) {
	vs, err := versus.New(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, vs.Close()) }()
	var errs []error
	block := func(p versus.Block) {
		r, err := vs.Run(ctx, p)
		results, errs = append(results, r...), append(errs, err)
	}
	for _, p := range plan {
		if ctx.Err() == nil {
			block(p)
		}
	}
	if lossy > 0 && ctx.Err() == nil {
		p, ok, err := versus.Lossy(results, lossy)
		if errs = append(errs, err); ok {
			block(p)
		}
	}
	return results, errors.Join(errs...)
}

// buildDPDK is the product with DPDK, or empty where DPDK is not installed.
func buildDPDK(ctx context.Context, dir string, log io.Writer) string {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil || exec.CommandContext(ctx, "pkg-config", "--exists", "libdpdk").Run() != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, "make", "-s", "-C", strings.TrimSpace(string(root)), "BIN="+dir, "build-dpdk").CombinedOutput()
	if err != nil {
		fmt.Fprintf(log, "  no Weir with DPDK: %v\n%s", err, out)
		return ""
	}
	return filepath.Join(dir, "weir-dpdk")
}

// versusRow is a side's row, next to those of the same block that it is held against.
func versusRow(r versus.Result, all []versus.Result) Row {
	name := fmt.Sprintf("%s, %s: %s", r.Scenario.About, versus.RateName(r.Rate), r.Side.Label)
	if r.Missing != "" || len(r.Runs) == 0 {
		why := r.Missing
		if why == "" {
			why = "see the faults"
		}
		return Row{Scenario: "versus", Case: name + ": not run, " + why}
	}
	out := row("versus", name, "ns", r.Nanoseconds())
	out.Beside = []Beside{{"offered", r.Offered() / 1e6, "Mpps"}}
	word := "lost"
	if r.Missed() > 0 && !r.Loses() {
		word = "not parsed"
	}
	out.Beside = append(out.Beside, Beside{word, 100 * r.Missed(), "%"})
	peers := make(map[string]versus.Result)
	for _, x := range all {
		if x.Scenario.Name == r.Scenario.Name && x.Rate == r.Rate && len(x.Runs) > 0 {
			peers[x.Side.Name] = x
		}
	}
	againstFloor(&out, r, peers)
	againstRival(&out, r, peers)
	if r.Side.Kind == versus.Ours && r.Rate > 0 {
		out.Targets = append(out.Targets, Target{Text: "lost", Limit: 0, Value: 100 * r.Best(), Unit: "%"})
	}
	return out
}

// against is a limit that is part of another side's figure.
func against(text string, part float64, r, x versus.Result, f func(versus.Run) float64, median float64) Target {
	t := Target{Text: text, Limit: part * median, Value: r.Median(), Unit: "ns"}
	if least, most, ok := r.Against(x, func(run versus.Run) float64 { return part * f(run) }); ok {
		t.Least, t.Most = least, most
	}
	return t
}

// againstFloor holds a side against twice a bare counter on the same socket, and says when no program that counts as much can do that.
func againstFloor(out *Row, r versus.Result, peers map[string]versus.Result) {
	x, ok := peers[r.Side.Floor]
	if !ok {
		return
	}
	out.Beside = append(out.Beside, Beside{"bare counter", x.Median(), "ns"})
	if least, ok := peers[r.Side.Least]; ok {
		out.Beside = append(out.Beside, Beside{"that touches the memory of it, the floor,", least.Median(), "ns"})
	}
	out.Targets = append(out.Targets, against("2 x bare"+below(2*x.Median(), r, peers), 2, r, x,
		func(run versus.Run) float64 { return run.Nanoseconds }, x.Median()))
}

// below says so of a limit that no program keeps which counts as much as this side.
func below(limit float64, r versus.Result, peers map[string]versus.Result) string {
	if least, ok := peers[r.Side.Least]; ok && least.Median() > limit {
		return ", less than the floor"
	}
	return ""
}

// againstRival holds a side against FastNetMon.
func againstRival(out *Row, r versus.Result, peers map[string]versus.Result) {
	x, ok := peers[r.Side.Rival]
	if !ok {
		return
	}
	out.Beside = append(out.Beside, Beside{x.Side.Label, x.Net(), "ns without idling"}, Beside{"it missed", 100 * x.Missed(), "%"})
	if x.Scenario.Odd || x.Net() == 0 {
		return // it has not looked into most packets, or there were too few to tell their cost from idling
	}
	within, note := r.Side.Within, ""
	if r.Scenario.IPv6 && within > withoutFlows {
		within, note = withoutFlows, ", which counts no IPv6 flows"
	}
	text := fmt.Sprintf("FastNetMon/%g%s%s", within, note, below(x.Net()/within, r, peers))
	out.Targets = append(out.Targets, against(text, 1/within, r, x, func(run versus.Run) float64 { return run.Net }, x.Net()))
}

// withoutFlows is how many times FastNetMon's figure must be Weir's own where FastNetMon counts no flows. It tracks no IPv6 connections
// (https://github.com/pavel-odintsov/fastnetmon/issues/938), whatever its configuration says.
const withoutFlows = 4

// unfair finds results that are wrong: Weir must lose nothing at a rate that it is given, and count everything that it is
// given. A neighbour on the machine can hold the core for longer than a ring lasts, so one good repetition is proof enough.
func unfair(results []versus.Result) error {
	var errs []error
	for _, r := range results {
		if r.Side.Kind == versus.Ours && r.Rate > 0 && r.Best() > 0 {
			errs = append(errs, fmt.Errorf("%s, %s, %s: %.2f %% lost", r.Scenario.Name, versus.RateName(r.Rate), r.Side.Name, 100*r.Best()))
		}
	}
	return errors.Join(errs...)
}

// draw writes the picture, if one is wanted.
func (b *bench) draw(results []versus.Result) error {
	if b.svg == "" {
		return nil
	}
	f, err := os.Create(b.svg)
	if err != nil {
		return err
	}
	r := b.report
	footing := fmt.Sprintf("Bars are medians of the turns, lines reach from the least to the most. Pale bars are not to be compared.\n"+
		"%s, %s, %s, commit %s, %s, load %s\n%s", r.Machine, r.Kernel, r.Go, r.Commit, r.Date.Format("2006-01-02"), r.Load[0],
		strings.Join(b.versions, " · "))
	return errors.Join(versus.SVG(f, "CPU a packet on veth, one core (less is better)", footing, results), f.Close())
}

// versusCommand is `bench versus`: chosen sides and scenarios, and captures, in a table of their own.
func versusCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var sides, scenarios []string
	for _, s := range versus.Sides() {
		sides = append(sides, s.Name)
	}
	for _, s := range versus.Scenarios() {
		scenarios = append(scenarios, s.Name)
	}
	flags := flag.NewFlagSet("bench versus [flags] [capture.pcap...]", flag.ContinueOnError)
	flags.SetOutput(stderr)
	side := flags.String("side", strings.Join(sides, ","), "`sides` that take turns, separated by commas")
	scenario := flags.String("scenario", "", "`scenarios`, separated by commas: "+strings.Join(scenarios, ", ")+" (default syn-65k without captures)")
	rates := flags.String("rate", "max", "`rates` in packets a second, separated by commas; max is as fast as it goes")
	repeat := flags.Int("repeat", 3, "how many turns each side gets")
	length := flags.Duration("length", time.Second, "how long a turn lasts")
	networks := flags.String("networks", "", "our own `networks` in the captures, separated by commas (default 10.0.0.0/16,2001:db8::/32)")
	svg := flags.String("svg", "", "`file` for a picture")
	weir := flags.String("weir", "", "measure this `program` instead of building one from the tree")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *repeat < 1 || *length < 100*time.Millisecond {
		return errors.New("repeat must be at least 1, and length 100ms")
	}
	plan, err := versusPlan(*scenario, *side, *rates, *networks, flags.Args(), *repeat)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	b := &bench{weir: *weir, log: stderr, svg: *svg, report: newReport(ctx, false)}
	if b.weir == "" {
		if b.weir, err = build(ctx, dir); err != nil {
			return err
		}
	}
	cfg := versus.Config{Weir: b.weir, Length: *length, Log: stderr}
	if strings.Contains(*side, "dpdk") {
		cfg.WeirDPDK = buildDPDK(ctx, dir, stderr)
	}
	b.versions = versus.Versions(ctx, cfg, plan[0].Sides)
	b.report.Versions = b.versions
	results, err := runBlocks(ctx, cfg, plan, 0)
	b.report.finish(nil, nil)
	return errors.Join(err, versus.Markdown(stdout, b.report.heading(), results), unfair(results), b.draw(results))
}

// versusPlan is what the command line asks for.
func versusPlan(scenario, side, rates, networks string, captures []string, repeat int) (plan []versus.Block, err error) {
	sides, err := versus.Choose(strings.Split(side, ",")...)
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, text := range words(networks) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("networks: %w", err)
		}
		own = append(own, p)
	}
	names := words(scenario)
	if len(names) == 0 && len(captures) == 0 {
		names = []string{"syn-65k"}
	}
	var list []versus.Scenario
	for _, n := range names {
		s, err := versus.Find(n)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	for _, path := range captures {
		s, err := versus.Capture(path, own)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	for _, s := range list {
		for _, text := range strings.Split(rates, ",") {
			rate := 0
			if text != "max" {
				if rate, err = strconv.Atoi(text); err != nil || rate < 1000 {
					return nil, fmt.Errorf("rate %q is neither max nor 1000 packets a second or more", text)
				}
			}
			plan = append(plan, versus.Block{Scenario: s, Rate: rate, Sides: sides, Repeat: repeat})
		}
	}
	return plan, nil
}

// words are the parts of a list with commas, none of an empty one.
func words(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(s string) bool { return s == "" })
}
