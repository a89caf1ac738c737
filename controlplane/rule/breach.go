package rule

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Target is what a threshold is judged for: one host, or one hostgroup as a whole (calculation method "total").
// It is comparable and can be a map key.
type Target struct {
	// Host is the host's address, never v4-mapped; invalid when the target is a group.
	Host netip.Addr
	// Group is the hostgroup's name when the target is the group's total; empty for a host.
	Group string
}

// String is the address, or "hostgroup NAME".
func (t Target) String() string {
	if t.Host.IsValid() {
		return t.Host.String()
	}
	return "hostgroup " + t.Group
}

// Rates are a target's measured values in one direction, per second, over the window they were measured in.
type Rates [NumMetrics]float64

// Breach is one threshold exceeded by one target in one direction, in one tick.
type Breach struct {
	Target    Target
	Direction traffic.Direction // Incoming or Outgoing
	// Hostgroup is the name of the group whose limit applied (which may have inherited it).
	Hostgroup string
	// Network is the configured network that holds the host; invalid for a group.
	Network netip.Prefix
	Metric  Metric
	Limit   float64 // in the metric's unit
	Value   float64 // measured, in the metric's unit
	Window  time.Duration
	// In and Out are all of the target's rates at that moment.
	In, Out Rates
}
