//go:build dpdk && cgo

package dpdktest

// #include <errno.h>
// #include <stdlib.h>
// #include <string.h>
// #include <rte_errno.h>
// #include <rte_mbuf.h>
// #include <rte_mempool.h>
// #include <rte_ring.h>
//
// static int weir_enqueue(const char *ring, const void *data, uint16_t len)
// {
// 	static struct rte_mempool *pool;
// 	if (pool == NULL)
// 		pool = rte_pktmbuf_pool_create("weirtest", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
// 	if (pool == NULL)
// 		return -rte_errno;
// 	struct rte_ring *r = rte_ring_lookup(ring);
// 	if (r == NULL)
// 		return -ENOENT;
// 	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
// 	if (m == NULL)
// 		return -ENOMEM;
// 	char *p = rte_pktmbuf_append(m, len);
// 	if (p == NULL) {
// 		rte_pktmbuf_free(m);
// 		return -EMSGSIZE;
// 	}
// 	memcpy(p, data, len);
// 	/* As a device that strips tags and hashes would say it. */
// 	m->ol_flags = RTE_MBUF_F_RX_RSS_HASH;
// 	m->hash.rss = len;
// 	m->packet_type = RTE_PTYPE_L2_ETHER;
// 	if (len > 16 && p[12] == (char)0x81 && p[13] == 0) {
// 		m->vlan_tci = (uint16_t)((uint8_t)p[14] << 8 | (uint8_t)p[15]);
// 		m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
// 		memmove(p + 4, p, 12);
// 		rte_pktmbuf_adj(m, 4);
// 	} else if (len > 20 && p[12] == (char)0x88 && p[13] == (char)0xa8 && p[16] == (char)0x81 && p[17] == 0) {
// 		m->vlan_tci_outer = (uint16_t)((uint8_t)p[14] << 8 | (uint8_t)p[15]);
// 		m->vlan_tci = (uint16_t)((uint8_t)p[18] << 8 | (uint8_t)p[19]);
// 		m->ol_flags |= RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED | RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
// 		memmove(p + 8, p, 12);
// 		rte_pktmbuf_adj(m, 8);
// 	}
// 	int rc = rte_ring_enqueue(r, m);
// 	if (rc < 0)
// 		rte_pktmbuf_free(m);
// 	return rc;
// }
import "C"

import (
	"fmt"
	"syscall"
	"unsafe"
)

// Enqueue puts frames into a DPDK ring, in order, as a device would that takes 802.1Q tags out, hashes (the hash is the
// length of the frame) and knows Ethernet. It returns how many fitted.
func Enqueue(ring string, frames [][]byte) (int, error) {
	name := C.CString(ring)
	defer C.free(unsafe.Pointer(name))
	for i, f := range frames {
		data := C.CBytes(f)
		rc := C.weir_enqueue(name, data, C.uint16_t(len(f)))
		C.free(data)
		if rc < 0 {
			return i, fmt.Errorf("put frame %d into ring %s: %w", i, ring, syscall.Errno(-rc))
		}
	}
	return len(frames), nil
}
