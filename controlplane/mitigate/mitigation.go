package mitigate

import (
	"context"
	"net/netip"
	"time"
)

// Kind is how a mitigation stops traffic.
type Kind string

// The kinds.
const (
	Blackhole Kind = "blackhole" // RFC 7999: announce the prefix, the routers drop everything to it
	FlowSpec  Kind = "flowspec"  // RFC 8955/8956: announce a rule, the routers drop or limit what matches
)

// Action is what routers do with traffic that matches a Flow Spec rule.
type Action string

// The actions.
const (
	Discard   Action = "discard"
	RateLimit Action = "rate-limit"
)

// Match is a Flow Spec rule in this project's terms. Zero fields match anything; the linter refuses an empty match.
type Match struct {
	// Destination is required: the protected prefix. Source is set for an outgoing attack.
	Destination netip.Prefix `json:"destination,omitzero"`
	Source      netip.Prefix `json:"source,omitzero"`
	// Protocols are IP protocol numbers, OR-ed.
	Protocols []uint8 `json:"protocols,omitempty"`
	// SourcePorts and DestinationPorts are OR-ed inside.
	SourcePorts      []uint16 `json:"source_ports,omitempty"`
	DestinationPorts []uint16 `json:"destination_ports,omitempty"`
	// TCPFlags that must be set and TCPFlagsNot that must not be (RFC 9293 bits).
	TCPFlags    uint8 `json:"tcp_flags,omitempty"`
	TCPFlagsNot uint8 `json:"tcp_flags_not,omitempty"`
	// Fragment matches fragments only (is-fragment, first or later).
	Fragment bool `json:"fragment,omitempty"`
	// MinLength and MaxLength bound the IP packet's length, bytes; both zero means any.
	MinLength uint16 `json:"min_length,omitempty"`
	MaxLength uint16 `json:"max_length,omitempty"`
}

// Community is a BGP community in text: "65535:666" (standard, RFC 1997), "64512:1:7" (large, RFC 8092),
// or a well-known name ("blackhole", "no-export", "no-advertise").
type Community string

// Mitigation is one thing that the world should do for one target. It is plain data: planned by the planner, journalled,
// handed to mitigators as a wanted set. Two mitigations with equal Key are the same route.
type Mitigation struct {
	// ID is a UUID; operators withdraw by it.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Prefix is what a blackhole announces; for Flow Spec it equals Match.Destination (or Source).
	Prefix netip.Prefix `json:"prefix"`
	// NextHop is the blackhole's next hop, of the prefix's family.
	NextHop netip.Addr `json:"next_hop,omitzero"`
	// Communities go with the announcement.
	Communities []Community `json:"communities,omitempty"`
	// Match and Action are set for Flow Spec. Rate is in bytes per second, for RateLimit.
	Match  Match  `json:"match,omitzero"`
	Action Action `json:"action,omitempty"`
	Rate   uint64 `json:"rate,omitempty"`
	// Hostgroup, Incident and Reason say whose it is and why, for people and the audit.
	Hostgroup string `json:"hostgroup,omitempty"`
	Incident  string `json:"incident,omitempty"`
	Reason    string `json:"reason"`
	// Manual mitigations were set by an operator; they end by their expiry or by hand.
	Manual bool `json:"manual,omitempty"`
	// DryRun mitigations are planned, journalled and shown, and never announced.
	DryRun bool `json:"dry_run,omitempty"`
	// Created and Expires bound its life. Every mitigation expires.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// Status is what a mitigator knows about the world.
type Status struct {
	// Ready is set when at least one router or program accepts what is announced.
	Ready bool `json:"ready"`
	// Announced is how many mitigations are in force.
	Announced int `json:"announced"`
	// Refused holds the mitigation ids that the mitigator refused, and why.
	Refused map[string]string `json:"refused,omitempty"`
	// Peers describes each session or program in words for people.
	Peers []PeerStatus `json:"peers,omitempty"`
	// Err is the last fault, empty when there is none.
	Err string `json:"err,omitempty"`
}

// PeerStatus is one BGP session.
type PeerStatus struct {
	Name     string    `json:"name"`
	Address  string    `json:"address"`
	ASN      uint32    `json:"asn"`
	State    string    `json:"state"` // idle, connect, active, opensent, openconfirm, established
	Since    time.Time `json:"since,omitzero"`
	Families []string  `json:"families,omitempty"`
	// LastError is the reason of the last loss, as the peer or we gave it.
	LastError string `json:"last_error,omitempty"`
	Flaps     uint64 `json:"flaps"`
}

// Mitigator makes the world match a wanted set. Reconcile is level-triggered and idempotent: it is called with the whole
// set whenever that changes and every few seconds besides; want holds no DryRun entries. Reconcile may block up to ctx;
// it is called from one goroutine that is not the tick's. Status is safe at any time.
type Mitigator interface {
	Name() string
	Reconcile(ctx context.Context, want []Mitigation) error
	Status() Status
}
