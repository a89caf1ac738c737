package latency

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// Threshold is the limit on packets per second that every flood exceeds: FastNetMon's default, as in BASELINE.md 2.
const Threshold = 20_000

// Config says what is measured.
type Config struct {
	// Weir is the program.
	Weir string
	// Tick is the appliance's tick.
	Tick time.Duration
	// Factors are the rates of the floods, in thresholds, each above 1.
	Factors []float64
	// Runs is how many attacks there are for each factor.
	Runs int
	// Rand chooses the phase of each attack against the tick.
	Rand *rand.Rand
}

// Result is what the attacks of one rate gave.
type Result struct {
	// Tick and Factor are from the Config.
	Tick   time.Duration
	Factor float64
	// Times are from the first packet to the route, sorted: the Config's Runs, or fewer on a machine that is too busy to send.
	Times []time.Duration
	// Discarded is how many runs were thrown away since their flood was not sent at its rate.
	Discarded int
}

// Totals are the packets of all attacks of a Run together, thrown away ones included.
type Totals struct {
	// Sent is what the kernel took from the generator, Received what the port delivered, Dropped what it reports lost,
	// and Counted what the ticks have counted. Wire is what a virtual cable lost on the way, which no port can tell. A good run has
	// Sent = Received = Counted and nothing dropped.
	Sent, Wire, Received, Dropped, Counted uint64
}

// Lost is how many packets were not counted, or counted without having been sent.
func (t Totals) Lost() uint64 { return max(t.Sent, t.Received) - min(t.Sent, t.Counted) }

// settled reports whether every packet is accounted for, counted or reported as dropped.
func (t Totals) settled() bool {
	return t.Sent == t.Wire+t.Received+t.Dropped && t.Counted == t.Received
}

const (
	// patience is how long a route may take before the run fails.
	patience = 20 * time.Second
	// attempts is how often a run is tried until its flood has its rate.
	attempts = 4
	// tolerance is by how much the time that a flood needs to exceed the threshold may be off, in parts of the window. A
	// flood of ten thresholds may thus miss its rate by a quarter, one of 1.2 by 3 %: 30 ms with a window of a second.
	tolerance = 0.03
)

// ErrBusy is the end of a Run on a machine that is too busy to send at the wanted rates.
var ErrBusy = errors.New("the machine is too busy")

// Run measures all factors at one tick, in a lab of its own. The factors take turns, so that a disturbance hits all alike.
func Run(ctx context.Context, cfg Config) (results []Result, totals Totals, err error) {
	b, err := newBench(ctx, cfg)
	if err != nil {
		return nil, totals, err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	for _, f := range cfg.Factors {
		results = append(results, Result{Tick: cfg.Tick, Factor: f})
	}
	for range cfg.Runs {
		for i := range results {
			if err := b.measure(ctx, &results[i]); err != nil {
				return nil, b.totals, fmt.Errorf("tick %v, flood of %g thresholds: %w\n%s", cfg.Tick, results[i].Factor, err, tail(b.weir.Log()))
			}
		}
	}
	for i := range results {
		r := &results[i]
		if 2*len(r.Times) < cfg.Runs {
			return nil, b.totals, fmt.Errorf("tick %v, flood of %g thresholds: %w: %d of %d runs were not sent at their rate",
				cfg.Tick, r.Factor, ErrBusy, r.Discarded, r.Discarded+len(r.Times))
		}
		slices.Sort(r.Times)
	}
	return results, b.totals, b.account(ctx)
}

// tail is the end of a log, each line after a tab.
func tail(log string) string {
	log = strings.TrimSpace(log[max(0, len(log)-2000):])
	return "\t" + strings.ReplaceAll(log, "\n", "\n\t")
}

// bench is a lab in which attacks take place.
type bench struct {
	cfg     Config
	lab     *lab.Lab
	bird    *routertest.BIRD
	weir    *lab.Weir
	attacks int // victims so far
	totals  Totals
}

func newBench(ctx context.Context, cfg Config) (b *bench, err error) {
	b = &bench{cfg: cfg}
	if b.lab, err = lab.New(cfg.Weir, 1); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.lab.Close())
		}
	}()
	if b.bird, err = b.lab.StartBIRD(ctx, nil); err != nil {
		return nil, err
	}
	// The guard rails stay on; only their numbers allow an attack a second for the whole run.
	config := b.lab.Base(lab.BIRD) + fmt.Sprintf(`tick: %v
ports: [{driver: afxdp, device: %s}]
hostgroups:
  global: {ban_for_pps: true, threshold_pps: %d, mitigation: blackhole}
bans: {ban_time: 1h}
guard: {max_blackholes: 10000, max_new_per_minute: 10000}
`, cfg.Tick, lab.Watch, Threshold)
	if b.weir, err = b.lab.Start(ctx, config); err != nil {
		return nil, err
	}
	return b, lab.Wait(ctx, patience, "BGP session", func() (bool, error) { return b.bird.Established(ctx) })
}

// measure adds one time to r, or none when no flood had its rate.
func (b *bench) measure(ctx context.Context, r *Result) error {
	for range attempts {
		// The pause lets the last packets of the previous flood be counted; its random part is the phase.
		pause := 50*time.Millisecond + time.Duration(b.cfg.Rand.Int64N(int64(b.cfg.Tick)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		took, ok, err := b.attack(ctx, r.Factor, b.attacks/len(b.cfg.Factors)%2 == 1)
		if err != nil {
			return err
		}
		if ok {
			r.Times = append(r.Times, took)
			return nil
		}
		r.Discarded++
	}
	return nil
}

// victim is an address that no attack has had before.
func (b *bench) victim(v6 bool) netip.Prefix {
	n := b.attacks
	b.attacks++
	if v6 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 12: 1, 14: byte(n >> 8), 15: byte(n)}), 128)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(1 + n>>8), byte(n)}), 32)
}

// attack floods a new victim until its route is in BIRD. ok is false when the flood did not have its rate.
func (b *bench) attack(ctx context.Context, factor float64, v6 bool) (took time.Duration, ok bool, err error) {
	victim := b.victim(v6)
	rate := factor * Threshold
	s := gen.Scenario{Name: "latency", Seed: uint64(b.attacks), Streams: []gen.Stream{
		{Kind: "udp", Target: victim.Addr().String(), PPS: rate, Duration: gen.Duration(patience)},
	}}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var first time.Time
	var stats send.Stats
	sent := make(chan error, 1)
	go func() {
		var err error
		stats, err = b.lab.Send(sending, s, send.Config{AttackStarts: func(_ int, at time.Time) { first = at }})
		sent <- err
	}()
	seen, err := b.await(ctx, victim)
	stop()
	err = errors.Join(err, <-sent)
	b.totals.Sent += stats.Sent
	if err != nil {
		return 0, false, err
	}
	// The route must lie between the first packet and now, or the two clocks do not mean the same.
	now := time.Now()
	if first.IsZero() || seen.Before(first.Truncate(time.Millisecond)) || seen.After(now) {
		return 0, false, fmt.Errorf("route of %s at %v, with the first packet at %v and %v now", victim, seen, first, now)
	}
	got := float64(stats.Sent) / stats.End.Sub(stats.Start).Seconds()
	return seen.Sub(first), math.Abs(Threshold/got-Threshold/rate) <= tolerance && stats.Refused == 0, nil
}

// await polls until BIRD has the route, and returns the time that BIRD notes for it.
func (b *bench) await(ctx context.Context, victim netip.Prefix) (at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(25 * time.Millisecond)
	defer poll.Stop()
	for {
		out, err := b.bird.Client(ctx, "show route protocol weir for "+victim.Addr().String())
		if err == nil && strings.Contains(out, "[weir ") {
			return birdTime(out, time.Now())
		}
		select {
		case <-ctx.Done():
			return at, fmt.Errorf("no route of %s within %v: %s", victim, patience, out)
		case <-poll.C:
		}
	}
}

// birdTime finds the time of day in "[weir 12:34:56.789]" and makes it the latest such moment that is not after now.
func birdTime(out string, now time.Time) (time.Time, error) {
	_, rest, _ := strings.Cut(out, "[weir ")
	text, _, _ := strings.Cut(rest, "]")
	text, _, _ = strings.Cut(text, " ") // BIRD may add where the route came from
	clock, err := time.ParseInLocation("15:04:05.000", text, now.Location())
	if err != nil {
		return time.Time{}, fmt.Errorf("time of a route in %q: %w", out, err)
	}
	y, m, d := now.Date()
	t := time.Date(y, m, d, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
	if t.After(now) { // it was yesterday
		t = t.AddDate(0, 0, -1)
	}
	return t, nil
}

// account waits until every packet that was sent is counted, and says what became of them. Packets that are missing are
// no error here: the caller judges the totals.
func (b *bench) account(ctx context.Context) error {
	read := func() (err error) {
		for name, to := range map[string]*uint64{
			"total_simple_packets_processed": &b.totals.Received,
			"port_dropped_packets":           &b.totals.Dropped,
			"packets_counted":                &b.totals.Counted,
		} {
			v, err := b.weir.Counter(name)
			if err != nil {
				return err
			}
			*to = uint64(v)
		}
		return nil
	}
	var last error
	_ = lab.Wait(ctx, patience, "last packet", func() (bool, error) { // ports are read once a second
		if b.totals.Wire, last = b.lab.WireLost(); last == nil {
			last = read()
		}
		return b.totals.settled(), last
	})
	return last
}
