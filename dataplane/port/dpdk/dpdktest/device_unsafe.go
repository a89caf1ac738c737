//go:build dpdk && cgo

package dpdktest

// #define ALLOW_EXPERIMENTAL_API
// #include <errno.h>
// #include <stdlib.h>
// #include <string.h>
// #include <rte_dev.h>
// #include <rte_errno.h>
// #include <rte_ethdev.h>
// #include <rte_mbuf.h>
//
// static struct rte_mempool *weir_pool(void)
// {
// 	static struct rte_mempool *pool;
// 	if (pool == NULL)
// 		pool = rte_pktmbuf_pool_create("weirsend", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
// 	return pool;
// }
//
// static int weir_send_open(const char *args, const char *name, uint16_t *port)
// {
// 	int rc = rte_dev_probe(args);
// 	if (rc == 0)
// 		rc = rte_eth_dev_get_port_by_name(name, port);
// 	struct rte_eth_conf conf;
// 	memset(&conf, 0, sizeof(conf));
// 	if (rc == 0)
// 		rc = rte_eth_dev_configure(*port, 1, 1, &conf);
// 	if (rc == 0 && weir_pool() == NULL)
// 		rc = -rte_errno;
// 	if (rc == 0)
// 		rc = rte_eth_rx_queue_setup(*port, 0, 256, SOCKET_ID_ANY, NULL, weir_pool());
// 	if (rc == 0)
// 		rc = rte_eth_tx_queue_setup(*port, 0, 256, SOCKET_ID_ANY, NULL);
// 	if (rc == 0)
// 		rc = rte_eth_dev_start(*port);
// 	return rc;
// }
//
// static int weir_send(uint16_t port, const void *data, uint16_t len)
// {
// 	struct rte_mbuf *m = rte_pktmbuf_alloc(weir_pool());
// 	if (m == NULL)
// 		return -ENOMEM;
// 	char *p = rte_pktmbuf_append(m, len);
// 	if (p != NULL) {
// 		memcpy(p, data, len);
// 		if (rte_eth_tx_burst(port, 0, &m, 1) == 1)
// 			return 0;
// 	}
// 	rte_pktmbuf_free(m);
// 	return -EAGAIN;
// }
//
// static int weir_send_close(uint16_t port)
// {
// 	struct rte_eth_dev_info info;
// 	int rc = rte_eth_dev_info_get(port, &info);
// 	if (rc == 0)
// 		rc = rte_eth_dev_stop(port);
// 	if (rc == 0)
// 		rc = rte_eth_dev_close(port);
// 	if (rc == 0)
// 		rc = rte_dev_remove(info.device);
// 	return rc;
// }
//
// static int weir_up(uint16_t port)
// {
// 	struct rte_eth_link link;
// 	return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status;
// }
import "C"

import (
	"fmt"
	"strings"
	"syscall"
	"unsafe"
)

// Sender is a DPDK device that sends: the other side of one that is tested, in the same process. It is used by one goroutine.
type Sender struct{ port C.uint16_t }

// Open makes a virtual device. DPDK's environment must run.
func Open(device string) (*Sender, error) {
	name, _, _ := strings.Cut(device, ",")
	args, base := C.CString(device), C.CString(name)
	defer C.free(unsafe.Pointer(args))
	defer C.free(unsafe.Pointer(base))
	var s Sender
	if rc := C.weir_send_open(args, base, &s.port); rc < 0 {
		return nil, fmt.Errorf("open %s: %w", device, syscall.Errno(-rc))
	}
	return &s, nil
}

// Up is whether there is somebody at the other side.
func (s *Sender) Up() bool { return C.weir_up(s.port) != 0 }

// Send sends frames in order and returns how many the device took.
func (s *Sender) Send(frames [][]byte) (int, error) {
	for i, f := range frames {
		data := C.CBytes(f)
		rc := C.weir_send(s.port, data, C.uint16_t(len(f)))
		C.free(data)
		if rc < 0 {
			return i, fmt.Errorf("send frame %d: %w", i, syscall.Errno(-rc))
		}
	}
	return len(frames), nil
}

// Close removes the device.
func (s *Sender) Close() error {
	if rc := C.weir_send_close(s.port); rc < 0 {
		return fmt.Errorf("close: %w", syscall.Errno(-rc))
	}
	return nil
}

// Unplug tells DPDK that a device is being pulled out, as the kernel does of one that is bound to vfio-pci.
func Unplug(name string) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	C.rte_dev_event_callback_process(c, C.RTE_DEV_EVENT_REMOVE)
}
