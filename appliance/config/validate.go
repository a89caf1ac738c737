package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/appliance/config/strict"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/port"
)

// Validate reports every problem of c at once, each beginning with its key.
func (c *Config) Validate() error {
	var errs []error
	for _, s := range c.sections() {
		for _, p := range strict.FromError("", s.key, s.check(), nil) {
			errs = append(errs, fmt.Errorf("%s: %s", p.Path, p.Message))
		}
	}
	return errors.Join(errs...)
}

// section is one top-level key and the check of its value. needs names further sections that the check reads.
type section struct {
	key   string
	needs []string
	check func() error
}

func (c *Config) sections() []section {
	return []section{
		{"networks", nil, c.checkNetworks},
		{"whitelist", nil, func() error { return duplicates("", c.Whitelist) }},
		{"ports", nil, c.checkPorts},
		{"flows", nil, c.Flows.Validate},
		{"workers", nil, c.Workers.Validate},
		{"traffic", nil, c.Traffic.Validate},
		{"memory", nil, c.Memory.Validate},
		{"decode", nil, c.Decode.Validate},
		{"tick", nil, c.checkTick},
		{"rates", []string{"tick"}, c.Rates.Validate},
		{"", []string{"hostgroups"}, c.checkHostgroups}, // its errors begin with hostgroups.
		{"", []string{"hostgroups", "networks"}, c.checkMembership},
		{"bans", nil, c.Bans.Validate},
		{"guard", nil, c.Guard.Validate},
		{"bgp", nil, c.checkBGP},
		{"notify", nil, c.Notify.Validate},
		{"journal", nil, c.Journal.Validate},
		{"engine", nil, c.Engine.Validate},
		{"history", nil, c.History.Validate},
		{"api", nil, c.API.Validate},
		{"log", nil, c.Log.Validate},
	}
}

func (c *Config) checkNetworks() error {
	if len(c.Networks) == 0 {
		return errors.New("must list your own networks, such as [192.0.2.0/24, 2001:db8::/32]")
	}
	errs := []error{duplicates("", c.Networks)}
	for i, p := range c.Networks {
		if p.Bits() == 0 { // it would switch off the guard rail that nothing outside is ever announced
			errs = append(errs, fmt.Errorf("%s: %s is every address there is; list your own networks", strict.Index("", i), p))
		}
	}
	return errors.Join(errs...)
}

// duplicates reports prefixes that stand in a list twice, by the index of the second.
func duplicates(key string, list []netip.Prefix) error {
	var errs []error
	seen := make(map[netip.Prefix]int, len(list))
	for i, p := range list {
		if first, dup := seen[p]; dup {
			errs = append(errs, fmt.Errorf("%s: %s is listed twice; first as entry %d", strict.Index(key, i), p, first+1))
			continue
		}
		seen[p] = i
	}
	return errors.Join(errs...)
}

func (c *Config) checkPorts() error {
	var errs []error
	seen := make(map[string]bool)
	for i, p := range c.Ports {
		at := strict.Index("", i)
		said := make(map[string]bool) // what the driver has found
		bad := func(key, format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s%s: %s", at, key, fmt.Sprintf(format, args...)))
		}
		switch {
		case p.Driver == "":
			bad(".driver", "must be set%s", driverHint())
		case len(port.Drivers()) > 0:
			if d, err := port.Lookup(p.Driver); err != nil {
				bad(".driver", "%v%s", err, near(p.Driver, port.Drivers()))
			} else if err := d.Check(p); err != nil {
				for _, q := range strict.FromError("", at, err, nil) {
					said[q.Path] = true
					errs = append(errs, fmt.Errorf("%s: %s", q.Path, q.Message))
				}
			}
		}
		if p.Device == "" && !said[at+".device"] {
			bad(".device", "must be set to an interface, a PCI address or a file")
		}
		if (p.Queues < 0 || p.Queues > 256) && !said[at+".queues"] {
			bad(".queues", "%d is outside 0..256", p.Queues)
		}
		if id := p.Driver + " " + p.Device; p.Device != "" && seen[id] {
			bad(".device", "%s is already a port", p.Device)
		} else {
			seen[id] = true
		}
	}
	return errors.Join(errs...)
}

func driverHint() string {
	if names := port.Drivers(); len(names) > 0 {
		return " to one of " + strings.Join(names, ", ")
	}
	return " to a driver such as afxdp or afpacket"
}

func near(word string, known []string) string {
	if n := strict.Near(word, known); len(n) > 0 {
		return "; did you mean " + strings.Join(n, " or ") + "?"
	}
	return ""
}

func (c *Config) checkTick() error {
	if c.Tick < 100*time.Millisecond || c.Tick > time.Minute {
		return fmt.Errorf("%s is outside 100ms..60s", strict.Duration(c.Tick))
	}
	return nil
}

// GroupConfigs are the hostgroups as rule.Compile takes them.
func (c *Config) GroupConfigs() map[string]rule.GroupConfig {
	out := make(map[string]rule.GroupConfig, len(c.Hostgroups))
	for name, g := range c.Hostgroups {
		out[name] = g.GroupConfig
	}
	return out
}

func (c *Config) checkHostgroups() error {
	var errs []error
	if _, err := rule.Compile(c.GroupConfigs()); err != nil {
		errs = append(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hostgroups)) {
		policy := c.Hostgroups[name].Policy
		for _, p := range strict.FromError("", "hostgroups."+name, policy.Validate(), nil) {
			errs = append(errs, fmt.Errorf("%s: %s", p.Path, p.Message))
		}
	}
	return errors.Join(errs...)
}

// checkMembership refuses members outside the networks: nothing would ever be counted for them.
func (c *Config) checkMembership() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Hostgroups)) {
		for i, p := range c.Hostgroups[name].Networks {
			if !within(p, c.Networks) {
				errs = append(errs, fmt.Errorf("%s: %s is not inside networks", strict.Index("hostgroups."+name+".networks", i), p))
			}
		}
	}
	return errors.Join(errs...)
}

func within(p netip.Prefix, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
}

// checkBGP leaves the speaker's own identity out while there is nobody to speak to, and points at peers by their place.
func (c *Config) checkBGP() error {
	b := c.BGP
	if len(b.Peers) == 0 {
		if b.ASN == 0 {
			b.ASN = 1
		}
		if !b.RouterID.IsValid() {
			b.RouterID = netip.AddrFrom4([4]byte{192, 0, 2, 1})
		}
	}
	var errs []error
	for _, p := range strict.FromError("", "", b.Validate(), nil) {
		path, msg := p.Path, p.Message
		if rest, ok := strings.CutPrefix(msg, "peers "); ok {
			path, msg = peerPath(b, rest)
		}
		errs = append(errs, fmt.Errorf("%s: %s", path, msg))
	}
	return errors.Join(errs...)
}

// peerPath turns "NAME: key: message" into the last such peer's path and the message.
func peerPath(b bgp.Config, text string) (path, msg string) {
	for i := len(b.Peers) - 1; i >= 0; i-- {
		name := b.Peers[i].Name
		if name == "" {
			name = b.Peers[i].Address.String()
		}
		if rest, ok := strings.CutPrefix(text, name+": "); ok {
			return strict.Index("peers", i), rest
		}
	}
	return "peers", text
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %s", key, value, strings.Join(allowed, ", "))
}

func inRange(key string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%s: %d is outside %d..%d", key, v, lo, hi)
	}
	return nil
}

// maxCPU is beyond any machine that Linux runs on.
const maxCPU = 8191

// Validate reports every problem, each beginning with its key.
func (w Workers) Validate() error {
	errs := []error{inRange("count", w.Count, 0, 256), oneOf("idle", w.Idle, "spin", "pause", "sleep")}
	for i, cpu := range w.CPUs {
		errs = append(errs, inRange(strict.Index("cpus", i), cpu, 0, maxCPU))
		if slices.Contains(w.CPUs[:i], cpu) {
			errs = append(errs, fmt.Errorf("%s: CPU %d is listed twice", strict.Index("cpus", i), cpu))
		}
	}
	if len(w.CPUs) > 0 && w.Count > len(w.CPUs) {
		errs = append(errs, fmt.Errorf("count: %d workers need as many cpus, there are %d", w.Count, len(w.CPUs)))
	}
	return errors.Join(errs...)
}

// Validate reports every problem, each beginning with its key.
func (t Traffic) Validate() error {
	errs := []error{
		inRange("hosts_per_worker", t.HostsPerWorker, 1<<10, 1<<24),
		inRange("flows_per_worker", t.FlowsPerWorker, 1<<10, 1<<28),
		oneOf("internal", t.Internal, "both", "incoming", "outgoing", "none"),
		oneOf("count_bytes", t.CountBytes, "frame", "ip"),
	}
	if t.MemoryLimit < 16<<20 {
		errs = append(errs, fmt.Errorf("memory_limit: %s is too little; the least is 16MiB", t.MemoryLimit))
	}
	return errors.Join(errs...)
}

// Bounds of the headroom.
const (
	minHeadroom Size = 16 << 20
	maxHeadroom Size = 64 << 30
)

// Validate reports every problem, each beginning with its key.
func (m Memory) Validate() error {
	if m.Headroom != 0 && (m.Headroom < minHeadroom || m.Headroom > maxHeadroom) {
		return fmt.Errorf("headroom: %s is neither 0 nor within %s..%s", m.Headroom, minHeadroom, maxHeadroom)
	}
	return nil
}

// Validate reports every problem, each beginning with its key.
func (d Decode) Validate() error {
	var errs []error
	for _, t := range d.list() {
		errs = append(errs, oneOf(t.key, *t.value, "outer", "inner", "both"))
	}
	return errors.Join(errs...)
}

// Validate reports every problem, each beginning with its key.
func (h History) Validate() error {
	return errors.Join(absolute("directory", h.Directory), inRange("keep", h.Keep, 1, 10000))
}

// maxSocketPath is the most that the kernel takes (sun_path, with its zero byte).
const maxSocketPath = 107

// Validate reports every problem, each beginning with its key.
func (a API) Validate() error {
	if a.Socket == "" {
		return nil
	}
	if len(a.Socket) > maxSocketPath {
		return fmt.Errorf("socket: the path has %d bytes, the kernel takes %d", len(a.Socket), maxSocketPath)
	}
	return absolute("socket", a.Socket)
}

func absolute(key, path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s: %q must be an absolute path", key, path)
	}
	return nil
}

// Validate reports every problem, each beginning with its key.
func (l Log) Validate() error {
	return errors.Join(oneOf("level", l.Level, "debug", "info", "warn", "error"), oneOf("format", l.Format, "text", "json"))
}
