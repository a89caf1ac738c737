package wire

// Walk is the complete decoder without the shortcut.
func (d *Decoder) Walk(lt LinkType, b []byte, h *Headers) Code { return d.walk(lt, b, h) }

// Plain is the shortcut alone.
func (d *Decoder) Plain(b []byte, h *Headers) bool { return d.plain(b, h) }

// IPs are the IP headers that were walked to, outermost first.
func (h *Headers) IPs() (ips []*IP) {
	for i := range h.state.n {
		ips = append(ips, h.ip(i))
	}
	return ips
}
