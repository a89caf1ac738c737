// Package tick measures the control plane's tick with a million active hosts, from end to end: a shard hands over its
// retired half, merge combines it, rates and rules look at every host, incidents and the plan follow, and the half is
// cleared. That is the engine's Tick over real shards and a real merger, without outputs.
//
// RunLoaded has a tick run beside a worker on another processor, at full rate and at the line rate of 10-gigabit Ethernet. On a virtual machine the
// host takes the processor away for hundreds of microseconds, ten times a second or more, and for some ticks it has the memory of
// the machine faulted in anew; a ring of 4,096 packets holds 275 microseconds. So many short turns are made, in which the worker has a
// tick, has none, and is replaced by a loop that only polls, which loses what the host takes. What a tick costs is the median over
// the turns of what the one with a tick lost more than the one without: every tick would have it in it, and a host's fault is in few. Losses
// are told for a NIC's ring and for the product's AF_XDP ring.
//
// Run is called by one goroutine, which it locks to its thread. Hosts are counted as flow records are, since how they got
// into the rows makes no difference to the tick; between ticks every row is written anew, so that the tick finds cold
// caches as in service.
package tick
