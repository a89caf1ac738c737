package latency

import (
	"context"
	"errors"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestBirdTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 1, 5e6, time.Local)
	for _, c := range []struct {
		name, out string
		want      time.Time
	}{
		{"today", "10.0.1.5/32 blackhole [weir 00:00:01.003] * (100) [AS64512i]", now.Add(-2 * time.Millisecond)},
		{"yesterday", "2001:db8::1/128 blackhole [weir 23:59:59.990] * (100)", now.Add(-1015 * time.Millisecond)},
		{"with its origin", "10.0.1.5/32 blackhole [weir 00:00:01.000 from 10.99.0.1] * (100)", now.Add(-5 * time.Millisecond)},
		{"a date", "10.0.1.5/32 blackhole [weir 2026-03-01] * (100)", time.Time{}},
		{"nothing", "Network not found", time.Time{}},
	} {
		got, err := birdTime(c.out, now)
		if !got.Equal(c.want) || (err != nil) != c.want.IsZero() {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t    Totals
		want uint64
	}{
		{Totals{Sent: 10, Received: 10, Counted: 10}, 0},
		{Totals{Sent: 10, Received: 8, Dropped: 2, Counted: 8}, 2},
		{Totals{Sent: 10, Received: 10, Counted: 9}, 1},
		{Totals{Sent: 10, Received: 11, Counted: 11}, 1}, // counted, but never sent: as wrong
	} {
		if got := c.t.Lost(); got != c.want {
			t.Errorf("%+v: %d", c.t, got)
		}
	}
}

// TestRun: the measurement works in both families, with the real program and BIRD.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs attacks of seconds")
	}
	if why := netns.Missing(); why != "" {
		t.Skip(why)
	}
	if _, err := exec.LookPath("/usr/sbin/bird"); err != nil {
		t.Skip("bird is not installed")
	}
	weir := filepath.Join(t.TempDir(), "weir")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", weir, "../../appliance/cmd/weir")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build weir: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// A tenth of the rates of the real benchmark would need another threshold; 2 thresholds are 40,000 packets a second.
	results, totals, err := Run(ctx, Config{Weir: weir, Tick: 100 * time.Millisecond, Factors: []float64{2}, Runs: 2, Rand: rand.New(rand.NewPCG(1, 1))})
	if errors.Is(err, ErrBusy) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; len(results) != 1 || len(r.Times) == 0 || r.Times[0] <= 0 {
		t.Errorf("%+v", results)
	}
	if totals.Sent == 0 || !totals.settled() { // a busy machine may lose packets, and must say so
		t.Errorf("%+v", totals)
	}
	m, err := Blackholes(ctx, weir, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Announced) != 1 || len(m.Withdrawn) != 1 || m.Announced[0] <= 0 {
		t.Errorf("%+v", m)
	}
	t.Log(results, totals, m)
}
