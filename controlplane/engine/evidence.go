package engine

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Watch is a target whose packets are wanted.
type Watch struct {
	Target    rule.Target
	Direction traffic.Direction
}

// Evidence has packets of targets under attack. Its methods are called under the engine's lock: they must not block, nor call the engine.
type Evidence interface {
	// Watch replaces the list of targets whose packets are wanted beyond the constant sample.
	Watch(list []Watch)
	// Samples returns the latest packets of a target, at most limit.
	Samples(t rule.Target, d traffic.Direction, limit int) []notify.Packet
}

// PacketOf reads the head of a frame for a report: the header whose address is the target's, or the first one that is charged. at is in nanoseconds
// since the Unix epoch, 0 when it is not known. False when there is no IP header.
func PacketOf(d *wire.Decoder, link wire.LinkType, head []byte, wireLen uint32, at int64, target netip.Addr) (notify.Packet, bool) {
	var h wire.Headers
	if !d.Decode(link, head, &h).Addressed() {
		return notify.Packet{}, false
	}
	ip, second := h.Charged()
	if want := target.As16(); second != nil && ip.Src != want && ip.Dst != want {
		ip = second
	}
	p := notify.Packet{
		Src: netip.AddrFrom16(ip.Src).Unmap(), Dst: netip.AddrFrom16(ip.Dst).Unmap(),
		SrcPort: ip.SrcPort, DstPort: ip.DstPort, Proto: ip.Proto, TCPFlags: ip.TCPFlags, TTL: ip.TTL,
		Fragment: ip.Fragment, Length: wireLen, SampleRate: 1,
	}
	if !ip.HasPorts {
		p.SrcPort, p.DstPort = 0, 0
	}
	if at != 0 {
		p.Time = time.Unix(0, at)
	}
	return p, true
}

// pending is an incident whose packets are awaited.
type pending struct {
	inc incident.Incident
	due time.Duration
}

// Bounds of awaiting packets: looking for them costs time in proportion to all evidence there is.
const (
	maxDetails  = 1024 // incidents at a time
	detailsTick = 32   // incidents looked at in one tick
)

// followDetails awaits packets of incidents that notifiers were told of.
func (e *Engine) followDetails(t *incident.Transition) {
	if e.deps.Evidence == nil || t.Incident.Manual || t.To != incident.Active || t.From == incident.Cooling || !e.told[t.Incident.ID] {
		return
	}
	if len(e.details) >= maxDetails {
		e.counters.detailsSkipped++
		return
	}
	e.details = append(e.details, pending{inc: t.Incident, due: e.now.Mono + e.set.Engine.DetailsWait})
}

// watch tells the evidence which targets are under attack: first those whose packets are awaited, since there may not be room for all.
func (e *Engine) watch() {
	if e.deps.Evidence == nil {
		return
	}
	var list []Watch
	seen := make(map[Watch]bool)
	add := func(inc *incident.Incident) {
		w := Watch{Target: inc.Target, Direction: inc.Direction}
		if !inc.Manual && !seen[w] {
			seen[w] = true
			list = append(list, w)
		}
	}
	for i := range e.details {
		if e.told[e.details[i].inc.ID] {
			add(&e.details[i].inc)
		}
	}
	e.machine.Each(func(inc *incident.Incident) {
		if inc.State == incident.Active {
			add(inc)
		}
	})
	e.deps.Evidence.Watch(list)
}

// collectDetails sends attack_details for every incident that has enough packets, or has waited long enough. Those that are looked at and wait on go to the
// end of the queue.
func (e *Engine) collectDetails() {
	n := min(len(e.details), detailsTick)
	queue := e.details
	for _, p := range queue[:n] {
		if !e.told[p.inc.ID] { // it is over
			continue
		}
		packets := e.deps.Evidence.Samples(p.inc.Target, p.inc.Direction, e.set.Engine.DetailsPackets)
		switch {
		case len(packets) < e.set.Engine.DetailsPackets && e.now.Mono < p.due:
			queue = append(queue, p)
		case len(packets) > 0:
			e.send(notify.Details(p.inc, e.now.Wall, packets))
		}
	}
	e.details = append(e.details[:0], queue[n:]...)
	clear(e.details[len(e.details):cap(e.details)])
}
