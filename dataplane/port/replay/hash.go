package replay

import (
	"encoding/binary"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// hash is the same for both directions of a conversation and for every fragment of its datagrams, because it
// covers the charged pair of addresses only: ports are not in later fragments. Frames without addresses hash to 0.
func (r *reader) hash(link wire.LinkType, data []byte) uint64 {
	r.p.cfg.Decoder.Decode(link, data, &r.headers)
	ip, _ := r.headers.Charged()
	if ip == nil || ip.Version == 0 {
		return 0
	}
	a, b := mix(&ip.Src), mix(&ip.Dst)
	hi, lo := bits.Mul64((a+b)^0x9e3779b97f4a7c15, (a^b)|1)
	return hi ^ lo
}

// mix spreads one address over 64 bits.
func mix(a *[16]byte) uint64 {
	hi, lo := bits.Mul64(
		binary.LittleEndian.Uint64(a[:8])^0xa0761d6478bd642f,
		binary.LittleEndian.Uint64(a[8:])^0xe7037ed1a0b428db)
	return hi ^ lo
}
