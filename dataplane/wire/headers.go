package wire

// Budgets of one frame. A frame that needs more gets TooDeep or InnerTooDeep.
const (
	// MaxLayers is the most decoding steps: each protocol header is one, a run of VLAN tags or MPLS labels is one.
	MaxLayers = 32
	// MaxTags is the most VLAN tags in one run, and the most MPLS labels in one stack.
	MaxTags = 16
	// MaxExtensions is the most IPv6 extension headers (and AH) behind one IP header.
	MaxExtensions = 16
	// MaxIP is the most nested IP headers.
	MaxIP = 8
	// MaxNoted is the most layers that Trace notes; further ones are decoded but not noted.
	MaxNoted = 48
)

// Headers is what Decode found in one frame. It is reused from frame to frame and never cleared as a whole: after a Decode only what
// its methods and Outer reach is meaningful.
type Headers struct {
	// Outer is the first IP header. Outer.Version is 0, and the rest of it stale, when the code is not Addressed.
	Outer IP
	state headerState
	inner [MaxIP - 1]IP // inner[i] is IP header i+1
	notes [MaxNoted]Layer
}

// headerState is apart so that one store resets it.
type headerState struct {
	n      uint8 // IP headers seen; number 0 is Outer
	a, b   uint8 // numbers of the charged headers; b is 0 when there is no second
	layers uint8 // notes used
}

// Charged returns the headers whose addresses are charged with the frame's full length, by the Decoder's Charge settings. It is only
// meaningful when the code is Addressed. b is nil but behind a tunnel of ChargeBoth; when several tunnels of ChargeBoth are nested,
// a is the header before the first and b the innermost charged one.
func (h *Headers) Charged() (a, b *IP) {
	if h.state.a|h.state.b == 0 {
		return &h.Outer, nil
	}
	return h.chargedInner()
}

func (h *Headers) chargedInner() (a, b *IP) {
	a = h.ip(h.state.a)
	if h.state.b != 0 {
		b = h.ip(h.state.b)
	}
	return a, b
}

// Inner returns the innermost IP header that was walked to: all the way with Trace, else only as far as charging needs. Without a
// tunnel it is &h.Outer.
func (h *Headers) Inner() *IP {
	if h.state.n < 2 {
		return &h.Outer
	}
	return h.ip(h.state.n - 1)
}

// Depth is how many IP headers were walked: 0 when the code is not Addressed, 1 without a tunnel.
func (h *Headers) Depth() int { return int(h.state.n) }

// Layers returns the layers that were noted, outermost first. It is empty unless the Decoder has Trace.
// The slice is valid until the next Decode into h.
func (h *Headers) Layers() []Layer { return h.notes[:h.state.layers] }

// ip returns header number i.
func (h *Headers) ip(i uint8) *IP {
	if i == 0 {
		return &h.Outer
	}
	return &h.inner[(i-1)%(MaxIP-1)] // the remainder changes nothing and saves the bounds check
}

// setIPv4 sets Src and Dst to v4-mapped addresses, ::ffff:a.b.c.d; b is src then dst. Two stores each, no copy.
func (ip *IP) setIPv4(b *[8]byte) {
	const mapped = 0xffff_0000 // bytes 8 to 11, little endian
	le.PutUint64(ip.Src[0:8], 0)
	le.PutUint64(ip.Src[8:16], mapped|uint64(le.Uint32(b[0:4]))<<32)
	le.PutUint64(ip.Dst[0:8], 0)
	le.PutUint64(ip.Dst[8:16], mapped|uint64(le.Uint32(b[4:8]))<<32)
}
