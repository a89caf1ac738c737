// Package mitigate decides what the world should do about incidents, and says so as plain data.
//
// It owns the Mitigation type, the per-hostgroup Policy, the guard rails (Guard), the linter and the Planner, which
// turns incidents and manual requests into the wanted set. The engine owns the one Planner and calls it from the tick's
// goroutine only. Clock and ids are passed in, so that a replayed day plans the same set again.
//
// It never talks to a router, starts a process or writes a file: mitigators (mitigate/bgp and others) do that from the
// wanted set, in goroutines of their own.
//
// Import order: rule <- incident <- mitigate. So a hostgroup's configuration is composed of rule.GroupConfig and
// mitigate.Policy above both of them (appliance/config), never inside rule.
package mitigate
