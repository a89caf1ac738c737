package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// counterList collects system counters.
type counterList []api.SystemCounter

func (l *counterList) add(name string, value float64, unit, description string) {
	*l = append(*l, api.SystemCounter{Name: name, Value: value, Unit: unit, Description: description})
}

// SystemCounters implements api.Runtime. Names are FastNetMon's where the meaning is the same.
func (r running) SystemCounters() []api.SystemCounter {
	var l counterList
	v := r.a.engine.View()
	h := &v.Health
	ports := r.a.meters.ports()
	l.ports(ports)
	l.counted(r.a.source.sums())
	l.add("total_number_of_hosts", float64(h.Hosts), "rows", "hosts and directions with traffic in the last tick")
	l.add("speed_recalculation_time_seconds", h.Took.Seconds(), "seconds", "time of the last tick")
	l.add("tick_longest_seconds", h.MaxTook.Seconds(), "seconds", "time of the longest tick")
	l.add("ticks", float64(h.Ticks), "ticks", "ticks made")
	l.add("tick_overruns", float64(h.Overruns), "ticks", "ticks left out because one took too long")
	l.add("workers", float64(h.Shards), "workers", "workers that count")
	l.add("workers_late", float64(h.LateTotal), "events", "answers of workers that missed a tick")
	l.add("worker_longest_gap_seconds", h.MaxGap.Seconds(), "seconds", "longest time without a poll in the last tick")
	l.workers(ports)
	l.add("host_table_overflow_packets", float64(h.Overflowed.Packets), "packets", "counted for the network, not for the host: the table was full")
	l.add("flow_table_saturated_packets", float64(h.Saturated), "packets", "their flows could not be told apart: the table was full")
	l.add("conservation_faults", float64(h.ConservationFaults), "ticks", "ticks in which a packet was counted twice or not at all; never above 0")
	l.add("incidents_open", float64(h.Incidents.Open), "incidents", "open now, suspects included")
	l.add("incidents_opened", float64(h.Incidents.Opened), "incidents", "opened since the start")
	l.add("incidents_refused", float64(h.Incidents.Refused), "ticks", "targets not taken up because bans.max_incidents was reached")
	l.add("mitigations_blackholes", float64(h.Planner.Blackholes), "mitigations", "in force, dry-run included")
	l.add("mitigations_flowspec", float64(h.Planner.FlowSpec), "mitigations", "in force, dry-run included")
	l.add("mitigations_dry_run", float64(h.Planner.DryRun), "mitigations", "planned only")
	for _, rail := range slices.Sorted(maps.Keys(h.Planner.Refused)) {
		l.add("mitigations_refused_"+string(rail), float64(h.Planner.Refused[rail]), "mitigations", "refused by this guard rail")
	}
	l.add("journal_saves", float64(h.Journal.Saves), "saves", "")
	l.add("journal_failures", float64(h.Journal.Failures), "saves", "")
	s := r.a.notify.scriptStats()
	l.add("script_calls", float64(s.Calls), "calls", "")
	l.add("script_failed", float64(s.Failed+s.TimedOut+s.NotRun), "calls", "ended badly, timed out, or could not be started")
	l.add("script_dropped", float64(s.Dropped), "calls", "not queued")
	for _, name := range slices.Sorted(maps.Keys(h.NotifyDropped)) {
		l.add("notify_dropped_"+strings.ReplaceAll(name, " ", "_"), float64(h.NotifyDropped[name]), "events", "")
	}
	alarms := h.Alarms
	if c := r.a.flows.Load(); c != nil {
		st := c.Stats()
		l.flows(&st)
		alarms = append(slices.Clone(alarms), st.Alarms...)
	}
	for _, text := range r.alarms(alarms, s.Err) {
		l.add("alarm", 1, "", text)
	}
	return l
}

// alarms adds to the engine's what it cannot know: the notify script, and every router that does not have our routes now.
func (r running) alarms(list []string, script string) []string {
	list = slices.Clone(list)
	if script != "" {
		list = append(list, "the notify script fails: "+script)
	}
	for _, p := range r.Peers() {
		if p.State == "established" {
			continue
		}
		text := fmt.Sprintf("router %s (%s, AS%d) has no session: %s", p.Name, p.Address, p.ASN, p.State)
		if p.LastError != "" {
			text += ", " + p.LastError
		}
		list = append(list, text)
	}
	if r.a.portless() {
		list = append(list, "no port is open, and no packet is seen")
	}
	for _, p := range r.Ports() {
		if p.Err != "" {
			list = append(list, fmt.Sprintf("port %s: %s", p.Device, p.Err))
		}
	}
	return list
}

// ports adds up what the ports say.
func (l *counterList) ports(list []api.Port) {
	var packets, bytes, dropped, reopens uint64
	for _, p := range list {
		dropped += p.Dropped
		reopens += p.Reopens
		for _, q := range p.Queues {
			packets += q.Received
			bytes += q.Bytes
			dropped += q.Dropped
		}
	}
	l.add("total_simple_packets_processed", float64(packets), "packets", "received from all ports")
	l.add("total_bytes_processed", float64(bytes), "bytes", "received from all ports, lengths on the wire")
	l.add("port_dropped_packets", float64(dropped), "packets", "lost by device, kernel or driver before a worker saw them")
	l.add("port_reopens", float64(reopens), "events", "devices that went away and came back")
}

// longGap is what a worker may not stay away for: see the ports' buffers.
const longGap = 5 * time.Millisecond

// workers says of the busiest one how busy it is, and how often any stayed away for long.
func (l *counterList) workers(list []api.Port) {
	var busy float64
	long := make(map[string]uint64) // by worker: one may be with several ports
	for _, p := range list {
		for _, w := range p.Workers {
			busy = max(busy, w.Busy)
			long[w.Name] = 0
			for i := 1; i < len(w.Gaps); i++ {
				if w.Gaps[i-1].Below >= longGap.Seconds() {
					long[w.Name] += w.Gaps[i].Count
				}
			}
		}
	}
	var sum uint64
	for _, n := range long {
		sum += n
	}
	l.add("worker_busy_share", busy, "", "part of its time that the busiest worker worked, 0 to 1")
	l.add("worker_gaps_over_5ms", float64(sum), "gaps", "times that a worker did not poll for 5 ms or longer, asked sleep left out")
}

// counted adds what the ticks have counted since the start. A frame that is in total_simple_packets_processed and not yet in
// packets_counted is in the epoch that is being counted.
func (l *counterList) counted(c counted) {
	l.add("packets_counted", float64(c.frames), "packets", "frames counted by all ticks")
	l.add("bytes_counted", float64(c.bytes), "bytes", "their lengths on the wire")
	names := [traffic.NumFamilies]string{traffic.IPv4: "ipv4", traffic.IPv6: "ipv6"}
	for f, name := range names {
		var all traffic.Counter
		for d := range traffic.NumDirections {
			sum := &c.totals[f][d]
			total := sum.Cells.Overlapping(sum.Flows).Total
			all.Add(total)
			l.add("total_"+d.String()+"_packets_"+name, float64(total.Packets), "packets", "")
			l.add("total_"+d.String()+"_bytes_"+name, float64(total.Bytes), "bytes", "")
		}
		l.add("total_"+name+"_packets", float64(all.Packets), "packets", "")
	}
	for i, n := range c.codes {
		if code := wire.Code(i); n > 0 && code != wire.OK {
			l.add("frames_"+code.String(), float64(n), "packets", "frames with this decode code")
		}
	}
}
