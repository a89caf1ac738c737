// Package pfring is the port driver for PF_RING 8.x in its standard mode (flow slot 21), in plain Go: a socket of family 27,
// its options, and memory shared with the kernel module. Several queues are sockets of one cluster. PF_RING ZC needs ntop's
// own library and is not supported.
//
// It copies nothing after the kernel did: a burst points into the ring, whose slots go back at Release. The layout of that
// ring is the module's own business and changes between versions, so any other version is refused.
//
// RxBurst and Release belong to one worker a queue; everything else may be called from any goroutine. A goroutine of the
// package's own watches for the interface's absence and return, and for a ring that is stuck: with reception only and without
// force_ring_lock=1 the module fills a ring from several processors without a lock, and was seen to stop for good while
// it counted every packet as lost. So we ask for both directions, which makes it lock, and leave out what the host sent;
// Unlocked does otherwise. The package never sends.
//
// What was run: layouts and option numbers are asserted by tests, and the driver passes the conformance suite on an emulated
// ring that behaves as the module was measured to. No real module was tried with this code; the test for it skips where
// the socket cannot be had.
package pfring
