package incident

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// State is where a target stands.
type State uint8

// The states: Clear is no incident; Suspect has breached, but not for long enough; Active is under attack;
// Cooling no longer breaches, but its ban time or hold has not run out.
const (
	Clear State = iota
	Suspect
	Active
	Cooling
)

var stateNames = [...]string{"clear", "suspect", "active", "cooling"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "invalid"
}

// Vector is the kind of attack, by FastNetMon's names.
type Vector string

// The vectors that counters alone can tell.
const (
	SYNFlood      Vector = "syn_flood"
	ICMPFlood     Vector = "icmp_flood"
	Fragmentation Vector = "ip_fragmentation"
	UDPFlood      Vector = "udp_flood"
	Unknown       Vector = "unknown"
)

// Incident is one attack on one target in one direction, from its first breach to its end, and why it is one.
type Incident struct {
	// ID is a UUID in text form, unique for ever.
	ID        string
	Target    rule.Target
	Direction traffic.Direction
	Hostgroup string
	Network   netip.Prefix
	State     State
	// Vector is the kind of attack as of the breach that opened the incident.
	Vector Vector
	// Attack is our own, finer name of it (see Classify); Share is how much of the traffic in the attack's direction it is, 0..1.
	Attack string
	Share  float64
	// Protocol is the largest of tcp, udp, icmp by packets in the attack's direction, or "unknown".
	Protocol string
	// Why is the breach that opened the incident; Others are further metrics that breached with it, by name.
	Why    rule.Breach
	Others []string
	// InitialPPS is the packet rate in the attack's direction when it opened, PeakPPS the highest since.
	InitialPPS, PeakPPS float64
	// Start is when the first breach was measured, LastBreach the latest; End is zero until it is over.
	Start, LastBreach, End time.Time
	// Until is the earliest time at which it can end (Start plus ban time, moved on while it goes on). Zero: never by itself.
	Until time.Time
	// In and Out are the target's latest rates, for reports; Why holds those of the opening.
	In, Out rule.Rates
	// Manual is set for an incident that a person opened (set blackhole).
	Manual bool
	// Whitelisted incidents are reported and never mitigated.
	Whitelisted bool
}

// Transition is one change of an incident's state; the engine hands it to planner, notifiers and journal.
type Transition struct {
	Incident Incident // a copy, as it is after the change
	From, To State
	At       time.Time
	Cause    string // for people: "ban time is over", "withdrawn by operator", ...
}
