package wire

// IPs are the IP headers that were walked to, outermost first.
func (h *Headers) IPs() (ips []*IP) {
	for i := range h.state.n {
		ips = append(ips, h.ip(i))
	}
	return ips
}

// HasShapes is whether PlainAll decodes anything.
var HasShapes = hasShapes
