package traffic

// Direction says which side of a packet lies inside the configured networks.
type Direction uint8

// The directions. Incoming and Outgoing have host rows. Internal traffic charges both of its hosts
// (the destination's incoming row and the source's outgoing row) but counts once, as Internal, in the totals.
const (
	Incoming Direction = iota // destination is ours
	Outgoing                  // source is ours
	Internal                  // both are ours
	Other                     // neither is ours
	NumDirections
)

var directionNames = [NumDirections]string{"incoming", "outgoing", "internal", "other"}

// String returns the name used in every interface: incoming, outgoing, internal, other.
func (d Direction) String() string {
	if d < NumDirections {
		return directionNames[d]
	}
	return "invalid"
}

// Class is one of the disjoint classes a packet is counted in.
type Class uint8

// The classes. Class+FragmentOffset is the class of the same packet when it is a fragment.
const (
	ClassTCP    Class = iota // TCP without SYN
	ClassTCPSYN              // TCP with SYN set, whatever else is set
	ClassUDP
	ClassICMP // ICMP and ICMPv6
	ClassOther
	ClassTCPFragment
	ClassTCPSYNFragment
	ClassUDPFragment
	ClassICMPFragment
	ClassOtherFragment
	NumClasses

	// FragmentOffset is added to a class below it to get the class of a fragment.
	FragmentOffset = ClassTCPFragment
)

// Counter is a number of packets and of their bytes.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Add adds o to c.
func (c *Counter) Add(o Counter) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
}

// Cells is one counter for each disjoint class.
type Cells [NumClasses]Counter

// Add adds o to c, class by class.
func (c *Cells) Add(o *Cells) {
	for i := range c {
		c[i].Add(o[i])
	}
}

// Sum adds up the given classes.
func (c *Cells) Sum(classes ...Class) (sum Counter) {
	for _, k := range classes {
		sum.Add(c[k])
	}
	return sum
}

// Counters is what users know: overlapping counters of one target and direction.
// tcp includes tcp_syn and its fragments, fragments is every fragment, total = tcp + udp + icmp + other.
type Counters struct {
	Total     Counter `json:"total"`
	TCP       Counter `json:"tcp"`
	TCPSYN    Counter `json:"tcp_syn"`
	UDP       Counter `json:"udp"`
	ICMP      Counter `json:"icmp"`
	Fragments Counter `json:"fragments"`
	Other     Counter `json:"other"`
	// Flows is the number of distinct 5-tuples (TCP, UDP, SCTP with readable ports) that were new: first
	// seen in their second, or in their epoch when that is longer.
	Flows uint64 `json:"flows"`
}

// Overlapping turns disjoint cells into the counters that users know.
func (c *Cells) Overlapping(flows uint64) Counters {
	u := Counters{
		TCPSYN: c.Sum(ClassTCPSYN, ClassTCPSYNFragment),
		UDP:    c.Sum(ClassUDP, ClassUDPFragment),
		ICMP:   c.Sum(ClassICMP, ClassICMPFragment),
		Other:  c.Sum(ClassOther, ClassOtherFragment),
		Fragments: c.Sum(ClassTCPFragment, ClassTCPSYNFragment, ClassUDPFragment,
			ClassICMPFragment, ClassOtherFragment),
		Flows: flows,
	}
	u.TCP = u.TCPSYN
	u.TCP.Add(c.Sum(ClassTCP, ClassTCPFragment))
	for _, p := range []Counter{u.TCP, u.UDP, u.ICMP, u.Other} {
		u.Total.Add(p)
	}
	return u
}
