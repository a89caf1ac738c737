// Package netmap is the port driver for devices that netmap (API 14) opens: network interfaces on Linux with netmap's kernel
// module and on FreeBSD, VALE switch ports and netmap pipes. It is plain Go: ioctl, mmap and poll on /dev/netmap.
//
// A burst points into the rings' buffers, which are kept from the kernel until Release and given back at the next sync;
// only packets that span several slots are copied. The kernel touches a ring only inside this driver's own system calls
// in the worker's thread, so rings need neither locks nor atomics.
//
// RxBurst and Release belong to one worker a queue; everything else may be called from any goroutine. A goroutine of the
// package's own opens the device again after it went away, with growing pauses. The package never sends and leaves the
// host's rings alone: while a port is open, what the interface receives no longer reaches the system's own network stack,
// which is right for a mirror port; Monitor copies instead.
//
// netmap does not count what found no room in a ring: see the interface's own statistics. Switch merging off on a
// capture port (ethtool -K DEV gro off gso off tso off lro off rx off tx off), else frames larger than a buffer arrive.
//
// What was run: layouts and ioctl numbers are asserted by tests, and the driver passes the conformance suite on an emulated
// device that behaves as the module was measured to. No real device was tried with this code; tests for one skip without
// /dev/netmap.
package netmap
