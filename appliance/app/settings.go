package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Settings compiles what the engine needs from a valid configuration.
func Settings(cfg *config.Config) (engine.Settings, error) {
	rules, err := rule.Compile(cfg.GroupConfigs())
	if err != nil {
		return engine.Settings{}, fmt.Errorf("hostgroups: %w", err)
	}
	table, err := nets.New(nets.Spec{Networks: cfg.Networks, Groups: rules.Members()})
	if err != nil {
		return engine.Settings{}, err
	}
	return engine.Settings{
		Engine: cfg.Engine, Tick: cfg.Tick, Rates: cfg.Rates, Bans: cfg.Bans, Rules: rules, Nets: table, Whitelist: cfg.Whitelist,
		Mitigate: mitigate.Config{
			Guard:    cfg.Guard,
			Site:     mitigate.Site{Networks: cfg.Networks, Whitelist: cfg.Whitelist, Infrastructure: infrastructure(cfg)},
			Policies: policies(cfg),
		},
	}, nil
}

// policies resolves each hostgroup's policy along its chain of parents; what is still unset comes from global, which the
// planner adds. rule.Compile has refused loops and unknown parents.
func policies(cfg *config.Config) map[string]mitigate.Policy {
	out := make(map[string]mitigate.Policy, len(cfg.Hostgroups))
	for name, g := range cfg.Hostgroups {
		p := g.Policy
		for up := g.Parent; up != ""; up = cfg.Hostgroups[up].Parent {
			p = p.Inherit(cfg.Hostgroups[up].Policy)
		}
		out[name] = p
	}
	return out
}

// infrastructure lists the addresses whose loss would cut the appliance off: both ends of every BGP session.
func infrastructure(cfg *config.Config) (list []netip.Prefix) {
	add := func(a netip.Addr) {
		if a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() {
			a = a.Unmap().WithZone("")
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, p := range cfg.BGP.Peers {
		add(p.Address)
		add(p.LocalAddress)
	}
	add(cfg.BGP.RouterID)
	return list
}

// evidence reads the workers' packet heads for the engine.
type evidence struct {
	store   *probe.Evidence
	decoder atomic.Pointer[wire.Decoder]
	// table says which hostgroup a host belongs to, for targets that are groups.
	table atomic.Pointer[nets.Table]
}

// decode follows the configuration of tunnels: the addresses must be those that were charged.
func (e *evidence) decode(cfg *config.Config) {
	e.decoder.Store(&wire.Decoder{Charge: cfg.Decode.Charges()})
}

// group is the name of the hostgroup that a host belongs to.
func (e *evidence) group(a netip.Addr) string {
	t, b := e.table.Load(), a.As16()
	return t.Groups()[t.Place(t.Lookup(&b)).Group]
}

// Watch implements engine.Evidence.
func (e *evidence) Watch(list []engine.Watch) {
	targets := make([]probe.Target, 0, len(list))
	for _, w := range list {
		if w.Target.Host.IsValid() { // the members of a group are in the constant sample
			targets = append(targets, probe.Target{Addr: w.Target.Host, Direction: w.Direction})
		}
	}
	e.store.SetTargets(targets)
}

// Samples implements engine.Evidence.
func (e *evidence) Samples(t rule.Target, d traffic.Direction, limit int) []notify.Packet {
	var heads []probe.Sample
	if t.Host.IsValid() {
		heads = e.store.Samples(t.Host, d, limit)
	} else {
		heads = e.store.Match(limit, func(a netip.Addr, dir traffic.Direction) bool { return dir == d && e.group(a) == t.Group })
	}
	out, decoder := make([]notify.Packet, 0, len(heads)), e.decoder.Load()
	for _, s := range heads {
		if p, ok := engine.PacketOf(decoder, s.LinkType, s.Data, s.WireLen, s.Time, t.Host); ok {
			out = append(out, p)
		}
	}
	return out
}

// logger makes the log that the configuration asks for.
func logger(cfg config.Log, w interface{ Write([]byte) (int, error) }) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, cfg.Level)
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), level
	}
	return slog.New(slog.NewTextHandler(w, opts)), level
}

func setLevel(v *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(name))); err == nil {
		v.Set(l)
	}
}

// monotonic counts nanoseconds from its making; the wall clock may jump, this does not.
func monotonic() func() int64 {
	start := time.Now()
	return func() int64 { return int64(time.Since(start)) }
}

// mergeConfig lets a tick wait for workers up to a tenth of its interval, within 20 to 100 ms: a worker that shares its core
// with others may need that long to get it, and a tick without it finds an attack one tick later.
func mergeConfig(cfg *config.Config) merge.Config {
	c := merge.DefaultConfig()
	c.Wait = min(max(cfg.Tick/10, c.Wait), 100*time.Millisecond)
	return c
}
