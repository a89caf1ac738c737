// Package flows measures flow collection on one core.
//
// Run decodes datagrams that lie in memory, resolves the sampling rate of every record, scales and counts it into a real shard, at one
// host or at a million; next to it, epoch by epoch in turn, goflow2's decoder runs over the same datagrams, alone and with its
// producer. Times are CPU time: of the measuring thread, for goflow2 of the process with its garbage collection. Receive sends datagrams through UDP on loopback to a running collector and
// measures the CPU time that the process spends besides the sender.
//
// Both check what they measured: every record sent must be counted, in packets after scaling. They are called by one goroutine.
package flows
