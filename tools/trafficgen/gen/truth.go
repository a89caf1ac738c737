package gen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Charge says which header of a tunnelled packet is counted.
type Charge string

// The charges, the same for all tunnels.
const (
	ChargeOuter Charge = "outer" // the first IP header behind link layer and L2TP
	ChargeInner Charge = "inner" // the innermost
	ChargeBoth  Charge = "both"  // hosts of both; the totals by the outer one
)

// Options say how the detector that is compared with the truth is configured.
type Options struct {
	// Charge is ChargeOuter when empty.
	Charge Charge
	// CountIP counts the length of the charged IP datagram instead of the frame's (count_bytes: ip).
	CountIP bool
	// Epoch is the length of the detector's tick, for which flows are told apart; a second when zero.
	Epoch time.Duration
}

// C is a number of packets and bytes.
type C struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// D is the counters of a target in one direction, as DESIGN.md 7 defines them.
// Flows is the sum over the epochs (Options.Epoch, counted from the first packet) of the distinct 5-tuples in each.
type D struct {
	Total     C      `json:"total"`
	TCP       C      `json:"tcp"`
	TCPSYN    C      `json:"tcp_syn"`
	UDP       C      `json:"udp"`
	ICMP      C      `json:"icmp"`
	Fragments C      `json:"fragments"`
	Other     C      `json:"other"`
	Flows     uint64 `json:"flows"`
}

// Host is one of our addresses.
type Host struct {
	Addr     netip.Addr `json:"addr"`
	Incoming D          `json:"incoming"`
	Outgoing D          `json:"outgoing"`
}

// Totals are by direction.
type Totals struct {
	Incoming D `json:"incoming"`
	Outgoing D `json:"outgoing"`
	Internal D `json:"internal"`
	Other    D `json:"other"`
}

// Attack is the label of one stream that is not benign.
type Attack struct {
	Name      string    `json:"name"`
	Target    string    `json:"target"`
	Direction string    `json:"direction"`
	Kind      string    `json:"kind"`
	Via       []string  `json:"via,omitempty"`
	Vector    string    `json:"vector"`
	PPS       float64   `json:"pps"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Packets   uint64    `json:"packets"`
	Bytes     uint64    `json:"bytes"`
}

// Result is what a perfect `weir replay --json` says, and what was done.
type Result struct {
	Packets uint64            `json:"packets"`
	Bytes   uint64            `json:"bytes"`
	Codes   map[string]uint64 `json:"codes"`
	Totals  Totals            `json:"totals"`
	Hosts   []Host            `json:"hosts"`
	Attacks []Attack          `json:"attacks"`
	// Scenario, Seed, Networks and Charge are what it was made with.
	Scenario string         `json:"scenario"`
	Seed     uint64         `json:"seed"`
	Networks []netip.Prefix `json:"networks"`
	Charge   Charge         `json:"charge"`
}

// Truth adds up labels. Its memory grows with the hosts seen and the flows of one epoch.
type Truth struct {
	opt     Options
	streams []Stream
	res     Result
	totals  [4]D
	hosts   map[netip.Addr]*Host
	attacks map[int]*Attack
	origin  int64
	epoch   int64
	flows   map[flow]struct{} // of this epoch
}

type flow struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
	rowsOnly     bool
}

// The indices of totals.
const (
	incoming = iota
	outgoing
	internal
	other
)

var directions = [...]string{"incoming", "outgoing", "internal", "other"}

// NewTruth starts the truth about the frames of g.
func NewTruth(g *Generator, opt Options) (*Truth, error) {
	if opt.Charge == "" {
		opt.Charge = ChargeOuter
	}
	if !slices.Contains([]Charge{ChargeOuter, ChargeInner, ChargeBoth}, opt.Charge) {
		return nil, fmt.Errorf("charge %q is none of outer, inner, both", opt.Charge)
	}
	if opt.Epoch == 0 {
		opt.Epoch = time.Second
	}
	if opt.Epoch < 0 {
		return nil, fmt.Errorf("epoch %v is negative", opt.Epoch)
	}
	s := g.Scenario()
	return &Truth{
		opt: opt, streams: s.Streams, hosts: make(map[netip.Addr]*Host), attacks: make(map[int]*Attack), flows: make(map[flow]struct{}),
		res: Result{Codes: make(map[string]uint64), Scenario: s.Name, Seed: s.Seed, Networks: s.Networks, Charge: opt.Charge},
	}, nil
}

// Add counts one frame.
func (t *Truth) Add(f *Frame) {
	if t.res.Packets == 0 {
		t.origin = f.Time
	}
	if e := (f.Time - t.origin) / int64(t.opt.Epoch); e != t.epoch {
		t.epoch = e
		clear(t.flows)
	}
	size := uint64(len(f.Data))
	t.res.Packets++
	t.res.Bytes += size
	t.res.Codes[f.Code]++
	if f.Attack {
		t.label(f, size)
	}
	switch {
	case f.Outer == nil:
	case t.opt.Charge == ChargeInner:
		t.charge(f.Inner, size, true)
	default:
		t.charge(f.Outer, size, true)
		if t.opt.Charge == ChargeBoth && f.Inner != f.Outer {
			t.charge(f.Inner, size, false)
		}
	}
}

// charge counts a packet for the hosts of h, and in the totals.
func (t *Truth) charge(h *Header, size uint64, totals bool) {
	if t.opt.CountIP {
		size = uint64(h.Length)
	}
	newFlow := uint64(0)
	if h.HasPorts {
		k := flow{h.Src, h.Dst, h.SrcPort, h.DstPort, h.Proto, !totals}
		if _, ok := t.flows[k]; !ok {
			t.flows[k] = struct{}{}
			newFlow = 1
		}
	}
	srcOurs, dstOurs := t.ours(h.Src), t.ours(h.Dst)
	if totals {
		t.totals[direction(srcOurs, dstOurs)].add(h, size, newFlow)
	}
	if dstOurs {
		t.host(h.Dst).Incoming.add(h, size, newFlow)
	}
	if srcOurs {
		t.host(h.Src).Outgoing.add(h, size, newFlow)
	}
}

func (d *D) add(h *Header, size, newFlow uint64) {
	count := func(c *C) { c.Packets++; c.Bytes += size }
	count(&d.Total)
	switch h.Proto {
	case protoTCP:
		count(&d.TCP)
		if h.TCPFlags&syn != 0 {
			count(&d.TCPSYN)
		}
	case protoUDP:
		count(&d.UDP)
	case protoICMP, protoICMPv6:
		count(&d.ICMP)
	default:
		count(&d.Other)
	}
	if h.Fragment {
		count(&d.Fragments)
	}
	d.Flows += newFlow
}

func direction(srcOurs, dstOurs bool) int {
	switch {
	case srcOurs && dstOurs:
		return internal
	case dstOurs:
		return incoming
	case srcOurs:
		return outgoing
	}
	return other
}

func (t *Truth) ours(a netip.Addr) bool {
	for _, p := range t.res.Networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (t *Truth) host(a netip.Addr) *Host {
	h := t.hosts[a]
	if h == nil {
		h = &Host{Addr: a}
		t.hosts[a] = h
	}
	return h
}

func (t *Truth) label(f *Frame, size uint64) {
	a := t.attacks[f.Stream]
	now := time.Unix(0, f.Time).UTC()
	if a == nil {
		st := t.streams[f.Stream]
		a = &Attack{Name: st.Name, Target: st.Target, Kind: st.Kind, Via: st.Via, Vector: kinds[st.Kind].vector, PPS: st.PPS, Start: now, Direction: "other"}
		if f.Outer != nil {
			h := f.Outer
			if t.opt.Charge == ChargeInner {
				h = f.Inner
			}
			a.Direction = directions[direction(t.ours(h.Src), t.ours(h.Dst))]
		}
		t.attacks[f.Stream] = a
	}
	a.End = now
	a.Packets++
	a.Bytes += size
}

// Result is the truth so far: hosts by address, attacks by stream.
func (t *Truth) Result() Result {
	r := t.res
	r.Totals = Totals{t.totals[incoming], t.totals[outgoing], t.totals[internal], t.totals[other]}
	r.Hosts, r.Attacks = []Host{}, []Attack{}
	for _, h := range t.hosts {
		r.Hosts = append(r.Hosts, *h)
	}
	slices.SortFunc(r.Hosts, func(a, b Host) int { return a.Addr.Compare(b.Addr) })
	for _, i := range sortedInts(t.attacks) {
		r.Attacks = append(r.Attacks, *t.attacks[i])
	}
	return r
}

// WriteJSON writes the result as one indented object.
func (r Result) WriteJSON(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	_, err = io.Copy(w, bytes.NewReader(append(b, '\n')))
	return err
}

func sortedInts(m map[int]*Attack) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
