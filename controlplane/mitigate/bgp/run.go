package bgp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// RunSpeaker is `weir speaker`: it serves the socket until it is told to shut down, a signal comes (SIGTERM, SIGINT: the
// configured on_exit decides about the routes), or no appliance has been attached for the orphan timeout. args are the
// arguments behind the sub-command; usage and the log go to stderr. now is the clock, time.Now but for tests.
// It changes the process's umask, so it belongs into a process of its own.
func RunSpeaker(ctx context.Context, args []string, stderr io.Writer, now func() time.Time) error {
	flags := flag.NewFlagSet("speaker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	socket := flags.String("socket", "", "unix `path` to serve; the file gets mode 0600")
	orphan := flags.Duration("orphan-timeout", Default().OrphanTimeout,
		"withdraw every route and end after this long without an appliance; the configuration overrides it")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *socket == "" || flags.NArg() > 0 {
		return errors.New("usage: weir speaker --socket PATH [--orphan-timeout DURATION]")
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("part", "bgp speaker")
	// Only the owner may talk to the speaker; the mask leaves no moment in which another could.
	unix.Umask(0o177)
	l, release, err := listen(*socket)
	if err != nil {
		return fmt.Errorf("speaker: %w", err)
	}
	defer release()
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE) // the terminal or the log reader may go; the routes stay
	v := newService(newSpeaker(log, now), log, now, *orphan)
	return v.run(ctx, l, time.Second)
}
