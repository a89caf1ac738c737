package traffic

import (
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

const (
	// ChunkPackets is the most packets of a Chunk.
	ChunkPackets = 64
	// BurstPackets is the most packets that Charges take: two of each frame of a burst.
	BurstPackets = 128
	maxCharges   = 2 * BurstPackets
)

// Flow says whom the flow of a packet counts for, in one word: the first of its charges, how many they are, direction, family, and
// whether the packet is in the totals.
type Flow uint32

const (
	flowCharges, flowDir, flowFamily = 8, 16, 24
	flowTotal                        = 1 << 31
)

// Charges are what a burst adds to whom, on its way through ChargeAll, LocateFetch, NewFlow and Add; pointer-free.
type Charges struct {
	charges [maxCharges]Charge
	hashes  [BurstPackets]uint64
	flows   [BurstPackets]Flow
	n       uint
	nflows  uint
}

// Reset empties c for the next burst.
func (c *Charges) Reset() { c.n, c.nflows = 0, 0 }

// All are the charges.
func (c *Charges) All() []Charge { return c.charges[:c.n] }

// Hashes are the hashes of the flows from number from on: one for each packet that had ports, in their order.
func (c *Charges) Hashes(from uint) []uint64 { return c.hashes[from:c.nflows] }

// NumFlows is how many packets had ports.
func (c *Charges) NumFlows() uint { return c.nflows }

// Chunk is what ChargeAll charges: packets, and of each the places of its addresses and the bytes that it counts.
type Chunk struct {
	Packets [ChunkPackets]wire.IP
	Ends    [ChunkPackets]nets.Ends
	Lengths [ChunkPackets]uint32
	// N is how many packets there are.
	N uint
	// Second has a bit for each packet that is the second header of a frame: the totals do not count it.
	Second uint64
}

// Rules is who is charged with a packet, for one InternalPolicy.
type Rules struct {
	of      [4]rule    // by 2*(source is ours) + (destination is ours)
	classes [256]Class // classOf
	policy  InternalPolicy
}

// rule is who is charged with a packet between two places, in offsets.
type rule struct {
	side  uint64 // the direction of the first charge, as in Charge.control
	total uint32 // of the direction's Sum in a family's totals
	addr  uint32 // of the charged address in a wire.IP
	end   uint32 // of its place in a nets.Ends
	rows  uint32 // 0: nobody is charged; 2: the source is charged besides, as rule outgoingRule says
	flow  Flow
	_     uint32
}

const (
	outgoingRule = 2
	ruleShift    = 5 // the size of a rule in bits; a test holds it
)

// NewRules makes the rules of a policy.
func NewRules(policy InternalPolicy) *Rules {
	r := &Rules{classes: classOf, policy: policy}
	for i := range r.of {
		dir := directions[i]
		in, out := policy.Rows(dir)
		x := &r.of[i]
		x.total = uint32(dir) * sumSize
		x.side, x.addr, x.end = uint64(Incoming)<<placeBits, dstAt, dstEndAt
		if in {
			x.rows++
		}
		if out {
			x.rows++
			if !in {
				x.side, x.addr, x.end = uint64(Outgoing)<<placeBits, srcAt, srcEndAt
			}
		}
		x.flow = flowTotal | Flow(dir)<<flowDir | Flow(x.rows)<<flowCharges
	}
	return r
}

// ChargeAll notes in all what a chunk adds to whom, and with flows which flows its packets belong to; it adds the chunk to the totals
// and prefetches where LocateFetch goes. It panics beyond ChunkPackets, and beyond BurstPackets since all was Reset.
func (h *Half) ChargeAll(r *Rules, chunk *Chunk, all *Charges, flows bool) {
	if chunk.N == 0 {
		return
	}
	if chunk.N > ChunkPackets || all.n+2*chunk.N > maxCharges || all.nflows+chunk.N > BurstPackets {
		panic("traffic: too many packets for Charges")
	}
	if !h.chargeFast(r, chunk, all, flows) {
		h.chargeEach(r, chunk, all, flows)
	}
}

// chargeEach is ChargeAll in Go.
func (h *Half) chargeEach(r *Rules, chunk *Chunk, all *Charges, flows bool) {
	n, nflows, at := all.n, all.nflows, all.n
	for i := range chunk.Packets[:chunk.N] {
		ip, ends, length := &chunk.Packets[i], chunk.Ends[i], chunk.Lengths[i]
		dir := DirectionOf(ends.Src, ends.Dst)
		class := ClassOf(ip.Proto, ip.TCPFlags, ip.Fragment)
		family := IPv6
		if ip.Version == 4 {
			family = IPv4
		}
		note := Flow(n) | Flow(dir)<<flowDir | Flow(family)<<flowFamily
		if chunk.Second>>(i&63)&1 == 0 {
			c := &h.Totals[family][dir].Cells[class]
			c.Packets++
			c.Bytes += uint64(length)
			note |= flowTotal
		}
		in, out := r.policy.Rows(dir)
		if in {
			c := &all.charges[n%maxCharges]
			c.Set(&ip.Dst, ends.Dst, Incoming)
			c.Word, c.Class, c.NewFlows = OnePacket+uint64(length), class, 0
			n++
			note += 1 << flowCharges
		}
		if out {
			c := &all.charges[n%maxCharges]
			c.Set(&ip.Src, ends.Src, Outgoing)
			c.Word, c.Class, c.NewFlows = OnePacket+uint64(length), class, 0
			n++
			note += 1 << flowCharges
		}
		if flows && ip.HasPorts {
			all.flows[nflows%BurstPackets] = note
			all.hashes[nflows%BurstPackets] = h.table.seed.HashFlow(&ip.Src, &ip.Dst, ip.Proto, uint32(ip.SrcPort)<<16|uint32(ip.DstPort))
			nflows++
		}
	}
	all.n, all.nflows = n, nflows
	h.table.prepareFetch(all.charges[at:n])
}

// NewFlow credits flow k, one of NumFlows, to the totals and the charges that it counts for.
func (h *Half) NewFlow(all *Charges, k uint) {
	f := all.flows[k%BurstPackets]
	if f&flowTotal != 0 {
		h.Totals[f>>flowFamily&1][f>>flowDir&3].Flows++
	}
	for i := range uint(f >> flowCharges & 3) {
		all.charges[(uint(f&0xff)+i)%maxCharges].NewFlows = 1
	}
}
