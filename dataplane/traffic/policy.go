package traffic

import "errors"

// InternalPolicy says which rows a packet between two of our own hosts is charged to. Its total is internal always.
type InternalPolicy uint8

// The policies for internal traffic.
const (
	InternalBoth     InternalPolicy = iota // the destination's incoming and the source's outgoing row
	InternalIncoming                       // only the destination's incoming row
	InternalOutgoing                       // only the source's outgoing row
	InternalNone                           // no row
	numInternalPolicies
)

var internalNames = [numInternalPolicies]string{"both", "incoming", "outgoing", "none"}

// String is the policy's name in the configuration: both, incoming, outgoing, none.
func (p InternalPolicy) String() string {
	if p < numInternalPolicies {
		return internalNames[p]
	}
	return "invalid"
}

// MarshalText writes the policy's name.
func (p InternalPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the policy's name.
func (p *InternalPolicy) UnmarshalText(b []byte) error {
	for i, n := range internalNames {
		if n == string(b) {
			*p = InternalPolicy(i)
			return nil
		}
	}
	return errors.New(`internal traffic: "` + string(b) + `" is none of both, incoming, outgoing, none`)
}

// Rows says whether a packet of direction d is charged to its destination's incoming row and its source's outgoing row.
func (p InternalPolicy) Rows(d Direction) (incoming, outgoing bool) {
	switch d {
	case Incoming:
		return true, false
	case Outgoing:
		return false, true
	case Internal:
		return p == InternalBoth || p == InternalIncoming, p == InternalBoth || p == InternalOutgoing
	default:
		return false, false
	}
}
