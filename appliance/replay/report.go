package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Report is what a replay saw, in the form of `weir replay --json`. Counts are sums over the whole capture; flows are
// the sum over ticks of the distinct 5-tuples of each tick, or, with ticks shorter than a second, over seconds.
type Report struct {
	Packets   uint64                      `json:"packets"`
	Bytes     uint64                      `json:"bytes"`
	Codes     map[string]uint64           `json:"codes"`
	Totals    map[string]traffic.Counters `json:"totals"`
	Hosts     []Host                      `json:"hosts"`
	Incidents []Incident                  `json:"incidents"`
	// Overflowed is what the host tables had no room for (raise traffic.hosts_per_worker), Saturated how many packets
	// had a flow that could not be judged (raise traffic.flows_per_worker). Both are zero when the counts are exact.
	Overflowed traffic.Counter `json:"overflowed"`
	Saturated  uint64          `json:"flows_saturated"`
	// Faults are damaged captures and broken invariants, in words.
	Faults []string `json:"faults,omitempty"`
	// First and Last are the times of the first tick's begin and the last tick's end.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Host is one host of the configured networks.
type Host struct {
	Addr     string           `json:"addr"`
	Incoming traffic.Counters `json:"incoming"`
	Outgoing traffic.Counters `json:"outgoing"`
}

// Incident is one attack.
type Incident struct {
	Target    string `json:"target"`
	Direction string `json:"direction"`
	Hostgroup string `json:"hostgroup"`
	Threshold string `json:"threshold"`
	// Limit and Value are in the threshold's unit; Value is rounded down.
	Limit  uint64   `json:"limit"`
	Value  uint64   `json:"value"`
	Vector string   `json:"vector"`
	Others []string `json:"others,omitempty"`
	PeakPP uint64   `json:"peak_pps"`
	// Start is the tick of the first breach. End is when the ban was over or, with Open, the tick of the latest breach.
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Open        bool      `json:"open"`
	Whitelisted bool      `json:"whitelisted,omitempty"`
}

func (p *player) report() *Report {
	s := p.sums
	r := &Report{
		Packets: s.frames, Bytes: s.bytes, Codes: make(map[string]uint64), Totals: make(map[string]traffic.Counters),
		Hosts: []Host{}, Incidents: []Incident{}, Overflowed: s.overflowed, Saturated: s.saturated, Faults: s.faults,
	}
	if s.frames > 0 {
		r.Last = time.Unix(0, p.now.Load()).UTC()
	}
	for c, n := range s.codes {
		if n > 0 {
			r.Codes[wire.Code(c).String()] = n
		}
	}
	for d := range traffic.NumDirections {
		r.Totals[d.String()] = s.totals[d].Cells.Overlapping(s.totals[d].Flows)
	}
	for _, a := range s.addresses() {
		h := s.hosts[a]
		r.Hosts = append(r.Hosts, Host{
			Addr:     a.String(),
			Incoming: h[traffic.Incoming].Cells.Overlapping(h[traffic.Incoming].Flows),
			Outgoing: h[traffic.Outgoing].Cells.Overlapping(h[traffic.Outgoing].Flows),
		})
	}
	// Peaks grow after the last transition; what is still open is known best by the engine.
	open := make(map[string]incident.Incident)
	for _, inc := range p.engine.View().Incidents {
		open[inc.ID] = inc
	}
	for _, inc := range s.incidents {
		if now, ok := open[inc.ID]; ok {
			inc = now
		}
		r.Incidents = append(r.Incidents, reportIncident(&inc))
	}
	if err := p.port.Err(); err != nil {
		r.Faults = append(r.Faults, err.Error())
	}
	return r
}

func reportIncident(inc *incident.Incident) Incident {
	out := Incident{
		Target: inc.Target.String(), Direction: inc.Direction.String(), Hostgroup: inc.Hostgroup,
		Threshold: inc.Why.Metric.Threshold(inc.Direction), Limit: uint64(inc.Why.Limit), Value: uint64(inc.Why.Value),
		Vector: string(inc.Vector), Others: inc.Others, PeakPP: uint64(math.Round(inc.PeakPPS)),
		Start: inc.Start.UTC(), End: inc.End.UTC(), Whitelisted: inc.Whitelisted,
	}
	if inc.End.IsZero() {
		out.Open, out.End = true, inc.LastBreach.UTC()
	}
	return out
}

func (r *Report) writeJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := json.NewEncoder(b).Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return b.Flush()
}

// topHosts is how many hosts the text names; the JSON has all.
const topHosts = 20

func (r *Report) writeText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%d packets, %d bytes\n\n", r.Packets, r.Bytes)
	fmt.Fprintf(b, "%-10s %12s %15s %12s %12s %12s %12s %12s %12s %10s\n", "direction", "packets", "bytes",
		"tcp", "tcp_syn", "udp", "icmp", "fragments", "other", "flows")
	for d := range traffic.NumDirections {
		writeCounters(b, 10, d.String(), r.Totals[d.String()])
	}
	fmt.Fprintf(b, "\n%-28s %12s\n", "code", "packets")
	for c := range wire.NumCodes {
		if n := r.Codes[c.String()]; n > 0 {
			fmt.Fprintf(b, "%-28s %12d\n", c, n)
		}
	}
	r.writeHosts(b)
	r.writeIncidents(b)
	if r.Overflowed.Packets > 0 {
		fmt.Fprintf(b, "\n%d packets found the host table full; raise traffic.hosts_per_worker\n", r.Overflowed.Packets)
	}
	if r.Saturated > 0 {
		fmt.Fprintf(b, "\nflows are a lower bound: %d packets found the flow table full; raise traffic.flows_per_worker\n", r.Saturated)
	}
	return b.Flush()
}

func writeCounters(b io.Writer, width int, name string, c traffic.Counters) {
	fmt.Fprintf(b, "%-*s %12d %15d %12d %12d %12d %12d %12d %12d %10d\n", width, name, c.Total.Packets, c.Total.Bytes,
		c.TCP.Packets, c.TCPSYN.Packets, c.UDP.Packets, c.ICMP.Packets, c.Fragments.Packets, c.Other.Packets, c.Flows)
}

func (r *Report) writeHosts(b io.Writer) {
	top := append([]Host(nil), r.Hosts...)
	sortHosts(top)
	if len(top) == 0 {
		fmt.Fprint(b, "\nno host of the configured networks was seen\n")
		return
	}
	fmt.Fprintf(b, "\n%-40s %12s %15s %12s %12s %12s %12s %12s %12s %10s\n", "host", "packets", "bytes",
		"tcp", "tcp_syn", "udp", "icmp", "fragments", "other", "flows")
	for i := range min(len(top), topHosts) {
		h := &top[i]
		if h.Incoming.Total.Packets > 0 {
			writeCounters(b, 40, h.Addr+" in", h.Incoming)
		}
		if h.Outgoing.Total.Packets > 0 {
			writeCounters(b, 40, h.Addr+" out", h.Outgoing)
		}
	}
	if n := len(top) - topHosts; n > 0 {
		fmt.Fprintf(b, "and %d hosts with less; --json has them all\n", n)
	}
}

func (r *Report) writeIncidents(b io.Writer) {
	if len(r.Incidents) == 0 {
		fmt.Fprint(b, "\nno incident\n")
		return
	}
	fmt.Fprintln(b)
	for i := range r.Incidents {
		inc := &r.Incidents[i]
		end := "ended " + inc.End.Format(time.RFC3339)
		if inc.Open {
			end = "last seen " + inc.End.Format(time.RFC3339)
		}
		fmt.Fprintf(b, "incident: %s %s %s: %s is %d, limit %d (hostgroup %s); began %s, %s\n",
			inc.Target, inc.Direction, inc.Vector, inc.Threshold, inc.Value, inc.Limit, inc.Hostgroup, inc.Start.Format(time.RFC3339), end)
	}
}
