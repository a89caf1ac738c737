// Package rate turns each tick's counts into rates: of every host that could exceed a limit, of hostgroups, networks and
// directions, over a plain window or as FastNetMon's exponential average; and it lists the busiest hosts.
//
// The engine owns the one Meter and calls it from the tick's goroutine. A Meter reads snapshots and gives them back with Release
// when it needs them no longer; it never waits, reads no clock and touches no row that a worker still writes.
//
// A host that is far below every limit costs a look at the peaks of its row and those around it; state is kept only for the others,
// and is bounded. Rates divide by measured time. When the tick is shorter than a second, flows
// are those of whole seconds, and the snapshots of a second and a tick are kept even if the window is shorter.
package rate
