// Package ports measures what a packet costs on its way through a real socket: AF_XDP and AF_PACKET on a virtual cable
// between two namespaces, with a worker that counts hosts and flows, with one that counts hosts, and next to both a bare
// counter that polls the same queue and does nothing else.
//
// The figure is the CPU time of this process, all its threads, less what it uses without traffic, divided by the packets
// that it received: time spent waiting for a core is not in it, so that a busy machine gives nearly the same. The
// generator is another process on another core; what the kernel does to bring frames into the ring happens
// there, and is not in the figure.
package ports
