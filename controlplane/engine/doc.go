// Package engine is the tick of the control plane: merge -> rate -> rule -> incident -> plan, and from there to the outputs.
//
// The engine owns the rate meter, the incident machine and the planner; one lock guards them. Tick is called by Run, or directly
// by a replay with its own clock; every other method may be called from any goroutine. What readers need often is
// published once a tick as an immutable View.
//
// Tick never waits for anything slow. The journal and each mitigator have goroutines of their own behind mailboxes of one place,
// where a newer wanted set replaces an older one; notifiers queue by themselves. A wanted set goes to the journal
// before it goes to the mitigators. When the journal fails or hangs, the set goes on all the same after a bounded wait,
// and an alarm is raised: the speaker lets every route expire by itself, while an attack does not wait for a disk.
//
// The engine opens no file, starts no process and speaks no protocol. Time comes from Tick's argument and Deps.Clock.
package engine
