package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
)

// Config is how the engine deals with its outputs.
type Config struct {
	// DetailsPackets is how many packets attack_details waits for, 1 to 10000. Default: 100.
	DetailsPackets int `json:"details_packets"`
	// DetailsWait is how long it waits at most, 0 to 10m; then it comes with the packets there are, and not at all without
	// any. Default: 5s.
	DetailsWait time.Duration `json:"details_wait"`
	// ReconcileEvery is how often mitigators get the wanted set when it has not changed, 100ms to 10m. Rarely changed. Default: 5s.
	ReconcileEvery time.Duration `json:"reconcile_every"`
	// ReconcileTimeout is how long one reconcile may take, 100ms to 10m. Rarely changed. Default: 10s.
	ReconcileTimeout time.Duration `json:"reconcile_timeout"`
	// JournalWait is how long an announcement waits for the journal at most, 0 to 1m. Rarely changed. Default: 500ms.
	JournalWait time.Duration `json:"journal_wait"`
}

// Default returns the values that are used when nothing is configured.
func Default() Config {
	return Config{
		DetailsPackets: 100, DetailsWait: 5 * time.Second,
		ReconcileEvery: 5 * time.Second, ReconcileTimeout: 10 * time.Second, JournalWait: 500 * time.Millisecond,
	}
}

// Validate reports every problem at once, each naming its key.
func (c Config) Validate() error {
	var errs []error
	within := func(key string, v, low, high time.Duration) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s: %v is outside %v..%v", key, v, low, high))
		}
	}
	if c.DetailsPackets < 1 || c.DetailsPackets > 10000 {
		errs = append(errs, fmt.Errorf("details_packets: %d is outside 1..10000", c.DetailsPackets))
	}
	within("details_wait", c.DetailsWait, 0, 10*time.Minute)
	within("reconcile_every", c.ReconcileEvery, 100*time.Millisecond, 10*time.Minute)
	within("reconcile_timeout", c.ReconcileTimeout, 100*time.Millisecond, 10*time.Minute)
	within("journal_wait", c.JournalWait, 0, time.Minute)
	return errors.Join(errs...)
}

// Settings are all that Apply can change while the engine runs.
type Settings struct {
	Engine Config
	// Tick is how often Run ticks, 100 ms to 60 s.
	Tick  time.Duration
	Rates rate.Config
	Bans  incident.Config
	// Rules are the compiled hostgroups, and Nets the table built from the networks and Rules.Members().
	Rules *rule.Set
	Nets  *nets.Table
	// Whitelist is never mitigated; incidents in it are reported.
	Whitelist []netip.Prefix
	// Mitigate is the planner's configuration. Its Site.Groups is filled from Rules when it is nil. A ban time in a policy is the
	// ban time of that group's incidents.
	Mitigate mitigate.Config
}

// Validate reports every problem at once.
func (s *Settings) Validate() error {
	var errs []error
	wrap := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	wrap("engine", s.Engine.Validate())
	wrap("rates", s.Rates.Validate())
	wrap("bans", s.Bans.Validate())
	if s.Tick < 100*time.Millisecond || s.Tick > time.Minute {
		errs = append(errs, fmt.Errorf("tick: %v is outside 100ms..60s", s.Tick))
	}
	if s.Rules == nil || s.Nets == nil {
		errs = append(errs, errors.New("rules and nets must be set"))
		return errors.Join(errs...)
	}
	for _, name := range s.Nets.Groups() {
		if _, ok := s.Rules.Index(name); !ok {
			errs = append(errs, fmt.Errorf("the prefix table has a hostgroup %q that has no rules", name))
		}
	}
	return errors.Join(errs...)
}

// whitelist is a set of prefixes, looked up by each length that occurs in it.
type whitelist struct {
	prefixes map[netip.Prefix]struct{}
	lengths  [2][]int // IPv4, IPv6
}

func newWhitelist(list []netip.Prefix) *whitelist {
	w := &whitelist{prefixes: make(map[netip.Prefix]struct{}, len(list))}
	var have [2][129]bool
	for _, p := range list {
		if !p.IsValid() {
			continue
		}
		w.prefixes[p.Masked()] = struct{}{}
		f := family(p.Addr())
		if !have[f][p.Bits()] {
			have[f][p.Bits()] = true
			w.lengths[f] = append(w.lengths[f], p.Bits())
		}
	}
	return w
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// has reports whether a target is whitelisted. A hostgroup's total never is.
func (w *whitelist) has(t rule.Target) bool {
	if !t.Host.IsValid() {
		return false
	}
	for _, n := range w.lengths[family(t.Host)] {
		if p, err := t.Host.Prefix(n); err == nil {
			if _, ok := w.prefixes[p]; ok {
				return true
			}
		}
	}
	return false
}
