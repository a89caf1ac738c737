package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// options are the command line.
type options struct {
	timing
	// weir is the program that is shown.
	weir string
	// replay is a capture to play instead of live traffic; config is a weir.yaml for it, speed how fast it is played.
	replay, config string
	speed          float64
	forceReplay    bool
	sendTwice      bool
}

// errInterrupted: somebody pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

// run is main with its surroundings as arguments; it returns the exit code: 0 only when the main job really happened.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) string) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return exitUsage
	}
	s := newScreen(stdout, env)
	s.line("%s", s.paint(bold, "Weir: from a packet to a blackhole"))
	err = show(ctx, s, o)
	s.status() // the block goes, the lines stay
	switch {
	case errors.Is(err, errInterrupted) || ctx.Err() != nil:
		fmt.Fprintln(stderr, "demo: interrupted; everything that it made is removed")
		return exitInterrupted
	case err != nil:
		s.line("%s", s.paint(red, "FAILED"))
		fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	s.line("%s", s.paint(green, "OK: found, blackholed in the router, shielded, and withdrawn after the attack"))
	return exitOK
}

// show chooses between live traffic and a replay.
func show(ctx context.Context, s *screen, o options) error {
	if o.replay != "" || o.forceReplay {
		return runReplay(ctx, s, o)
	}
	why := netns.Missing()
	if why == "" {
		err := runLive(ctx, s, o)
		if !errors.Is(err, errNoRouter) {
			return err
		}
		why = err.Error()
	}
	s.line("Not live but from a capture, since %s.", why)
	return runReplay(ctx, s, o)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "demo shows Weir's main job: live in network namespaces as root, else from a capture.\n\n")
		f.PrintDefaults()
	}
	f.StringVar(&o.weir, "weir", "", "the weir `program`; beside this one by default")
	f.StringVar(&o.replay, "replay", "", "play this capture `file` instead of live traffic")
	f.BoolVar(&o.forceReplay, "no-root", false, "play a generated capture although live traffic is possible")
	f.StringVar(&o.config, "c", "", "with --replay: a weir.yaml `file` instead of the demo's own")
	f.Float64Var(&o.speed, "speed", 0, "with --replay: so many times as fast as recorded; 0 chooses, real time or faster")
	f.DurationVar(&o.quiet, "quiet", 6*time.Second, "how long the quiet minute takes")
	f.DurationVar(&o.attack, "attack", 18*time.Second, "how long each attack lasts")
	f.DurationVar(&o.stagger, "stagger", 6*time.Second, "how much later the second attack begins")
	f.Float64Var(&o.pps, "pps", 10_000, "packets per second of each attack")
	f.BoolVar(&o.sendTwice, "send-twice", false, "do without the kernel's mirroring: send every frame to router and appliance")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.tail = 12 * time.Second
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.quiet < time.Second || o.attack < 2*time.Second || o.stagger < 0 || o.attack+o.stagger > time.Hour || o.quiet > quietMinute:
		return o, errors.New("the times must be: quiet 1s to 1m, attack from 2s, stagger from 0")
	case o.pps < 2*limitSYN || o.pps > 1e6:
		return o, fmt.Errorf("pps must be %d to 1000000", 2*limitSYN)
	case o.speed < 0 || o.config != "" && o.replay == "":
		return o, errors.New("--speed must not be negative, and -c goes with --replay")
	}
	if o.weir == "" {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.weir = filepath.Join(filepath.Dir(self), "weir")
	}
	if _, err := os.Stat(o.weir); err != nil {
		return o, fmt.Errorf("the weir program: %w; `make build` makes it", err)
	}
	return o, nil
}
