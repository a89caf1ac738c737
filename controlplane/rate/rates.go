package rate

import (
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Of divides counts by the time in which they were counted. flows are already per second.
func Of(c *traffic.Cells, flows float64, elapsed time.Duration) (r rule.Rates) {
	s := elapsed.Seconds()
	if s <= 0 {
		return r
	}
	u := c.Overlapping(0)
	set := func(pps, mbps rule.Metric, c traffic.Counter) {
		r[pps] = float64(c.Packets) / s
		r[mbps] = float64(c.Bytes) * 8 / 1e6 / s
	}
	set(rule.PPS, rule.Mbps, u.Total)
	set(rule.TCPPPS, rule.TCPMbps, u.TCP)
	set(rule.UDPPPS, rule.UDPMbps, u.UDP)
	set(rule.ICMPPPS, rule.ICMPMbps, u.ICMP)
	set(rule.TCPSYNPPS, rule.TCPSYNMbps, u.TCPSYN)
	set(rule.FragmentsPPS, rule.FragmentsMbps, u.Fragments)
	r[rule.Flows] = flows
	return r
}

// volume adds up counts over the ticks of a window.
type volume struct {
	cells traffic.Cells
	// flows is the sum over all ticks, largest the most of any tick.
	flows, largest uint64
}

func (v *volume) add(c *traffic.Cells, flows uint64) {
	v.cells.Add(c)
	v.flows += flows
	v.largest = max(v.largest, flows)
}

// fullEpoch is from how long an epoch on its flows can be added to those of the next, as FastNetMon does each second.
const fullEpoch = 900 * time.Millisecond

// rates divides by the time that the window spans. Flows are distinct 5-tuples per second; a flow that lasts is new again in
// every epoch. So with epochs shorter than a second their sum would count it up to ten times and ban busy hosts;
// there the most of any epoch is taken, which is never more than the truth.
func (v *volume) rates(span, epoch time.Duration) rule.Rates {
	flows := float64(v.largest)
	if epoch >= fullEpoch {
		flows = float64(v.flows) / span.Seconds()
	}
	return Of(&v.cells, flows, span)
}
