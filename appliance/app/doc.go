// Package app builds the appliance from its configuration: it opens ports, places workers on queues, and wires merger,
// engine, planner, journal, speaker, script and API together. It starts them in order and stops them in reverse; a new
// configuration is applied to the running parts without losing a counter.
//
// Only the commands (run, replay) and tests use it. It knows every other package and none knows it; it judges nothing,
// counts nothing and announces nothing itself.
package app
