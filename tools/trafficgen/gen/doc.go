// Package gen makes labelled traffic: deterministic frames, benign and hostile, and the exact truth about them.
//
// A Scenario (YAML, a built-in name, or a Go value) is a set of streams. A Generator yields their frames in the order of time,
// each with a label that says what is in it; the same scenario and seed give the same bytes on every machine. A Truth adds the
// labels up into what a perfect detector would report, in the JSON shape of `weir replay`.
//
// The truth is computed from labels and never from frames, and frames are written here header by header: nothing of the dataplane
// takes part, so that agreement between the two means something. It is also why packetbuild is not used: frames are patched in
// place at a few hundred nanoseconds each, which needs the place of every address and checksum in them.
//
// A Generator and a Truth belong to one goroutine each. Nothing here opens a socket; package send does.
package gen
