// Package ports measures what a packet costs on its way through a real socket: AF_XDP and AF_PACKET on a virtual cable
// between two namespaces, with a worker that counts hosts and flows, with one that counts hosts, and next to both a bare
// counter that polls the same queue and does nothing else, and one that also reads each frame's header: the sender wrote it
// on another core, so the first look at it waits for memory, whoever looks.
//
// The figure is the CPU time of this process, all its threads, divided by the packets that it received: time spent
// waiting for a core is not in it, though a busy machine's cold caches are. The generator is another process on another
// core; what the kernel does to bring frames into the ring happens there, and is not in the figure.
package ports
