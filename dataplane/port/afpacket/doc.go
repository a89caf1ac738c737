// Package afpacket is the port driver for any Linux network device, by way of a memory-mapped packet socket
// (AF_PACKET, TPACKET_V3), one for each queue, that share the device's frames as a fanout group.
//
// It copies nothing after the kernel did: a burst points into the ring. Of each frame the kernel copies the beginning (Options.Head), which is
// all that is decoded and kept as evidence; lengths are those of whole frames. A VLAN tag that the kernel took out of a frame is
// put back in front of the frame's payload, so that data and length are as on the wire.
//
// RxBurst and Release belong to one worker a queue; everything else may be called from any goroutine. A goroutine of the
// package's own watches for the device's absence and return. The package never sends and changes nothing of the
// device but promiscuous mode, which the kernel undoes when the socket is closed, however the process ends.
//
// Frames that the device or the kernel merges before the socket sees them (GRO, LRO) count as one: switch these off on
// a capture port (ethtool -K DEV gro off lro off). The counter "merged" in Stats.Extra says that it was not done.
package afpacket
