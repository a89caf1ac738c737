package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/weir-ddos/weir/appliance/config"
)

// Run is `weir run -c FILE`: the appliance, until SIGTERM or SIGINT. SIGHUP takes over the file as it is on disk.
// It returns the exit status: 0 stopped, 1 could not start or failed to stop cleanly, 2 wrong usage.
func Run(args []string, _, stderr io.Writer) int {
	fl := flag.NewFlagSet("weir run", flag.ContinueOnError)
	fl.SetOutput(stderr)
	path := fl.String("c", config.DefaultPath, "the configuration `FILE`")
	fl.Usage = func() {
		fmt.Fprintln(stderr, "usage: weir run -c FILE")
		fl.PrintDefaults()
	}
	if err := fl.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if fl.NArg() > 0 {
		fl.Usage()
		return 2
	}
	text, err := config.ReadFile(*path)
	if err != nil {
		fmt.Fprintln(stderr, "weir run:", err)
		return 1
	}
	cfg, err := config.Parse(*path, text)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	log, level := logger(cfg.Log, stderr)
	a, err := New(Options{Config: cfg, Text: text, Path: *path, Log: log, Level: level})
	if err != nil {
		fmt.Fprintln(stderr, "weir run:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := a.Start(ctx); err != nil {
		fmt.Fprintln(stderr, "weir run:", err)
		return 1
	}
	a.wait(ctx)
	log.Info("stopping", "routes", string(a.config().BGP.OnExit))
	if err := a.Stop(); err != nil {
		log.Error("stopped, not cleanly", "err", err)
		return 1
	}
	return 0
}
