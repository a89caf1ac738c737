package wire

import "encoding/binary"

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Decode reads the frame b, captured on a link of type lt, into h and says how that ended. b may be cut at any point; lengths in its
// headers are only believed as far as b goes. It allocates nothing and keeps no reference to b.
//
// A tunnel that the Charge settings do not look into is not parsed at all, so what is broken inside it shows only with Trace.
func (d *Decoder) Decode(lt LinkType, b []byte, h *Headers) Code {
	if lt == LinkEthernet && !d.Trace && d.Plain(b, &h.Outer) {
		h.state = headerState{n: 1}
		return OK
	}
	return d.Walk(lt, b, h)
}
