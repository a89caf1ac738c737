package api

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/dataplane/port"
)

// Applier makes the running appliance follow a new configuration without a restart. It either applies all of it or returns an
// error and leaves the old one in force. It is called by one goroutine at a time.
type Applier interface {
	Apply(old, next *config.Config) error
}

// Errors that Runtime returns, wrapped with what was asked for; the API turns them into clear refusals.
var (
	ErrNotFound = errors.New("not found")
	// ErrRefused is a guard rail's or the kill switch's no.
	ErrRefused = errors.New("refused")
)

// Actor is who asks for a change, for the audit.
type Actor struct {
	UID  uint32 `json:"uid"`
	PID  int32  `json:"pid"`
	User string `json:"user,omitempty"`
}

// Family selects addresses.
type Family uint8

// The families.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Has says whether the address is of the family; v4-mapped ones are IPv4.
func (f Family) Has(a netip.Addr) bool {
	return f == AnyFamily || (f == IPv4) == a.Unmap().Is4()
}

// Rate is packets and bytes per second.
type Rate struct {
	Packets float64 `json:"packets"`
	Bytes   float64 `json:"bytes"`
}

// Rates are one direction's rates, overlapping as users know them: tcp includes tcp_syn, fragments are all fragments,
// total = tcp + udp + icmp + other. Flows are distinct 5-tuples per second.
type Rates struct {
	Total     Rate    `json:"total"`
	TCP       Rate    `json:"tcp"`
	TCPSYN    Rate    `json:"tcp_syn"`
	UDP       Rate    `json:"udp"`
	ICMP      Rate    `json:"icmp"`
	Fragments Rate    `json:"fragments"`
	Other     Rate    `json:"other"`
	Flows     float64 `json:"flows"`
}

// Totals are the rates of everything that was seen.
type Totals struct {
	Incoming Rates `json:"incoming"`
	Outgoing Rates `json:"outgoing"`
	Internal Rates `json:"internal"`
	Other    Rates `json:"other"`
}

// TargetRates are the rates of one host, network or hostgroup.
type TargetRates struct {
	// Name is the address, the network in CIDR form, or the hostgroup's name.
	Name string `json:"name"`
	// Network and Hostgroup say where a host belongs.
	Network   string `json:"network,omitempty"`
	Hostgroup string `json:"hostgroup,omitempty"`
	Incoming  Rates  `json:"incoming"`
	Outgoing  Rates  `json:"outgoing"`
}

// Query selects and orders targets.
type Query struct {
	// Order is packets, bytes or flows; Outgoing orders by that direction instead of incoming. Highest first.
	Order    string
	Outgoing bool
	Family   Family
	// Limit is the most targets to return; at least 1.
	Limit int
}

// Less orders two targets by q, highest first, and by name where they are equal.
func (q Query) Less(a, b *TargetRates) bool {
	x, y := q.value(a), q.value(b)
	if x != y {
		return x > y
	}
	return a.Name < b.Name
}

func (q Query) value(t *TargetRates) float64 {
	r := &t.Incoming
	if q.Outgoing {
		r = &t.Outgoing
	}
	switch q.Order {
	case "bytes":
		return r.Total.Bytes
	case "flows":
		return r.Flows
	default:
		return r.Total.Packets
	}
}

// Membership says where an address belongs.
type Membership struct {
	IP string `json:"ip"`
	// Inside is false for an address outside the configured networks; then the rest is empty.
	Inside    bool   `json:"inside"`
	Network   string `json:"network,omitempty"`
	Hostgroup string `json:"hostgroup,omitempty"`
	// Whitelisted addresses are never mitigated.
	Whitelisted bool `json:"whitelisted"`
}

// SystemCounter is one figure about the appliance itself.
type SystemCounter struct {
	Name        string  `json:"counter_name"`
	Value       float64 `json:"value"`
	Unit        string  `json:"unit,omitempty"`
	Description string  `json:"description,omitempty"`
}

// Incident is an attack, over or not, as the API shows it.
type Incident struct {
	ID string `json:"id"`
	// Target is an address, or "hostgroup NAME".
	Target    string `json:"target"`
	Direction string `json:"direction"`
	Hostgroup string `json:"hostgroup"`
	Network   string `json:"network,omitempty"`
	// State is suspect, active, cooling, or clear when it is over.
	State    string `json:"state"`
	Vector   string `json:"vector"`
	Protocol string `json:"protocol,omitempty"`
	// Threshold, Limit, Value and Unit say why it fired; Others are further thresholds exceeded with it.
	Threshold  string    `json:"threshold"`
	Limit      float64   `json:"limit"`
	Value      float64   `json:"value"`
	Unit       string    `json:"unit,omitempty"`
	Others     []string  `json:"others,omitempty"`
	InitialPPS float64   `json:"initial_pps"`
	PeakPPS    float64   `json:"peak_pps"`
	Start      time.Time `json:"start"`
	LastBreach time.Time `json:"last_breach,omitzero"`
	End        time.Time `json:"end,omitzero"`
	Until      time.Time `json:"until,omitzero"`
	Manual     bool      `json:"manual,omitempty"`
	// Whitelisted incidents are reported and never mitigated.
	Whitelisted bool `json:"whitelisted,omitempty"`
}

// Mitigation is one wanted mitigation and what became of it.
type Mitigation struct {
	mitigate.Mitigation
	// State is announced, pending, refused, dry-run, or "no router" when none is configured.
	State string `json:"state"`
	// Refused says why, when it is.
	Refused string `json:"refused,omitempty"`
	// Threshold, Direction and DetectionValue repeat the incident's reason; empty for manual ones.
	Threshold string `json:"threshold,omitempty"`
	Direction string `json:"direction,omitempty"`
	Network   string `json:"network,omitempty"`
}

// Refusal is a mitigation that a guard rail kept from being announced.
type Refusal struct {
	Target string `json:"target"`
	Reason string `json:"reason"`
}

// Port is one packet source and the workers' view of it.
type Port struct {
	port.Stats
	// PacketsPerSecond and BytesPerSecond are the port's rates in the last tick.
	PacketsPerSecond float64 `json:"packets_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
	// Link is the device as the operating system sees it; absent when it does not know the device.
	Link *Link `json:"link,omitempty"`
	// Workers poll the port's queues.
	Workers []Worker `json:"workers"`
}

// Link is a network device.
type Link struct {
	// State is up, "no carrier" or down.
	State string `json:"state"`
	// Mbps is the speed of the link; 0 when the device does not say.
	Mbps int `json:"mbps"`
	MTU  int `json:"mtu"`
	// Address is the hardware address, and Driver the kernel's; either may be empty.
	Address string `json:"address"`
	Driver  string `json:"driver"`
}

// Worker is a polling loop. A worker with queues of several ports appears with each of them.
type Worker struct {
	// Name is made of its queues' names, DEVICE/NUMBER.
	Name string `json:"name"`
	// Queues are the numbers of this port's queues that it polls.
	Queues []int `json:"queues"`
	// CPU is the processor that it owns, -1 when the scheduler places it; Node is that processor's NUMA node, or -1.
	CPU  int `json:"cpu"`
	Node int `json:"node"`
	// Idle is what it does when there is nothing: sleep, pause or spin.
	Idle string `json:"idle"`
	// Busy is the part of its time that went into rounds that found packets, 0 to 1, in the last second or tick.
	Busy float64 `json:"busy"`
	// LongestGap is the longest time between two polls in seconds, without the sleep that the idle policy asked for, and Gaps
	// are all of them by length; since the worker began.
	LongestGap float64 `json:"longest_gap_seconds"`
	Gaps       []Gap   `json:"gaps"`
	// Memory is the address space in bytes that its tables reserve.
	Memory uint64 `json:"memory"`
	// KeepsTurn is whether it owns its processor for Go's scheduler too, which takes other workers off it every 10 ms.
	KeepsTurn bool `json:"keeps_turn"`
}

// Gap is how many gaps were shorter than Below seconds, and not shorter than the one before; Below is 0 for the last, which
// has no limit.
type Gap struct {
	Below float64 `json:"below_seconds"`
	Count uint64  `json:"count"`
}

// Runtime is the running appliance as the API sees it. Every method is safe from any goroutine and returns soon; slices belong
// to the caller. Reads come from the view that the engine published last.
type Runtime interface {
	// Totals returns the rates of everything. A runtime that does not know them per family says so with an error.
	Totals(f Family) (Totals, error)
	// Networks, Hosts and Hostgroups return at most q.Limit targets in q's order.
	Networks(q Query) []TargetRates
	Hosts(q Query) []TargetRates
	Hostgroups(q Query) []TargetRates
	// Host returns one host's rates, all zero when it is silent. ErrNotFound: outside the networks.
	Host(a netip.Addr) (TargetRates, error)
	Membership(a netip.Addr) Membership
	SystemCounters() []SystemCounter
	// Incidents returns the open ones, and with all those that are over and still remembered, newest first.
	Incidents(all bool) []Incident
	Mitigations() []Mitigation
	// Refusals are what the guard rails keep from being announced now.
	Refusals() []Refusal
	// SetBlackhole announces a host or network by hand, for the given time (zero: the configured ban time).
	// ErrRefused wraps a guard rail's reason.
	SetBlackhole(ctx context.Context, p netip.Prefix, d time.Duration, by Actor) (Mitigation, error)
	// Withdraw ends a mitigation, a detected one too, by its id, and its incident with it. ErrNotFound: no such id.
	Withdraw(ctx context.Context, id string, by Actor) error
	// KillSwitch: while on, nothing is announced and everything is withdrawn. It survives a restart.
	KillSwitch() bool
	SetKillSwitch(ctx context.Context, on bool, by Actor) error
	Peers() []mitigate.PeerStatus
	Ports() []Port
	Flows
}
