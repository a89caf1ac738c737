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

// volume adds up counts over the ticks that a Meter keeps.
type volume struct {
	cells traffic.Cells // of the window
	flows flowCount
}

// add adds what snapshot i of the meter's ring has counted.
func (v *volume) add(m *Meter, i int, c *traffic.Cells, flows uint64) {
	if i >= m.first {
		v.cells.Add(c)
	}
	v.flows.add(&m.flows, i, flows)
}
