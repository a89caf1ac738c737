// Package dpdk is the port driver for network devices that DPDK drives from user space, beside the kernel: real ones
// bound to vfio-pci, and DPDK's virtual ones (net_pcap, net_ring, net_null, net_af_packet, net_af_xdp, net_tap,
// net_memif). It is our own binding over the system's libdpdk 22.11 and is built with the tag dpdk and cgo only
// (make build-dpdk); without them the name is registered and Open returns port.ErrNotBuilt.
//
// RxBurst and Release belong to one worker a queue and cross into C once a burst: one call gives the frames of the last
// burst back, receives, prefetches, and fills a table in C memory that Go reads. The worker's thread registers itself
// with DPDK at its first burst. A burst's frames are the device's own buffers, not copies, and go back at the next
// RxBurst or at Close.
//
// DPDK's environment (EAL) is started once in a process, by the first port, with that port's options, and lives until the
// process ends; everything but reception runs on one thread of its own, which is the EAL's main thread. Ports come and go:
// each probes its device when it is opened and removes it when it is closed. The package never sends.
//
// Counts never depend on what the device does: tags that it takes out are put back, and its hash and packet types are counted
// (nic_hashed, nic_typed), told by Queue.Meta, and used for nothing else. Their key is public, ours is not, and a type spares nothing, since
// the headers must be read anyway. So VLAN stripping is off unless asked for, and RSS is on with several queues only.
//
// How to prepare a real device (vfio-pci, huge pages, cores of their own, rights): appliance/packaging/DPDK.md.
//
// Known limits, none of them ours: net_af_packet and net_af_xdp do not tell what a full ring lost, since DPDK 22.11 does not ask
// the kernel (drivers afpacket and afxdp do); net_af_packet loses the protocol of a tag other than 802.1Q, which the kernel keeps to
// itself; net_af_xdp takes one queue of a veth and, with Debian's libxdp, is not opened a second time by one process; net_tap has
// four queues, and more than it says end the process; net_pcap with infinite_rx takes a buffer for each frame of the capture (mbufs); DPDK
// names 128 threads at most.
package dpdk
