//go:build linux

package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
)

// ring is one packet socket and its mapped memory. A block belongs to the kernel until its status says TP_STATUS_USER,
// then to us until we write TP_STATUS_KERNEL.
type ring struct {
	fd     int
	mem    []byte
	blocks [][]byte

	// The worker's place. cur is the block in work, nil when none is.
	index int
	cur   []byte
	left  uint32 // frames of cur not yet delivered
	off   uint32 // of the next one in cur

	merged uint64 // frames with TP_STATUS_GSO_TCP; folded into the queue's counter once a burst

	// The kernel resets its counters when they are read, so they are summed up; guarded by queue.statsMu.
	dropped, freezes uint64
}

// Layout of struct tpacket_block_desc and tpacket3_hdr (linux/if_packet.h), all in host order.
const (
	blockPackets = 12
	blockFirst   = 16

	frameNext    = 0
	frameSec     = 4
	frameNsec    = 8
	frameSnaplen = 12
	frameLen     = 16
	frameStatus  = 20
	frameMac     = 24
	frameTCI     = 32
	frameTPID    = 36
	frameHeader  = 48

	// addressEnd is where the sockaddr_ll behind the header ends, and headroom free for a tag begins.
	addressEnd = frameHeader + unix.SizeofSockaddrLinklayer
	tagLen     = 4

	// reserve is what lets a frame keep clear of addressEnd by a tag behind Ethernet headers of up to 26 bytes. The kernel rounds what is in
	// front of frames up to 16 bytes before it, and their ends to 8: so 2 cost the shortest frames no room.
	reserve = 2

	// shortest is the room that a frame of 60 bytes takes.
	shortest = 144
)

// newRing makes a socket with its ring that receives nothing yet: see join.
func newRing(o Options) (*ring, error) {
	// Protocol 0: the socket is not connected to any device before bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("packet socket: %w (CAP_NET_RAW is needed)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	r := &ring{fd: fd}
	if err := r.setUp(o); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ring) setUp(o Options) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3: %w", err)
	}
	// Room in front of each frame for the tag that the kernel took out.
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, reserve); err != nil {
		return fmt.Errorf("PACKET_RESERVE: %w", err)
	}
	if !o.Outgoing {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("PACKET_IGNORE_OUTGOING: %w", err)
		}
	}
	// TPACKET_V3 packs frames of any length into a block; the frame size only has to divide.
	const frame = 2048
	req := unix.TpacketReq3{
		Block_size: uint32(o.BlockSize), Block_nr: uint32(o.Blocks),
		Frame_size: frame, Frame_nr: uint32(o.BlockSize / frame * o.Blocks),
		Retire_blk_tov: uint32(time.Duration(o.Retire).Milliseconds()),
	}
	if err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("ring of %d blocks of %d bytes: %w", o.Blocks, o.BlockSize, err)
	}
	mem, err := unix.Mmap(r.fd, 0, o.BlockSize*o.Blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map ring of %d bytes: %w", o.BlockSize*o.Blocks, err)
	}
	r.mem = mem
	for i := range o.Blocks {
		r.blocks = append(r.blocks, mem[i*o.BlockSize:(i+1)*o.BlockSize:(i+1)*o.BlockSize])
	}
	return nil
}

// keep has the socket take so many bytes of each frame from now on; 0 takes no frame.
func (r *ring) keep(head int) error {
	filter := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(head)}
	prog := unix.SockFprog{Len: 1, Filter: &filter}
	if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

// bind connects the socket to the device, deaf: until hear is called a filter keeps everything out. Else a socket
// would get every frame of the device between bind and its membership in the fanout group, and frames count twice.
func (r *ring) bind(index int, promiscuous bool) error {
	if err := r.keep(0); err != nil {
		return err
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if promiscuous {
		m := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

// join makes the socket a member of a fanout group and returns the group's number. Zero asks for a free one.
func (r *ring) join(group int, o Options) (int, error) {
	flags := fanouts[o.Fanout]
	if group == 0 {
		flags |= unix.PACKET_FANOUT_FLAG_UNIQUEID
	}
	if !o.Outgoing {
		flags |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group|flags<<16); err != nil {
		return 0, fmt.Errorf("fanout %s, group %d: %w", o.Fanout, group, err)
	}
	v, err := unix.GetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return 0, fmt.Errorf("fanout group: %w", err)
	}
	return v & 0xffff, nil
}

// hear lets frames in, head bytes of each; 0 means all of it.
func (r *ring) hear(head int) error {
	if head > 0 {
		return r.keep(head)
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		return fmt.Errorf("detach filter: %w", err)
	}
	return nil
}

func (r *ring) close() error {
	var err error
	if r.mem != nil {
		err = unix.Munmap(r.mem)
	}
	r.mem, r.blocks, r.cur = nil, nil, nil
	return errors.Join(err, unix.Close(r.fd))
}

// fill takes frames of one block: a burst does not reach over its end, so that never more than one block is held.
// It returns how many frames there are and their bytes on the wire. Another core wrote them, one behind the other: the processor sees that by
// itself and fetches them ahead, and to ask for them costs more than it brings.
func (r *ring) fill(b *port.Burst) (n int, sum uint64) {
	for r.cur == nil {
		block := r.blocks[r.index]
		if blockStatus(block)&unix.TP_STATUS_USER == 0 {
			return 0, 0
		}
		r.left = binary.NativeEndian.Uint32(block[blockPackets:])
		r.off = binary.NativeEndian.Uint32(block[blockFirst:])
		r.cur = block
		if r.left == 0 {
			r.retire()
		}
	}
	block, off := r.cur, r.off
	n = min(int(r.left), port.MaxBurst)
	for i := range n {
		h := block[off:]
		h = h[:frameHeader:frameHeader] // one length test for the header
		ne := binary.NativeEndian
		start := off + uint32(ne.Uint16(h[frameMac:]))
		length := ne.Uint32(h[frameLen:])
		end := start + ne.Uint32(h[frameSnaplen:])
		status := ne.Uint32(h[frameStatus:])
		if status&(unix.TP_STATUS_VLAN_VALID|unix.TP_STATUS_GSO_TCP) != 0 {
			if status&unix.TP_STATUS_VLAN_VALID != 0 {
				start = restoreTag(block, off, start, end)
				length += tagLen
			}
			if status&unix.TP_STATUS_GSO_TCP != 0 {
				r.merged++
			}
		}
		b.Frames[i] = port.Frame{
			Data:    block[start:end:end],
			Time:    int64(ne.Uint32(h[frameSec:]))*1e9 + int64(ne.Uint32(h[frameNsec:])),
			WireLen: length,
		}
		sum += uint64(length)
		off += ne.Uint32(h[frameNext:])
	}
	r.off = off
	r.left -= uint32(n)
	return n, sum
}

// restoreTag moves the MAC addresses of the frame at start four bytes down, into the headroom, and writes the tag behind
// them as it was on the wire. It returns the frame's new start. off is where the frame's header lies.
func restoreTag(block []byte, off, start, end uint32) uint32 {
	const addrs = 12
	if end-start < addrs || start < off+addressEnd+tagLen {
		return start // too short to have a place for the tag; the length is right all the same
	}
	h := block[off : off+frameHeader]
	ne := binary.NativeEndian
	tci, tpid := uint16(ne.Uint32(h[frameTCI:])), uint16(unix.ETH_P_8021Q)
	if ne.Uint32(h[frameStatus:])&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = ne.Uint16(h[frameTPID:])
	}
	f := block[start-tagLen : end]
	copy(f, f[tagLen:tagLen+addrs])
	binary.BigEndian.PutUint16(f[addrs:], tpid)
	binary.BigEndian.PutUint16(f[addrs+2:], tci)
	return start - tagLen
}

// retire gives the block in work back to the kernel.
func (r *ring) retire() {
	setBlockStatus(r.cur, unix.TP_STATUS_KERNEL)
	r.cur = nil
	if r.index++; r.index == len(r.blocks) {
		r.index = 0
	}
}

// collect adds the kernel's counters since the last call.
func (r *ring) collect() {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return // only a closed socket refuses, and its last figures were taken when it was closed
	}
	r.dropped += uint64(s.Drops)
	r.freezes += uint64(s.Freeze_q_cnt)
}
