// Package incident is the state machine of every target that breached: clear, suspect, active, cooling. It is pure:
// the clock and the source of ids are passed in. The engine owns it and calls it from one goroutine.
package incident
