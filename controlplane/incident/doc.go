// Package incident is the state machine of every target that breached: clear, suspect, active, cooling. It is pure: the clock and the
// source of ids are passed in. The engine owns the Machine and calls it from one goroutine at a time.
//
// A target that breaches is active at once, or suspect until it has breached in Config.Confirm ticks in a row. An active attack has finished when
// all its values stayed below Config.Hysteresis of their limits for Config.Quiet; it is then cooling until its ban time is over, and active
// again, with the same id, if it breaches meanwhile. An attack that outlasts its ban time is banned without a gap
// until it has finished, unless Config says otherwise. Every incident has an end.
//
// The number of open incidents is bounded; the largest, by value/limit, are kept. Whitelisted targets have incidents like all others, marked as such.
// An incident that an operator closes stays closed until that attack is over.
package incident
