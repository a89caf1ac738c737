// Package collector receives what flow exporters send and charges it to counters.
//
// A socket worker is one goroutine with everything it needs of its own: socket, decoders, shard, spreader. It does
//
//	datagrams -> the version picks the decoder -> records with their sampling rate -> what counts (direction, interfaces,
//	filter) -> scaled once -> spread over the time that they report -> its own traffic.Shard
//
// What exporters announce (templates, sampling) and how they behave (loss, restarts, clocks) is shared by all workers,
// since the datagrams of one exporter arrive at all of them in turn.
//
// Who calls what. New, Start, Stop, Stats, Exporters, Rates and SetTick belong to any goroutine, one at a time for Start
// and Stop. Shards are for the control plane's merger, as those of packet workers are. The collector judges nothing and
// knows no rules; a shard's rows do not tell whether packets or records filled them.
//
// Locks: a worker holds its own mu while it works on a batch, so that readers see whole datagrams; the registry's mu and
// an exporter's mu are taken below it, never the other way, and never one inside the other.
package collector
