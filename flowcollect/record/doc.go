// Package record is one flow record in the terms of RFC 7011, whatever protocol it came in, and the codes and counters of decoding.
//
// It owns no memory and no goroutine. A decoder has one Record, fills it anew for every flow and hands it to its Sink, all on the
// goroutine of the socket worker that called the decoder; a Sink must not keep the pointer. Records are pointer-free and hold counts as
// they were exported: scaling by the sampling rate happens once, in the collector. Datagram and Stats belong to the same goroutine.
//
// Nothing here allocates, locks, logs or reads a clock.
package record
