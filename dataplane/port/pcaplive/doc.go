// Package pcaplive is the port driver for whatever libpcap can capture from, for systems without a driver of their own: one
// queue, one copy a frame. It is built with the tag pcap and cgo only (make build-dpdk, or go build -tags pcap with
// libpcap's headers installed); without them the name is registered and Open returns port.ErrNotBuilt.
//
// RxBurst and Release belong to one worker and cross into C once a burst; frames are copied into memory of the queue, because
// libpcap's own may be reused at once. Everything else may be called from any goroutine. A goroutine of the package's own
// opens the device again after it failed, with growing pauses. A device that is only switched off is no failure to libpcap: it
// goes on when the device is up. The package never sends.
package pcaplive
