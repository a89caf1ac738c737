package notify

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
)

// Action says what an Event is about, in the words of FastNetMon's notify script.
type Action string

// The actions, in the order in which one incident has them. AttackDetails comes at most once.
const (
	Ban           Action = "ban"
	AttackDetails Action = "attack_details"
	Unban         Action = "unban"
)

// Packet is one sampled packet of an attack.
type Packet struct {
	// Time is when the packet was received; zero when the driver has no time stamps.
	Time time.Time
	// Src and Dst are the charged addresses, never v4-mapped.
	Src, Dst netip.Addr
	// SrcPort and DstPort are 0 without a transport header.
	SrcPort, DstPort uint16
	// Proto is the IP protocol number behind all extension headers.
	Proto uint8
	// TCPFlags are the bits of RFC 9293; only TCP has them.
	TCPFlags uint8
	// TTL is the time to live or hop limit.
	TTL uint8
	// Fragment is set for every fragment, the first included.
	Fragment bool
	// Length is the frame's length on the wire, bytes.
	Length uint32
	// SampleRate is how many packets this one stands for; 0 means 1.
	SampleRate uint32
}

// Event is one thing to tell. It is a copy and never changes.
type Event struct {
	Action   Action
	Incident incident.Incident
	// At is when it happened.
	At time.Time
	// Cause is the reason in words, for people.
	Cause string
	// Packets are set for AttackDetails.
	Packets []Packet
}

// FromTransition makes the event of a transition: Ban when an incident becomes active, Unban when an incident that was
// active is over. Every other transition says false: a suspect that clears was never told, and neither is a target that
// cools down or flares up again.
func FromTransition(t incident.Transition) (Event, bool) {
	e := Event{Incident: t.Incident, At: t.At, Cause: t.Cause}
	wasOn := t.From == incident.Active || t.From == incident.Cooling
	switch {
	case t.To == incident.Active && !wasOn:
		e.Action = Ban
	case t.To == incident.Clear && wasOn:
		e.Action = Unban
	default:
		return Event{}, false
	}
	return e, true
}

// Details makes the AttackDetails event of an incident whose packets have been sampled. The slice is kept.
func Details(inc incident.Incident, at time.Time, packets []Packet) Event {
	return Event{Action: AttackDetails, Incident: inc, At: at, Cause: "packet sample is ready", Packets: packets}
}

// Notifier tells the outside. Notify never blocks: it takes the event into its queue, or counts it as dropped and says
// false. Events of one incident are told in the order in which they came.
type Notifier interface {
	Name() string
	Notify(e Event) bool
}
