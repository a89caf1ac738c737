// Package versus measures what a packet costs Weir and others that watch the same cable: each side in turn (A B A B) gets the
// same packets from bench/cable, at the same rate or as fast as the cable takes them, alone on one processor.
//
// A side is a program in a process of its own: the built appliance on AF_XDP, AF_PACKET and DPDK, a bare counter on the same
// sockets, tcpdump, dpdk-testpmd, FastNetMon. Its figure is the CPU time of all its threads, as the scheduler knows
// it, divided by the packets that it says it has received; what it says is compared to what came through the cable. What the kernel
// does to bring frames into a ring happens on the sender's processor and is in nobody's figure.
//
// Everything runs in the namespaces of a tools/lab and in its directory: FastNetMon and the others write nowhere else. After each
// measurement the package looks that no process and no XDP program was left. A Bench belongs to one goroutine. Whoever makes one calls
// cable.Child and Child first.
package versus
