package flows

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// childEnv holds the port of a collector that runs in a process of its own.
const childEnv = "WEIR_BENCH_FLOWS"

// Child runs our collector and ends the process, when this process was started for that. Main functions and TestMain call it first.
func Child() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	if err := collect(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// collect receives with one socket, as the appliance does, and ticks every second until the parent goes.
func collect(text string) error {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return err
	}
	s, err := newSite(ReceiveCase{Hosts: besideHosts}, uint16(port))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.collector.Start(ctx); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		cancel()
	}()
	if err := s.ticks(ctx, new(time.Duration)); err != nil {
		return err
	}
	return s.free()
}
