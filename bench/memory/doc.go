// Package memory measures the packet path without a port: frames that lie in memory are parsed, looked up, classified
// and counted, flows included, by a real worker on one core, at a given number of active hosts. Next to it runs a plain
// loop that only touches the same memory in the same order: the difference is what the code costs, the rest is the
// machine. It also measures a tick and the bytes per host.
//
// Each epoch is one second of 10GbE line rate (14.88 M frames), so first packets of a host are in the figures. Times
// are CPU time of the measuring thread, which a busy machine disturbs least; of several epochs the table gives the
// lowest and the median.
package memory
