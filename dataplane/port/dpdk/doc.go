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
// A real device needs huge pages (sysctl vm.nr_hugepages=512), an IOMMU (kernel options intel_iommu=on or amd_iommu=on, and
// iommu=pt), and vfio-pci as its driver (modprobe vfio-pci; dpdk-devbind.py --bind=vfio-pci 0000:03:00.0, from Debian's
// package dpdk); Mellanox devices keep their own. Workers want cores of their own (isolcpus=2-3 nohz_full=2-3
// rcu_nocbs=2-3) and the idle policy spin. A device that is bound to vfio-pci is gone for the kernel and its tools.
//
// Known limits, none of them ours: net_af_packet loses the protocol of a tag other than 802.1Q, which the kernel keeps to
// itself; net_af_xdp takes one queue of a veth and, with Debian's libxdp, is not opened a second time by one process; DPDK
// names 128 threads at most.
package dpdk
