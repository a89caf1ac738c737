//go:build pcap && cgo

package pcaplive

// #cgo LDFLAGS: -lpcap
// #cgo noescape weir_pcap_rx
// #cgo nocallback weir_pcap_rx
// #include <stdlib.h>
// #include "bind_pcap.h"
import "C"

import (
	"errors"
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/port"
)

// handle is an open capture. Its methods must not run at the same time.
type handle struct{ w *C.struct_weir_pcap }

func openHandle(device string, o Options) (*handle, error) {
	dev, filter := C.CString(device), C.CString(o.Filter)
	defer C.free(unsafe.Pointer(dev))
	defer C.free(unsafe.Pointer(filter))
	flag := map[bool]C.int{true: 1}
	var text [512]byte
	w := C.weir_pcap_open(dev, C.int(o.Snap), flag[o.Promiscuous], C.int(o.Buffer<<10), flag[o.Outgoing], filter,
		(*C.char)(unsafe.Pointer(&text[0])), C.int(len(text)))
	if w == nil {
		return nil, errors.New(C.GoString((*C.char)(unsafe.Pointer(&text[0]))))
	}
	return &handle{w}, nil
}

func (h *handle) close() { C.weir_pcap_close(h.w) }

// link is the link type by libpcap's number (DLT_*).
func (h *handle) link() int { return int(h.w.link) }

// fill receives into b and returns how many frames, negative on an error of the device, and their bytes. Sound: the table
// and the frames are C memory of the handle, which is closed only when nobody is inside the queue's gate; they stay until
// the next call.
func (h *handle) fill(b *port.Burst) (n int, sum uint64) {
	n = int(C.weir_pcap_rx(C.uintptr_t(uintptr(unsafe.Pointer(h.w)))))
	unit := int64(1000)
	if h.w.nanos != 0 {
		unit = 1
	}
	for i := range min(n, port.MaxBurst) {
		f := &h.w.frame[i]
		b.Frames[i] = port.Frame{
			Data:    unsafe.Slice((*byte)(f.data), int(f.caplen)),
			Time:    int64(f.sec)*1e9 + int64(f.frac)*unit,
			WireLen: uint32(f.len),
		}
	}
	return n, uint64(h.w.sum)
}

// figures are libpcap's counters since the handle was opened, modulo 2^32, and frames beyond a burst.
func (h *handle) figures() (received, dropped, ifDropped uint32, truncated uint64) {
	var r, d, i C.uint32_t
	if C.weir_pcap_stats(h.w, &r, &d, &i) != 0 {
		return 0, 0, 0, uint64(h.w.truncated)
	}
	return uint32(r), uint32(d), uint32(i), uint64(h.w.truncated)
}

// problem is what libpcap says about the last error.
func (h *handle) problem() string {
	var text [512]byte
	C.weir_pcap_error(h.w, (*C.char)(unsafe.Pointer(&text[0])), C.int(len(text)))
	return C.GoString((*C.char)(unsafe.Pointer(&text[0])))
}

func libraryVersion() string { return C.GoString(C.weir_pcap_version()) }
