package collector

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen"
	"github.com/weir-ddos/weir/flowcollect/spread"
)

// Config is the flows section: where flow exporters send to, and how their records are counted.
type Config struct {
	// Listeners are the UDP ports that exporters send to. Without one, no flows are collected.
	Listeners []Listener `json:"listeners,omitempty"`
	// Allow are the networks that exporters may send from. Empty allows everybody; what is refused is counted by network.
	Allow []netip.Prefix `json:"allow,omitempty"`
	// Exporters says what is special about some exporters. Of several that match, the longest prefix wins.
	Exporters []Exporter `json:"exporters,omitempty"`
	// DefaultSamplingRate is the rate of exporters that announce none (in NetFlow v5: an interval of 0). Zero leaves it
	// unknown: records are counted as they are, and exporters with such records are shown.
	DefaultSamplingRate uint32 `json:"default_sampling_rate"`
	// OtherDomains permits a rate that the same exporter announced in another observation domain, when it announced only one.
	OtherDomains bool `json:"other_domains"`
	// Spread says how a record is charged that reports a longer time: on (at its own average rate, for as long as it lasted) or
	// off (all of it when it arrives: a minute of a download is then a second of a flood).
	Spread string `json:"spread"`
	// Window is the longest time that a record is spread over, 1s to 30m. Durations beyond it are taken for it. It should not be
	// shorter than the exporters' active timeout. Exporters that announce theirs (IE 36) need none: it is the longest time then.
	Window time.Duration `json:"window"`
	// SpreadMin is the shortest time that a record is spread over, for exporters that send what they have in bursts: their
	// interval. Zero takes records as they come, but for exporters that are seen to send in step, every 2s to 1m.
	SpreadMin time.Duration `json:"spread_min"`
	// SpreadHosts is how many hosts, directions and classes with long records one socket can spread at a time, 1024 to
	// 16777216. What does not fit is spread for its network. Each takes 784 bytes when used.
	SpreadHosts int `json:"spread_hosts"`
	// Dropped says what becomes of flows that the router says it did not forward: count (the target is under attack all the
	// same, and stays banned while the router drops) or ignore.
	Dropped string `json:"dropped"`
	// Bytes says what the bytes of a packet sampled by sFlow are: frame (without FCS, as of packets from a port), or ip (the IP
	// length; for exporters that send wrong frame lengths).
	Bytes string `json:"bytes"`
	// MaxExporters is how many exporters are accounted for, 1 to 65536. Senders that nobody knows make room for others, the
	// least recently heard first; what was understood for half a minute, or is listed in exporters, does so after a silent day.
	MaxExporters int `json:"max_exporters"`
	// SilentAfter is for how long an exporter may be quiet before there is an alarm. Zero gives none.
	SilentAfter time.Duration `json:"silent_after"`
	// LossAlarm is how many percent of an exporter's datagrams or records may be missing in ten seconds before there is an alarm,
	// 1 to 100. Zero gives none.
	LossAlarm int `json:"loss_alarm"`
	// Templates says how the templates of NetFlow v9 and IPFIX are kept.
	Templates Templates `json:"templates"`
	// Filter says which records are not counted.
	Filter filter.Config `json:"filter"`
}

// Listener is one address with one or more UDP ports.
type Listener struct {
	// Address is what to listen on. Empty means ::, which is every address, IPv4 and IPv6.
	Address netip.Addr `json:"address,omitempty"`
	// Port is the UDP port: 2055 is usual for NetFlow, 4739 for IPFIX, 6343 for sFlow.
	Port uint16 `json:"port,omitempty"`
	// Ports are more UDP ports, with or without port.
	Ports []uint16 `json:"ports,omitempty"`
	// Protocol is netflow (v1, v5, v7, v9 and IPFIX), sflow, or auto, which tells them apart by their content. Empty means auto.
	Protocol string `json:"protocol,omitempty"`
	// Sockets is how many sockets, each with a worker, share a port, at most 64; datagrams are dealt out evenly among them.
	// Zero means half of the CPUs, at most 4.
	Sockets int `json:"sockets,omitempty"`
	// Buffer is the receive buffer of a socket in bytes, 65536 to 1073741824. Zero means 33554432. Beyond net.core.rmem_max
	// it needs CAP_NET_ADMIN.
	Buffer int `json:"buffer,omitempty"`
}

// Exporter is what is special about the exporters of one prefix.
type Exporter struct {
	// Prefix are their addresses; one address is a prefix of full length.
	Prefix netip.Prefix `json:"prefix"`
	// Name is what they are called in tables.
	Name string `json:"name,omitempty"`
	// Sampling is device (what the exporter announces, else sampling_rate), override (always sampling_rate) or ignore (counts are
	// already multiplied, as Open vSwitch does in IPFIX). Empty means device.
	Sampling string `json:"sampling,omitempty"`
	// SamplingRate is how many packets each exported one stands for; see sampling.
	SamplingRate uint32 `json:"sampling_rate,omitempty"`
	// Count says which of their records are counted, where the same packet is reported twice: all; ingress or egress (those
	// metered on that way, and those that do not say); interfaces (those metered at one of interfaces); none (they are
	// accounted for only). Empty means all.
	Count string `json:"count,omitempty"`
	// Interfaces are the SNMP indexes for count: interfaces. A record that does not say on which way it was metered counts when it
	// came in or went out through one of them.
	Interfaces []uint32 `json:"interfaces,omitempty"`
	// Spread is on or off for these exporters. Empty means what flows.spread says.
	Spread string `json:"spread,omitempty"`
	// Window is the longest time that their records are spread over. Zero means flows.window.
	Window time.Duration `json:"window,omitempty"`
	// SpreadMin is the shortest time that their records are spread over. Zero means flows.spread_min.
	SpreadMin time.Duration `json:"spread_min,omitempty"`
}

// Templates says how templates are kept.
type Templates struct {
	// Path is the file that templates and sampling rates are kept in, so that a restart decodes at once and not minutes later
	// when exporters repeat them. Empty keeps none.
	Path string `json:"path"`
	// MaxPerExporter is how many templates one exporter may have, 1 to 65536.
	MaxPerExporter int `json:"max_per_exporter"`
	// MaxAge is for how long a template is kept that is neither announced nor used, 1m or more.
	MaxAge time.Duration `json:"max_age"`
}

// DefaultConfig collects nothing, since it has no listener.
func DefaultConfig() Config {
	return Config{
		OtherDomains: true, Spread: "on", Window: spread.Longest, SpreadHosts: 1 << 17, Dropped: "count", Bytes: "frame",
		MaxExporters: 4096, SilentAfter: 5 * time.Minute, LossAlarm: 1,
		Templates: Templates{Path: "/var/lib/weir/templates.json", MaxPerExporter: 1024, MaxAge: 24 * time.Hour},
		Filter:    filter.Default(),
	}
}

// Enabled says whether there is anything to collect.
func (c Config) Enabled() bool { return len(c.Listeners) > 0 }

// Validate reports every problem, each beginning with its key.
func (c Config) Validate() error {
	errs := []error{
		oneOf("spread", c.Spread, "on", "off"), oneOf("dropped", c.Dropped, "count", "ignore"), oneOf("bytes", c.Bytes, "frame", "ip"),
		between("window", c.Window, time.Second, spread.Longest), between("spread_min", c.SpreadMin, 0, c.Window),
		inRange("spread_hosts", c.SpreadHosts, spread.MinEntries, 1<<24), inRange("max_exporters", c.MaxExporters, 1, 65536),
		inRange("loss_alarm", c.LossAlarm, 0, 100), c.Templates.validate(), under("filter.", c.Filter.Validate()),
	}
	if c.SilentAfter < 0 {
		errs = append(errs, fmt.Errorf("silent_after: %v is negative", c.SilentAfter))
	}
	errs = append(errs, c.checkListeners()...)
	for i, p := range c.Allow {
		errs = append(errs, checkPrefix(fmt.Sprintf("allow[%d]", i), p))
	}
	for i, e := range c.Exporters {
		errs = append(errs, e.validate(fmt.Sprintf("exporters[%d].", i)))
		if slices.ContainsFunc(c.Exporters[:i], func(o Exporter) bool { return o.Prefix == e.Prefix }) {
			errs = append(errs, fmt.Errorf("exporters[%d].prefix: %s is listed twice", i, e.Prefix))
		}
	}
	return errors.Join(errs...)
}

func (c Config) checkListeners() (errs []error) {
	seen := make(map[netip.AddrPort]bool)
	for i, l := range c.Listeners {
		at := fmt.Sprintf("listeners[%d].", i)
		errs = append(errs, oneOf(at+"protocol", l.Protocol, "", "netflow", "sflow", "auto"))
		if l.Address.Zone() != "" || l.Address.Is4In6() {
			errs = append(errs, fmt.Errorf("%saddress: %s is not a plain address", at, l.Address))
		}
		if len(l.ports()) == 0 {
			errs = append(errs, fmt.Errorf("%sport: must be set to a UDP port, or ports to several", at))
		}
		for _, p := range l.ports() {
			if key := netip.AddrPortFrom(l.address(), p); p == 0 || seen[key] {
				errs = append(errs, fmt.Errorf("%sports: %d is zero or listed twice", at, p))
			} else {
				seen[key] = true
			}
		}
		errs = append(errs, inRange(at+"sockets", l.Sockets, 0, listen.MaxSockets))
		if l.Buffer != 0 {
			errs = append(errs, inRange(at+"buffer", l.Buffer, listen.MinBuffer, listen.MaxBuffer))
		}
	}
	return errs
}

func (e Exporter) validate(at string) error {
	errs := []error{
		checkPrefix(at+"prefix", e.Prefix),
		oneOf(at+"sampling", e.Sampling, "", "device", "override", "ignore"),
		oneOf(at+"count", e.Count, "", "all", "ingress", "egress", "interfaces", "none"),
		oneOf(at+"spread", e.Spread, "", "on", "off"),
	}
	if e.Sampling == "override" && e.SamplingRate == 0 {
		errs = append(errs, fmt.Errorf("%ssampling_rate: must be set with sampling: override", at))
	}
	if (e.Count == "interfaces") != (len(e.Interfaces) > 0) {
		errs = append(errs, fmt.Errorf("%sinterfaces: must be listed with count: interfaces, and only then", at))
	}
	if e.Window != 0 {
		errs = append(errs, between(at+"window", e.Window, time.Second, spread.Longest))
	}
	return errors.Join(append(errs, between(at+"spread_min", e.SpreadMin, 0, spread.Longest))...)
}

func (t Templates) validate() error {
	errs := []error{inRange("templates.max_per_exporter", t.MaxPerExporter, 1, 65536)}
	if t.Path != "" && !filepath.IsAbs(t.Path) {
		errs = append(errs, fmt.Errorf("templates.path: %q must be an absolute path", t.Path))
	}
	if t.MaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("templates.max_age: %v is below 1m", t.MaxAge))
	}
	return errors.Join(errs...)
}

func checkPrefix(key string, p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s: must be set to a network such as 192.0.2.1/32 or 2001:db8::/64", key)
	case p != p.Masked():
		return fmt.Errorf("%s: %s has bits behind its length; did you mean %s?", key, p, p.Masked())
	case p.Addr().Is4In6():
		return fmt.Errorf("%s: write %s as IPv4", key, p)
	}
	return nil
}

// under puts a key before each of the errors that err joins.
func under(key string, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for _, line := range strings.Split(err.Error(), "\n") {
		errs = append(errs, errors.New(key+line))
	}
	return errors.Join(errs...)
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %v", key, value, slices.DeleteFunc(allowed, func(s string) bool { return s == "" }))
}

func inRange(key string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%s: %d is outside %d..%d", key, v, lo, hi)
	}
	return nil
}

func between(key string, v, lo, hi time.Duration) error {
	if v < lo || v > hi {
		return fmt.Errorf("%s: %v is outside %v..%v", key, v, lo, hi)
	}
	return nil
}

// Sockets is how many sockets, and so workers and shards, c has.
func (c Config) Sockets() (n int) {
	for _, l := range c.Listeners {
		n += len(l.ports()) * listen.Config{Sockets: l.Sockets}.Count()
	}
	return n
}

// ports are all ports of a listener.
func (l Listener) ports() []uint16 {
	if l.Port == 0 {
		return l.Ports
	}
	return append([]uint16{l.Port}, l.Ports...)
}

// address is what is bound.
func (l Listener) address() netip.Addr {
	if !l.Address.IsValid() {
		return netip.IPv6Unspecified()
	}
	return l.Address
}

// open translates one port of a listener.
func (l Listener) open(port uint16) listen.Config {
	c := listen.DefaultConfig()
	c.Address, c.Port, c.Sockets = l.address(), port, l.Sockets
	if l.Buffer > 0 {
		c.Buffer = l.Buffer
	}
	return c
}
