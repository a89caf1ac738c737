// Package dpdk measures the DPDK driver next to dpdk-testpmd, which only receives (--forward-mode=rxonly), on the same
// virtual device, in turns, both as a whole bound to one processor by taskset.
//
// With counting it is the built product: weir run on net_pcap, which plays a capture over and over (infinite_rx=1), with hosts,
// flows, thresholds and a tick a second. Without, it is the binding alone: the program in folder bare on net_null. Rates
// are frames over wall time, nanoseconds are the CPU time of all threads of the process as the scheduler knows it.
//
// It builds what it runs with the tag dpdk and is itself built without. It is called by one goroutine.
package dpdk
