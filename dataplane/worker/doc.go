// Package worker owns the loop that turns frames into counters: a goroutine on its own locked, possibly pinned, thread
// that polls its queues, decodes, classifies and counts each burst to completion, and releases the frames.
//
// New, Start, Stop and Stats are cold and may be called from any goroutine (Start and Stop not at the same time).
// Everything else runs on the worker's thread. Per packet there is no channel, lock, atomic, allocation, interface
// call, log or clock. A burst is done in passes: the first decodes the frames and notes in a scratch array what is
// charged to whom, the second finds the rows, the third looks the flows up, the last adds; before each, the memory that
// it needs has been prefetched for the whole burst.
//
// The loop reads the clock once a round and keeps how long it stayed away from its queues: see Gaps.
//
// The worker never looks at what it counted: the control plane reads that through Shard. It never opens or closes
// ports.
package worker
