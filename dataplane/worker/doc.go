// Package worker owns the loop that turns frames into counters: a goroutine on its own locked, possibly pinned, thread
// that polls its queues, decodes, classifies and counts each burst to completion, and releases the frames.
//
// New, Start, Stop and Stats are cold and may be called from any goroutine (Start and Stop not at the same time).
// Everything else runs on the worker's thread. Per packet there is no channel, lock, atomic, allocation, interface
// call, log or clock. A burst is done in passes, short loops over arrays: decode the frames, look the addresses
// up, note and hash what is charged to whom, find the rows, look the flows up, add; what a pass touches that may be far away has
// been prefetched.
//
// The loop reads the clock once a round and keeps how long it stayed away from its queues: see Gaps. A worker with a CPU of its own
// keeps its turn, so that Go's scheduler does not take it off its thread every 10 ms: see package turn.
//
// The worker never looks at what it counted: the control plane reads that through Shard. It never opens or closes
// ports.
package worker
