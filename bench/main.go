// Command bench measures Weir and prints one table: `make bench`, or `go run ./bench --only memory,ports --quick --json`; and
// `go run ./bench versus --scenario imix --side weir-afxdp,fastnetmon --svg out.svg capture.pcap` puts chosen sides next to each other.
//
// Each scenario is a function that returns rows; the measuring itself is in the packages below this one. A target that
// is missed is a figure like any other. What ends the program with 1 is a scenario that could not run, or a result that
// is wrong: a packet lost or not counted, a route that did not arrive. README.md says what each scenario does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/bench/alone"
	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/bench/flows"
	"github.com/weir-ddos/weir/bench/versus"
)

// bench is what scenarios get and give.
type bench struct {
	quick bool
	// weir is the program, built from this tree unless another one is wanted; dir is for files that are not kept.
	weir, dir string
	// svg is the file for the picture of `versus`, empty for none.
	svg string
	log io.Writer
	// report is what is known before the first scenario.
	report *Report
	rows   []Row
	// versions are those of the programs that Weir was put next to.
	versions []string
}

// scenario is one part of the table. run returns an error when it could not run or a result is wrong; the rows
// that it has added stay.
type scenario struct {
	name, about string
	needsWeir   bool
	run         func(context.Context, *bench) error
}

var scenarios = []scenario{
	{"prefixes", "two lookups among 100,000 configured prefixes", false, prefixes},
	{"memory", "parse, look up, classify, count from memory, next to a loop that only touches the same memory", false, memoryPath},
	{"tick", "a whole tick of the control plane with 1 M and 4 M active hosts, alone and beside a worker at full rate", false, ticks},
	{"scale", "two workers next to one", false, twoWorkers},
	{"ports", "CPU a packet through AF_XDP and AF_PACKET on veth, next to bare counters on the same socket", false, portsPath},
	{"versus", "CPU a packet and loss next to bare counters, tcpdump, testpmd and FastNetMon on the same cable", true, versusPath},
	{"dpdk", "the product through DPDK's virtual devices, next to dpdk-testpmd that only receives", false, dpdkPath},
	{"blackholes", "10,000 routes from the wanted set to BIRD", true, blackholes},
	{"latency", "first packet of an attack to the route at BIRD", true, firstPacketToRoute},
	{"flows", "flow records: decode, sample, count, next to goflow2; received over loopback; and next to nfcapd, nfacctd and FastNetMon", false, flowRecords},
	{"soak", "the program at full rate for ten minutes, with commits and API queries: accounting, memory, gaps", true, soaked},
}

func main() {
	alone.Child()
	cable.Child()
	flows.Child()
	versus.Child()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "versus" {
		return versusCommand(ctx, args[1:], stdout, stderr)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run these `scenarios` only, separated by commas")
	quick := flags.Bool("quick", false, "fewer and shorter runs: to see that everything works, not to quote")
	asJSON := flags.Bool("json", false, "print JSON instead of Markdown")
	svg := flags.String("svg", "", "`file` for the picture of versus")
	weir := flags.String("weir", "", "measure this `program` instead of building one from the tree")
	list := flags.Bool("list", false, "list the scenarios, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, s := range scenarios {
			fmt.Fprintf(stdout, "%-11s %s\n", s.name, s.about)
		}
		return nil
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	report := newReport(ctx, *quick)
	b := &bench{quick: *quick, weir: *weir, log: stderr, svg: *svg, report: report}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	if b.weir == "" && slices.ContainsFunc(chosen, func(s scenario) bool { return s.needsWeir }) {
		if b.weir, err = build(ctx, dir); err != nil {
			return err
		}
	}
	b.dir = dir
	err = b.runAll(ctx, chosen)
	report.Versions = b.versions
	report.finish(b.rows, err)
	if *asJSON {
		return errors.Join(err, report.JSON(stdout))
	}
	return errors.Join(err, report.Markdown(stdout))
}

// runAll goes on after a scenario that failed: the others are worth having.
func (b *bench) runAll(ctx context.Context, chosen []scenario) error {
	var errs []error
	for _, s := range chosen {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		begin := time.Now()
		fmt.Fprintf(b.log, "%s: %s\n", s.name, s.about)
		if err := s.run(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		debug.FreeOSMemory() // the next one starts without the garbage of this one
		fmt.Fprintf(b.log, "%s: took %v\n", s.name, time.Since(begin).Round(100*time.Millisecond))
	}
	return errors.Join(errs...)
}

// add adds a row, and shows it at once on the way to the table.
func (b *bench) add(r Row) {
	b.rows = append(b.rows, r)
	if r.Runs == 0 {
		fmt.Fprintf(b.log, "  %s\n", r.Case)
		return
	}
	fmt.Fprintf(b.log, "  %s: %s%s\n", r.Case, number(r.Median, r.Unit), r.verdict(": ", "; "))
}

// choose finds scenarios by name, in the order of the table.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios, nil
	}
	names := strings.Split(only, ",")
	var out []scenario
	for _, s := range scenarios {
		if i := slices.Index(names, s.name); i >= 0 {
			out = append(out, s)
			names = slices.Delete(names, i, i+1)
		}
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("no scenario %q; see --list", names[0])
	}
	return out, nil
}

// build makes the program from the tree as it is, as the Makefile does: a binary that lies around may be an older one.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "weir")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "github.com/weir-ddos/weir/appliance/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir: %w\n%s", err, out)
	}
	return path, nil
}
