package record

import (
	"bytes"
	"encoding/binary"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// SetHead takes what the packet decoder does not keep of ip, a header that it found in the packet head b: the type of service, and the
// type of an ICMP message. lt is where b begins. SetIP comes before it.
func (r *Record) SetHead(lt wire.LinkType, b []byte, ip *wire.IP) {
	r.TOS = 0
	at := place(lt, b, ip)
	if at < 0 {
		return
	}
	b = b[at:]
	head := 40
	if ip.Version == 4 {
		r.TOS = b[1]
		head = int(b[0]&15) * 4
	} else {
		r.TOS = b[0]<<4 | b[1]>>4
	}
	if ip.Proto != wire.ProtoICMP && ip.Proto != wire.ProtoICMPv6 || ip.Fragment || ip.Version == 6 && b[6] != wire.ProtoICMPv6 || len(b) < head+2 {
		return
	}
	r.ICMPType, r.ICMPCode = b[head], b[head+1]
	r.Has |= HasICMP
}

// maxTags is how many VLAN tags are skipped before the addresses are looked for.
const maxTags = 4

// place is where ip begins in b, -1 when it is not found: behind Ethernet and VLAN tags, nearly always, else where its addresses are.
func place(lt wire.LinkType, b []byte, ip *wire.IP) int {
	at := 0
	if lt == wire.LinkEthernet {
		at = 14
		for range maxTags {
			if len(b) < at+4 {
				return -1
			}
			if t := binary.BigEndian.Uint16(b[at-2:]); t != 0x8100 && t != 0x88a8 && t != 0x9100 {
				break
			}
			at += 4
		}
	}
	size, before, src, dst := 20, 12, ip.Src[12:], ip.Dst[12:]
	if ip.Version == 6 {
		size, before, src, dst = 40, 8, ip.Src[:], ip.Dst[:]
	}
	here := func(at int) bool {
		return at >= 0 && len(b) >= at+size && b[at]>>4 == ip.Version && bytes.Equal(b[at+before:at+before+len(src)], src) &&
			bytes.Equal(b[at+before+len(src):at+size], dst)
	}
	if here(at) {
		return at
	}
	for from := 0; ; { // in a tunnel, or behind labels
		i := bytes.Index(b[from:], src)
		if i < 0 {
			return -1
		}
		if here(from + i - before) {
			return from + i - before
		}
		from += i + 1
	}
}
