// Package snabb is the port driver for frames that Snabb receives: its program "snabb firehose" drives the NIC (Intel 82599
// and relatives, without the kernel) and calls our library for every batch; the library (folder firehose, make build-snabb) copies
// frames into memory shared with this driver, which is plain Go. The device is the PCI address as Snabb was given it:
//
//	snabb firehose -i 0000:03:00.0 weir-firehose.so
//	ports: [{driver: snabb, device: "0000:03:00.0"}]
//
// Snabb must be polling the NIC when the port is opened, else there is no device. When it ends, hangs for a second, or is started
// again, the port says so and comes back by itself; what is left in the rings of a process that ended is counted first.
// Several queues are several rings over which the library spreads frames by addresses, both directions of a conversation and all
// fragments together. Package link says how the two processes meet, and why memory that either damages harms nobody else.
//
// Nothing is copied on this side: a burst points into the ring, whose slots go back at Release. Every descriptor is checked; one
// that makes no sense is counted and skipped.
//
// Frames carry no time stamp. What a full ring has no room for is counted by the library, exactly. A frame longer than Snabb's
// buffers of 10 KB arrives in parts and counts as several.
//
// RxBurst and Release belong to one worker a queue; everything else may be called from any goroutine. A goroutine of the
// package's own watches for the other process's absence and return. The package never sends.
//
// What was run: the library in loops like Snabb's over rings of descriptors in memory, in C and in LuaJIT, and an emulation of it in
// Go. Snabb itself and a NIC were not there.
package snabb
