// Package replay is `weir replay`: captures through the whole pipeline (port, workers, merge, rates, rules, incidents,
// planner) with a virtual clock, so that a recorded day is judged in seconds, and the same way every time. What would
// be announced is planned and reported; nothing leaves the process.
//
// Only the command line calls it, from one goroutine.
package replay
