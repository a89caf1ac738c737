// Package merge owns the cut in time: each tick it ends the epoch of every shard, adds the retired halves into one
// Snapshot, and gives the halves back empty.
//
// A Merger belongs to one control goroutine (the engine's), which calls Add, Remove and Tick; SetNets may be called from
// any goroutine. A Snapshot belongs to whoever got it from Tick until Release, after which its memory is used again;
// until then any number of goroutines may read it.
//
// A worker that does not answer within the configured wait is late: the tick goes on without it, and what it counted
// comes with the next one. Its rows then cover a longer time than the others', so they are scaled to this tick's length,
// or a late worker would look like an attack; totals, codes and overflow stay exact counts.
//
// Where one shard is all there is, nothing is added up: its rows become the snapshot's, and the half goes on with the memory of an
// older snapshot. Otherwise rows are found by hash. One more pass adds up places and notes the peaks of every few rows, so that
// whoever looks for the busiest hosts need not read them all.
//
// Nothing here knows thresholds, and nothing here is called per packet.
package merge
