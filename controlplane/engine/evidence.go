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

// followDetails awaits packets of incidents that notifiers were told of, and watches their targets.
func (e *Engine) followDetails(t *incident.Transition) {
	if e.deps.Evidence == nil || t.Incident.Manual {
		return
	}
	switch {
	case t.To == incident.Active && t.From != incident.Cooling && e.told[t.Incident.ID]:
		e.details = append(e.details, pending{inc: t.Incident, due: e.now.Mono + e.set.Engine.DetailsWait})
	case t.To != incident.Clear:
		return
	}
	e.watch()
}

// watch tells the evidence which targets are under attack.
func (e *Engine) watch() {
	var list []Watch
	e.machine.Each(func(inc *incident.Incident) {
		if !inc.Manual && inc.State == incident.Active {
			list = append(list, Watch{Target: inc.Target, Direction: inc.Direction})
		}
	})
	e.deps.Evidence.Watch(list)
}

// collectDetails sends attack_details for every incident that has enough packets, or has waited long enough.
func (e *Engine) collectDetails() {
	keep := e.details[:0]
	for _, p := range e.details {
		packets := e.deps.Evidence.Samples(p.inc.Target, p.inc.Direction, e.set.Engine.DetailsPackets)
		switch {
		case len(packets) < e.set.Engine.DetailsPackets && e.now.Mono < p.due && e.told[p.inc.ID]:
			keep = append(keep, p)
		case len(packets) > 0 && e.told[p.inc.ID]:
			e.send(notify.Details(p.inc, e.now.Wall, packets))
		}
	}
	clear(e.details[len(keep):])
	e.details = keep
}
