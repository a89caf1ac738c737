// Command trafficgen makes labelled traffic, benign and hostile, as a pcap file or live on an interface, or what a router would export about it,
// with the exact truth beside it.
//
// Run it with --help; packages gen, send and export are the libraries behind it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

const usage = `trafficgen makes labelled traffic: to a capture, or live onto an interface, with the exact truth beside it.

  trafficgen --scenario quiet-then-syn --out attack.pcap --truth truth.json
  trafficgen --scenario quiet-then-udp/vlan/mpls --device veth0
  trafficgen --kind syn --target 10.0.0.5 --pps 30000 --duration 10s --background 2000 --out a.pcap
  trafficgen --scenario quiet-then-syn --export ipfix --sampling 100 --collector 127.0.0.1:2055
  trafficgen --kind udp --target 2001:db8::5 --export sflow --sampling 1000 --out sflow.pcap
  trafficgen --list

The traffic is a scenario (a built-in name or a YAML file), or one flood described by flags. The same scenario and seed give the same
frames. The truth has the shape of "weir replay --json", and the list of attacks. Live, one JSON object a line goes to standard
output: {"event":"attack",...} right before the first packet of each attack leaves, {"event":"done",...} at the end.

With --export a device is played that sees the traffic and exports NetFlow, IPFIX or sFlow about it, to a capture or live to a collector.
The truth then has two parts: what was exported, and what the traffic was.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command line.
type options struct {
	scenario, out, device, truth string
	list, flatOut, countIP       bool
	seed                         uint64
	speed, scale                 float64
	charge                       string
	networks                     string
	background                   float64
	stream                       gen.Stream
	via                          string
	start, duration, tick        time.Duration
	export                       exportOptions
	set                          map[string]bool
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{set: make(map[string]bool)}
	f := flag.NewFlagSet("trafficgen", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run says what is wrong, without the whole of --help around it
	f.BoolVar(&o.list, "list", false, "list scenarios, kinds and encapsulations, and end")
	f.StringVar(&o.scenario, "scenario", "", "built-in `name`, or a YAML file")
	f.StringVar(&o.out, "out", "", "write a pcap `file` with nanosecond times")
	f.StringVar(&o.device, "device", "", "send live on this `interface`")
	f.StringVar(&o.truth, "truth", "", "write the truth as JSON to this `file`; beside the capture with .truth.json at its end when not given, - is standard output")
	f.Uint64Var(&o.seed, "seed", 1, "chooses addresses, ports and moments")
	f.StringVar(&o.charge, "charge", "outer", "which header of a tunnel the truth counts: outer, inner or both")
	f.BoolVar(&o.countIP, "count-ip", false, "count IP lengths in the truth, not frame lengths")
	f.DurationVar(&o.tick, "tick", time.Second, "the detector's tick, within which the truth tells flows apart")
	f.StringVar(&o.networks, "networks", "", "our networks, comma-separated; 10.0.0.0/16,2001:db8::/32 by default")
	f.Float64Var(&o.scale, "scale", 1, "multiply all rates")
	f.Float64Var(&o.speed, "speed", 1, "live: divide all times; 2 is twice as fast")
	f.BoolVar(&o.flatOut, "flat-out", false, "live: send as fast as the kernel takes it")
	f.Float64Var(&o.background, "background", 0, "benign packets per second, also for a scenario")
	f.StringVar(&o.stream.Kind, "kind", "", "kind of the flood, one of --list")
	f.StringVar(&o.via, "via", "", "its encapsulations, outermost first, comma-separated")
	f.StringVar(&o.stream.Target, "target", "", "attacked address or prefix")
	f.StringVar(&o.stream.Peer, "peer", "", "prefix of the other side")
	f.BoolVar(&o.stream.Outgoing, "outgoing", false, "the target sends")
	f.Float64Var(&o.stream.PPS, "pps", 30_000, "packets per second")
	f.IntVar(&o.stream.Count, "count", 0, "packets, instead of the duration")
	f.IntVar(&o.stream.Flows, "flows", 0, "distinct addresses and ports; 0: new ones for each packet")
	f.DurationVar(&o.start, "start", 0, "when the flood begins")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "how long it lasts")
	o.export.flags(f)
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, usage)
		f.SetOutput(stderr)
		f.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w; see --help", err)
	}
	f.Visit(func(x *flag.Flag) { o.set[x.Name] = true })
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q; see --help", f.Arg(0))
	}
	return o, nil
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && o.list {
		list(stdout)
		return 0
	}
	if err == nil {
		err = generate(ctx, o, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "trafficgen:", err)
		return 1
	}
	return 0
}

func generate(ctx context.Context, o *options, stdout io.Writer) error {
	switch {
	case o.export.protocol != "" && o.device != "":
		return errors.New("--export and --device: an export goes to a collector, not to an interface")
	case o.export.protocol == "" && (o.out == "") == (o.device == ""):
		return errors.New("give one of --out and --device, or --export; see --help")
	}
	s, err := o.build()
	if err != nil {
		return err
	}
	opt := gen.Options{Charge: gen.Charge(o.charge), CountIP: o.countIP, Epoch: o.tick}
	if o.export.protocol != "" {
		return o.exportFlows(ctx, s, opt, stdout)
	}
	if o.out != "" {
		return o.toFile(s, opt, stdout)
	}
	return o.live(ctx, s, opt, stdout)
}

// build makes the scenario of the flags.
func (o *options) build() (s gen.Scenario, err error) {
	switch {
	case o.scenario != "" && o.stream.Kind != "":
		return s, errors.New("give one of --scenario and --kind")
	case o.scenario != "":
		if _, statErr := os.Stat(o.scenario); statErr == nil {
			s, err = gen.Load(o.scenario)
		} else {
			s, err = gen.Builtin(o.scenario)
		}
	case o.stream.Kind != "":
		o.stream.Start, o.stream.Duration = gen.Duration(o.start), gen.Duration(o.duration)
		if o.via != "" {
			o.stream.Via = strings.Split(o.via, ",")
		}
		s = gen.Scenario{Name: o.stream.Kind, Streams: []gen.Stream{o.stream}}
	default:
		return s, errors.New("give --scenario or --kind, or --list to see what there is")
	}
	if err != nil {
		return s, err
	}
	if o.set["seed"] || s.Seed == 0 {
		s.Seed = o.seed
	}
	if o.set["background"] {
		s.Background = o.background
	}
	if o.networks != "" {
		s.Networks = nil
		for text := range strings.SplitSeq(o.networks, ",") {
			p, err := netip.ParsePrefix(strings.TrimSpace(text))
			if err != nil {
				return s, fmt.Errorf("--networks: %w", err)
			}
			s.Networks = append(s.Networks, p)
		}
	}
	if o.scale != 1 {
		s.Background *= o.scale
		for i := range s.Streams {
			s.Streams[i].PPS *= o.scale
		}
	}
	return s, nil
}

func (o *options) toFile(s gen.Scenario, opt gen.Options, stdout io.Writer) error {
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	r, err := gen.WritePcap(f, s, opt)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if o.truth == "" {
		o.truth = strings.TrimSuffix(o.out, ".pcap") + ".truth.json"
	}
	if err := o.writeTruth(r, stdout); err != nil {
		return err
	}
	if o.truth != "-" {
		attacks := "1 attack"
		if n := len(r.Attacks); n != 1 {
			attacks = fmt.Sprintf("%d attacks", n)
		}
		fmt.Fprintf(stdout, "%s: %d packets, %d bytes, %s; truth in %s\n", o.out, r.Packets, r.Bytes, attacks, o.truth)
	}
	return nil
}

func (o *options) writeTruth(r gen.Result, stdout io.Writer) error {
	return writeTo(o.truth, r, stdout)
}

// writeTo writes a truth to a file, to standard output when it is called -, and nowhere when it has no name.
func writeTo(name string, t interface{ WriteJSON(io.Writer) error }, stdout io.Writer) error {
	switch name {
	case "":
		return nil
	case "-":
		return t.WriteJSON(stdout)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(t.WriteJSON(f), f.Close())
}

// event is a line of live output.
type event struct {
	Event  string      `json:"event"`
	Stream string      `json:"stream,omitempty"`
	Target string      `json:"target,omitempty"`
	Kind   string      `json:"kind,omitempty"`
	Time   time.Time   `json:"time"`
	UnixNS int64       `json:"unix_ns"`
	Stats  *send.Stats `json:"stats,omitempty"`
}

func (o *options) live(ctx context.Context, s gen.Scenario, opt gen.Options, stdout io.Writer) error {
	g, err := gen.New(s)
	if err != nil {
		return err
	}
	truth, err := gen.NewTruth(g, opt)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(stdout)
	stats, err := send.Run(ctx, g, send.Config{
		Device: o.device, Speed: o.speed, FlatOut: o.flatOut, Sent: truth.Add,
		AttackStarts: func(i int, at time.Time) {
			st := g.Streams()[i]
			_ = lines.Encode(event{Event: "attack", Stream: st.Name, Target: st.Target, Kind: st.Kind, Time: at.UTC(), UnixNS: at.UnixNano()})
		},
	})
	if err != nil {
		return err
	}
	if err := lines.Encode(event{Event: "done", Time: stats.End.UTC(), UnixNS: stats.End.UnixNano(), Stats: &stats}); err != nil {
		return err
	}
	return o.writeTruth(truth.Result(), stdout)
}

func list(w io.Writer) {
	fmt.Fprintln(w, "Scenarios (--scenario):")
	for _, b := range gen.Builtins() {
		fmt.Fprintf(w, "  %-26s %s\n", b[0], strings.ReplaceAll(b[1], "\n", "\n"+strings.Repeat(" ", 29)))
	}
	fmt.Fprintln(w, "\nKinds of packet (--kind), for IPv4 and IPv6 unless they say otherwise:")
	for _, k := range gen.Kinds() {
		fmt.Fprintf(w, "  %-16s %s\n", k, gen.Describe(k))
	}
	fmt.Fprintln(w, "\nEncapsulations (--via, outermost first):")
	for _, e := range gen.Encapsulations() {
		fmt.Fprintf(w, "  %-16s %s\n", e, gen.Describe(e))
	}
}
