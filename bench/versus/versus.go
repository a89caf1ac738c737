package versus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
)

// Config says what there is to measure with.
type Config struct {
	// Weir is the program; WeirDPDK the one that was built with DPDK, or empty.
	Weir, WeirDPDK string
	// Length is how long a measurement lasts, without its preparations.
	Length time.Duration
	// Log gets a line for each measurement.
	Log io.Writer
}

// Block is one scenario at one rate on some sides, in turns.
type Block struct {
	Scenario Scenario
	// Rate is packets a second; 0 is as fast as the cable takes them.
	Rate  int
	Sides []Side
	// Repeat is how many turns each side gets.
	Repeat int
	// Length is how long a turn lasts; 0 is the Config's.
	Length time.Duration
}

// Bench is a lab in which sides take turns.
type Bench struct {
	cfg   Config
	lab   *lab.Lab
	cable *cable.Cable
	// chosen is the file that names the program which the lab starts.
	chosen string
}

// Missing says which right or program is not there without which nothing can be measured.
func Missing() string {
	if why := netns.Missing(); why != "" {
		return why
	}
	for _, p := range [][2]string{{"taskset", "util-linux"}, {"ethtool", "ethtool"}} {
		if why := program(p[0], p[1])(Config{}); why != "" {
			return why
		}
	}
	return ""
}

// New makes the lab. The error says which right is missing.
func New(cfg Config) (b *Bench, err error) {
	if why := Missing(); why != "" {
		return nil, errors.New(why)
	}
	if runtime.NumCPU() < 2 {
		return nil, errors.New("the sender and the receiver need a processor each")
	}
	dir, err := os.MkdirTemp("", "weir-versus-")
	if err != nil {
		return nil, err
	}
	b = &Bench{cfg: cfg}
	// The lab starts one program; which one that is, is written into a file before.
	script := filepath.Join(dir, "pinned")
	b.chosen = filepath.Join(dir, "program")
	text := fmt.Sprintf("#!/bin/sh\nexec taskset -c %d \"$(cat %s)\" \"$@\"\n", cable.ReceiverCPU(), b.chosen)
	err = os.WriteFile(script, []byte(text), 0o700) //nolint:gosec // it must be executable
	if err == nil {
		b.lab, err = lab.New(script, 1)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b.lab.OnClose(func() error { return os.RemoveAll(dir) })
	b.cable, err = cable.Over(&netns.Link{NS: b.lab.Gen, Name: lab.Wire}, &netns.Link{NS: b.lab.App, Name: lab.Watch})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close removes the lab and all that runs in it.
func (b *Bench) Close() error { return b.lab.Close() }

// Versions are the programs' own, a line each, sides without one left out.
func Versions(ctx context.Context, cfg Config, sides []Side) (list []string) {
	seen := make(map[string]bool)
	for _, s := range sides {
		if s.missing(cfg) != "" {
			continue
		}
		if v := s.version(ctx, cfg); v != "" && !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	return list
}

// Run measures a block. What could be measured is returned with an error, too.
func (b *Bench) Run(ctx context.Context, block Block) (results []Result, err error) {
	g, err := b.cable.Generator(block.Scenario.Traffic)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	for _, s := range block.Sides {
		results = append(results, Result{Scenario: block.Scenario, Side: s, Rate: block.Rate, Missing: s.missing(b.cfg)})
	}
	for range block.Repeat {
		for i := range results {
			r := &results[i]
			if r.Missing != "" {
				continue
			}
			if err := ctx.Err(); err != nil {
				return results, err
			}
			run, err := b.measure(ctx, g, r, cmp.Or(block.Length, b.cfg.Length))
			if err != nil {
				return results, fmt.Errorf("%s, %s: %w", r.Scenario.Name, r.Side.Name, err)
			}
			r.Runs = append(r.Runs, run)
			fmt.Fprintf(b.cfg.Log, "  %s, %s, %s: %.0f ns a packet at %.0f k packets/s, %.2f %% not counted, idle %.1f %%\n", r.Scenario.Name,
				RateName(r.Rate), r.Side.Name, run.Nanoseconds, run.Offered/1000, 100*run.Missed(), 100*run.Idle)
		}
	}
	return results, nil
}

// RateName is a rate in words.
func RateName(rate int) string {
	if rate == 0 {
		return "as fast as it goes"
	}
	return fmt.Sprintf("%d k packets/s", rate/1000)
}

// period is a little more than the second after which Weir and FastNetMon have judged what they counted, and have cleared it.
const period = 1100 * time.Millisecond

// measure starts a side, gives it its packets, and ends it.
func (b *Bench) measure(ctx context.Context, g *cable.Generator, r *Result, length time.Duration) (run Run, err error) {
	rx, err := r.Side.start(ctx, b, r.Scenario)
	if err != nil {
		return run, err
	}
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		return errors.Join(rx.stop(), b.clean(ctx))
	}
	defer func() { err = errors.Join(err, stop()) }()
	base, perSecond, err := b.warmUp(g, rx, rx.warm)
	if err != nil {
		return run, err
	}
	if rx.steady != nil {
		if err := rx.steady(); err != nil {
			return run, err
		}
	}
	if r.Side.Periodic && len(r.Runs) > 0 {
		run.Idle = r.Runs[0].Idle
	} else if r.Side.Periodic {
		time.Sleep(period) // until it has cleared what the warm-up left
		begin, before := time.Now(), cable.CPUTime(rx.pid)
		time.Sleep(period)
		run.Idle = float64(cable.CPUTime(rx.pid)-before) / float64(time.Since(begin))
	}
	if r.Rate > 0 {
		perSecond = float64(r.Rate)
	}
	o := cable.Order{Rate: r.Rate, Count: uint64(length.Seconds() * perSecond)}
	if err := b.take(g, rx, o, perSecond, base, r, &run); err != nil {
		return run, err
	}
	if rx.check != nil {
		if err := rx.check(); err != nil {
			return run, err
		}
	}
	return run, stop()
}

// take gives a receiver its packets with the clock running, some of them before, so that it does what it does while they come. base is what
// it has counted before all of them, perSecond how many come in a second.
func (b *Bench) take(g *cable.Generator, rx *receiver, o cable.Order, perSecond float64, base uint64, r *Result, run *Run) error {
	first, err := b.cable.Delivered()
	if err != nil {
		return err
	}
	if _, err := g.Send(cable.Order{Rate: o.Rate, Count: lead(r.Side, o, perSecond)}); err != nil {
		return err
	}
	drained(rx.pid, leastWarm)
	begin, err := b.cable.Delivered()
	if err != nil {
		return err
	}
	before := cable.CPUTime(rx.pid)
	sent, err := g.Send(o)
	if err != nil {
		return err
	}
	used := b.used(rx, r.Side, sent.Elapsed) - before
	end, err := b.cable.Delivered()
	if err != nil {
		return err
	}
	total, err := settle(rx, base+end-first)
	run.Elapsed, run.Delivered, run.Counted = sent.Elapsed, end-first, total-base
	run.Offered = float64(end-begin) / sent.Elapsed.Seconds()
	run.divide(used, float64(end-begin), r.Scenario.Odd)
	return err
}

// used is what a receiver has used when it is done with what was sent in the last while. What a periodic one does once a second is in it
// as often as there are seconds in while: for packets of the second before the clock ran, and not for those of the last one.
func (b *Bench) used(rx *receiver, s Side, while time.Duration) time.Duration {
	if s.Polls {
		return cable.CPUTime(rx.pid)
	}
	return drained(rx.pid, while)
}

// lead is how many packets a side gets right before the clock runs: a periodic one so many that each of its periods is a full one.
func lead(s Side, o cable.Order, perSecond float64) uint64 {
	n := 1 + o.Count/5
	if s.Periodic {
		n = max(n, uint64(period.Seconds()*perSecond))
	}
	return n
}

// divide makes the time of one packet of the time for those delivered meanwhile: of one that the side has counted, or, where it
// does not count all that it has looked at, of one that was delivered.
func (r *Run) divide(used time.Duration, delivered float64, odd bool) {
	n := delivered
	if !odd {
		n *= 1 - r.Missed()
	}
	n = max(n, 1)
	r.Nanoseconds = float64(used) / n
	r.Net = max(0, r.Nanoseconds-r.Idle*float64(r.Elapsed)/n)
}

// Numbers of packets: of the first order of a warm-up, and the most of any.
const (
	firstOrder = 50_000
	largest    = 2_000_000
)

// leastWarm is how long every side gets traffic before it is measured.
const leastWarm = 200 * time.Millisecond

// warmUp sends as fast as it goes, for as long as the receiver wants, and returns its count and the cable's rate.
func (b *Bench) warmUp(g *cable.Generator, rx *receiver, want time.Duration) (base uint64, perSecond float64, err error) {
	start, err := b.cable.Delivered()
	if err != nil {
		return 0, 0, err
	}
	before, err := rx.received()
	if err != nil {
		return 0, 0, err
	}
	want = max(want, leastWarm)
	for order := uint64(firstOrder); want > 0; {
		s, err := g.Send(cable.Order{Count: order})
		if err != nil {
			return 0, 0, err
		}
		want -= s.Elapsed
		perSecond = s.PerSecond()
		order = max(firstOrder, min(largest, uint64(perSecond*want.Seconds())))
	}
	end, err := b.cable.Delivered()
	if err != nil {
		return 0, 0, err
	}
	drained(rx.pid, leastWarm)
	base, err = settle(rx, before+end-start)
	return base, perSecond, err
}

// drained waits until a process has worked off what lies in its ring, which shows in that it hardly wants to run any more,
// but not longer than twice the time that it took to fill, and returns its CPU time.
func drained(pid int, filled time.Duration) time.Duration {
	const step = 20 * time.Millisecond
	end := time.Now().Add(max(2*filled, 100*time.Millisecond))
	run, wait := cable.Usage(pid)
	for {
		begin := time.Now()
		time.Sleep(step)
		r, w := cable.Usage(pid)
		busy := (r - run) + (w - wait)
		run, wait = r, w
		if now := time.Now(); busy < now.Sub(begin)/2 || now.After(end) {
			return run
		}
	}
}

// settle waits until a receiver has counted want packets, or counts no more.
func settle(rx *receiver, want uint64) (n uint64, err error) {
	last := time.Now()
	for {
		now, err := rx.received()
		if err != nil {
			return n, err
		}
		if now != n {
			n, last = now, time.Now()
		}
		if n >= want || time.Since(last) > rx.lag {
			return n, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// clean looks that nothing was left behind: no process in the namespace, no XDP program at the device.
func (b *Bench) clean(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // also when it is interrupted
	return lab.Wait(ctx, patience, "end of all that a side has left", func() (bool, error) {
		pids, err := exec.CommandContext(ctx, "ip", "netns", "pids", b.lab.App.Name).Output()
		if err != nil {
			return false, err
		}
		there, err := b.attached(ctx)
		if err != nil {
			return false, err
		}
		if there {
			return false, errors.New("an XDP program is still there")
		}
		left := commands(string(pids))
		return len(left) == 0, fmt.Errorf("processes %q", left)
	})
}

// attached reports whether the receiver's device has an XDP program.
func (b *Bench) attached(ctx context.Context) (bool, error) {
	dev, err := b.lab.App.Command(ctx, "ip", "-d", "link", "show", "dev", lab.Watch).Output()
	return strings.Contains(string(dev), "xdp"), err
}

// commands are the command lines of processes other than this one, whose first thread may have been in the namespace and is
// then kept there, asleep.
func commands(pids string) (list []string) {
	for _, pid := range strings.Fields(pids) {
		if pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		text, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline")) // it may have ended
		list = append(list, pid+" "+strings.ReplaceAll(string(text), "\x00", " "))
	}
	return list
}
