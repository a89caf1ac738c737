// Package afxdp is the port driver for AF_XDP sockets: frames go from the device's driver to the worker's memory and
// pass by the kernel's network stack.
//
// A port loads one small XDP program (see program.go), attaches it to the device, and opens one socket for each of the
// device's receive queues, each with memory (UMEM) of its own: one queue, one memory, one owner. Where the kernel copies frames into it,
// chunks lie a cache line farther apart than they are long, so that their heads do not share a few sets of the caches. The program and
// the sockets vanish with the process, however it ends: the attachment is a bpf_link that the kernel drops with its last
// file descriptor.
//
// AF_XDP takes frames away from the host: what a worker receives, the kernel's stack does not. On a mirror port that
// is right. On a port that the host also talks through, Options.Pass names what is left to the kernel; that traffic is
// then not counted. On a router, which forwards what it measures, use Options.Observe: the program then passes every frame
// and copies its beginning into a ring (see observe.go), one ring a queue, which the worker reads where it lies. A full ring costs
// the count of a frame, never the frame.
//
// Without Observe a frame must fit one chunk of memory: Options.FrameSize less 256 bytes, so 1,792 or 3,840; longer
// ones are counted as dropped. VLAN tags that the device strips into metadata are invisible to XDP: switch that off on a capture port
// (ethtool -K DEV rxvlan off). Frames have no time stamp.
//
// RxBurst and Release belong to one worker a queue; everything else may be called from any goroutine. The package
// never sends.
package afxdp
