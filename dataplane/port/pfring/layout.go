//go:build linux

package pfring

import "encoding/binary"

// The kernel interface of PF_RING 8.x (linux/pf_ring.h), flow slot version 21, on 64-bit little-endian machines.
const (
	family    = 27 // of the socket; also Linux's AF_IB
	protocol  = 3  // ETH_P_ALL in host order, as libpfring has it in bind
	slotVer   = 21
	majorVer  = 8 // of RING_VERSION: 0x080900 is 8.9.0
	headerLen = 48

	// Socket options, level 0. The length must match exactly.
	optAddToCluster   = 99  // 12 bytes
	optActivate       = 106 // 1 byte
	optBucketLen      = 107 // u32
	optDirection      = 111 // u32
	optApplName       = 110 // text
	optWatermark      = 117 // u16, packets
	optShortHeader    = 127 // u32
	optSocketMode     = 126 // u32
	optPromiscuous    = 140 // u32
	optRingVersion    = 170 // u32, get
	optHeaderLen      = 179 // u16, get
	directionBoth     = 0
	directionRx       = 1
	modeReceive       = 2
	clusterSize       = 12
	clusterAnyQueue   = 0xffff
	clusterOffID      = 0 // u16
	clusterOffQueue   = 2 // u16
	clusterOffOptions = 4 // u32
	clusterOffType    = 8 // u32

	// struct FlowSlotInfo: the kernel's page, and ours.
	infoVersion   = 0    // u16
	infoMinSlots  = 4    // u32
	infoSlotLen   = 8    // u32
	infoTotMem    = 16   // u64
	infoTotPkts   = 40   // u64
	infoTotLost   = 48   // u64
	infoTotInsert = 56   // u64
	infoTotRead   = 4096 // u64, ours
	infoRemoveOff = 4104 // u64, ours
	infoSize      = 8192 // slots follow

	// struct pfring_pkthdr, short form.
	pktSec       = 0  // i64
	pktUsec      = 8  // i64
	pktCaplen    = 16 // u32
	pktLen       = 20 // u32
	pktNanos     = 24 // u64
	pktDirection = 36 // u8, 1 when received

	magic     = 0x8888 // behind the packet
	magicLen  = 2
	alignment = 8
)

var le = binary.LittleEndian

// sockaddr is struct sockaddr_ll with PF_RING's family.
func sockaddr(ifindex int) []byte {
	b := make([]byte, 20)
	le.PutUint16(b, family)
	le.PutUint16(b[2:], protocol)
	le.PutUint32(b[4:], uint32(ifindex))
	return b
}

// cluster is struct add_to_cluster.
func cluster(id int, kind uint32) []byte {
	b := make([]byte, clusterSize)
	le.PutUint16(b[clusterOffID:], uint16(id))
	le.PutUint16(b[clusterOffQueue:], clusterAnyQueue)
	le.PutUint32(b[clusterOffType:], kind)
	return b
}

func u32(v uint32) []byte { return le.AppendUint32(nil, v) }
func u16(v uint16) []byte { return le.AppendUint16(nil, v) }

// stride is the length of a slot with a packet of caplen bytes.
func stride(caplen uint64) uint64 {
	return (headerLen + caplen + magicLen + alignment - 1) &^ (alignment - 1)
}
