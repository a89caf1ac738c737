// Package flows measures flow collection on one core.
//
// Run decodes datagrams that lie in memory, resolves the sampling rate of every record, scales and counts it into a real shard, at one
// host or at a million; next to it, epoch by epoch in turn, goflow2's decoder runs over the same datagrams, alone and with its
// producer. Times are CPU time: of the measuring thread, for goflow2 of the process with its garbage collection.
//
// Receive sends datagrams through UDP on loopback to a running collector and measures the CPU time that the process spends besides the
// sender and the ticks. RunBeside sends the same to a collector in a process of its own, ours or another program, at a given rate, and
// measures the CPU time of that process and what its socket lost.
//
// Run and Receive check what they measured: every record received must be counted, in packets after scaling. All are called by one
// goroutine.
package flows
