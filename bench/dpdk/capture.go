package dpdk

import "encoding/binary"

// frameSize is a 64-byte frame without its checksum.
const frameSize = 60

// capture is a pcap file with a TCP SYN to each of so many hosts of 10.0.0.0/8, and at least 512 frames in all, every one of
// a flow of its own, so that a host has several when there are few.
func capture(hosts int) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 0xa1b2c3d4)
	out = le.AppendUint32(out, 2|4<<16)
	out = append(out, make([]byte, 8)...)
	out = le.AppendUint32(le.AppendUint32(out, 65535), 1)
	for i := range max(hosts, 512) {
		out = le.AppendUint32(le.AppendUint32(out, 1e9), 0)
		out = le.AppendUint32(le.AppendUint32(out, frameSize), frameSize)
		out = append(out, syn(uint32(i%hosts), uint32(i))...)
	}
	return out
}

// syn is a frame from a source of its own; the order of hosts is scattered, as in an attack on a network.
func syn(host, flow uint32) []byte {
	f := make([]byte, frameSize)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6})
	binary.BigEndian.PutUint32(f[26:], 198<<24|18<<16|flow*40503%65536)
	binary.BigEndian.PutUint32(f[30:], 10<<24|host*40503%65536)
	binary.BigEndian.PutUint16(f[34:], uint16(1024+flow%60000))
	copy(f[36:], []byte{0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0})
	return f
}
