// Package tick measures the control plane's tick with a million active hosts, from end to end: a shard hands over its
// retired half, merge combines it, rates and rules look at every host, incidents and the plan follow, and the half is
// cleared. That is the engine's Tick over real shards and a real merger, without outputs.
//
// Run is called by one goroutine, which it locks to its thread. Hosts are counted as flow records are, since how they got
// into the rows makes no difference to the tick; between ticks every row is written anew, so that the tick finds cold
// caches as in service.
package tick
