package netmap

import (
	"bytes"
	"encoding/binary"
)

// The kernel interface of netmap, API 14 (net/netmap.h), on 64-bit little-endian machines: offsets in bytes.
const (
	apiVersion = 14

	// struct nmreq_header
	hdrSize    = 88
	hdrVersion = 0 // u16
	hdrType    = 2 // u16
	hdrName    = 8
	hdrNameLen = 64
	hdrOptions = 72 // u64, address
	hdrBody    = 80 // u64, address

	// struct nmreq_register
	regSize    = 56
	regOffset  = 0  // u64, out: where in the memory the struct netmap_if is
	regMemSize = 8  // u64, out: length of the memory
	regTxSlots = 16 // u32
	regRxSlots = 20 // u32
	regTxRings = 24 // u16
	regRxRings = 26 // u16
	regMemID   = 32 // u16
	regRingID  = 34 // u16
	regMode    = 36 // u32
	regFlags   = 48 // u64

	// struct nmreq_port_info_get
	infoSize    = 32
	infoMemSize = 0  // u64
	infoRxSlots = 12 // u32
	infoRxRings = 18 // u16

	// struct netmap_if
	ifVersion = 16 // u32
	ifTxRings = 24 // u32
	ifRxRings = 28 // u32
	ifHostTx  = 36 // u32
	ifHostRx  = 40 // u32
	ifRings   = 56 // i64 each: NIC tx, host tx, NIC rx, host rx; relative to the netmap_if

	// struct netmap_ring
	ringBufOfs   = 0  // i64, relative to the ring
	ringNumSlots = 8  // u32
	ringBufSize  = 12 // u32
	ringID       = 16 // u16
	ringDir      = 18 // u16: 0 tx, 1 rx
	ringHead     = 20 // u32, ours
	ringCur      = 24 // u32, ours
	ringTail     = 28 // u32, the kernel's
	ringFlags    = 32 // u32
	ringTime     = 40 // struct timeval of the last sync
	ringSlots    = 256

	// struct netmap_slot
	slotSize  = 16
	slotBuf   = 0 // u32
	slotLen   = 4 // u16
	slotFlags = 6 // u16
)

// Values.
const (
	reqRegister = 1
	reqPortInfo = 2

	modeAllNIC = 1
	modeOneNIC = 4

	flagMonitorRX = 0x200
	flagMonitorTX = 0x100
	flagExclusive = 0x800
	flagNoTxPoll  = 0x20000 // poll for reception must not also send

	moreFrag = 0x20 // of a slot: the packet goes on in the next one
)

// request builds a struct nmreq_header; the system call fills in the body's address.
func request(kind uint16, name string) []byte {
	le := binary.LittleEndian
	h := make([]byte, hdrSize)
	le.PutUint16(h[hdrVersion:], apiVersion)
	le.PutUint16(h[hdrType:], kind)
	copy(h[hdrName:hdrName+hdrNameLen-1], name)
	return h
}

// nameOf reads the name of a header back.
func nameOf(h []byte) string {
	name, _, _ := bytes.Cut(h[hdrName:hdrName+hdrNameLen], []byte{0})
	return string(name)
}
