package porttest

import (
	"encoding/binary"
	"net/netip"
)

// Shape says what a test frame looks like.
type Shape struct {
	// Size is the frame's length without FCS; less than the headers need means as short as they allow.
	Size int
	// V6 makes it IPv6.
	V6 bool
	// Tags are the VLAN tags from the outside in, tag protocol in the high half, tag control in the low:
	// 0x88a80064 is an 802.1ad tag with VLAN 100.
	Tags []uint32
	// Flow chooses addresses and ports.
	Flow int
	// Back swaps source and destination.
	Back bool
	// Fragment makes it a later fragment, without ports; IPv4 and IPv6.
	Fragment bool
	// To is the destination instead of the one that Flow chooses.
	To netip.Addr
}

// The MAC addresses of test frames: locally administered, so that no switch or stack has a use for them.
var (
	dstMAC = []byte{0x02, 'W', 'E', 'I', 'R', 1}
	srcMAC = []byte{0x02, 'W', 'E', 'I', 'R', 2}
)

// Build returns an Ethernet frame with a UDP datagram that carries seq in its last four bytes.
func Build(seq uint32, s Shape) []byte {
	be := binary.BigEndian
	f := append(append(make([]byte, 0, max(s.Size, 128)), dstMAC...), srcMAC...)
	for _, tag := range s.Tags {
		f = be.AppendUint32(f, tag)
	}
	head := 20 + 8
	if s.V6 {
		head = 40 + 8
		if s.Fragment {
			head += 8
		}
	}
	body := max(s.Size-len(f)-2-head, 4) // UDP payload
	src, dst := addresses(s)
	if s.V6 {
		f = be.AppendUint16(f, 0x86dd)
		f = be.AppendUint32(f, 6<<28)
		f = be.AppendUint16(f, uint16(head-40+body))
		if s.Fragment {
			f = append(f, 44, 64)
		} else {
			f = append(f, 17, 64)
		}
	} else {
		f = be.AppendUint16(f, 0x0800)
		f = append(f, 0x45, 0)
		f = be.AppendUint16(f, uint16(head+body))
		f = be.AppendUint16(f, uint16(seq))
		var frag uint16
		if s.Fragment {
			frag = 185
		}
		f = be.AppendUint16(f, frag)
		f = append(f, 64, 17, 0, 0)
	}
	f = append(append(f, src.AsSlice()...), dst.AsSlice()...)
	if !s.V6 {
		patchChecksum(f[len(f)-20:])
	} else if s.Fragment {
		f = append(f, 17, 0, 0x05, 0xc8) // offset 185 units
		f = be.AppendUint32(f, seq)
	}
	sport, dport := uint16(1024+s.Flow%60000), uint16(53)
	if s.Back {
		sport, dport = dport, sport
	}
	f = be.AppendUint16(f, sport)
	f = be.AppendUint16(f, dport)
	f = be.AppendUint16(f, uint16(8+body))
	f = be.AppendUint16(f, 0)
	for range body - 4 {
		f = append(f, byte(seq))
	}
	return be.AppendUint32(f, seq)
}

// Seq returns the number that Build put into a frame.
func Seq(frame []byte) uint32 {
	if len(frame) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(frame[len(frame)-4:])
}

func addresses(s Shape) (src, dst netip.Addr) {
	n := uint16(s.Flow)
	if s.V6 {
		src = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 1, 14: byte(n >> 8), 15: byte(n)})
		dst = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 2, 15: byte(n)})
	} else {
		src = netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
		dst = netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
	}
	if s.To.IsValid() {
		dst = s.To
	}
	if s.Back {
		src, dst = dst, src
	}
	return src, dst
}

// patchChecksum fills in the checksum of a 20-byte IPv4 header.
func patchChecksum(h []byte) {
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
}
