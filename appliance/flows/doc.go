// Package flows is the command `weir flows`: it prints the flow records of captured NetFlow, IPFIX and sFlow datagrams as the
// collector would read them, sampling rate included, and in the end what was met. It counts, judges and announces nothing.
//
// Run is called by the main program, from one goroutine.
package flows
