// Package routertest starts routers to announce to: BIRD and FRR's bgpd as real processes, and a GoBGP receiver in-process
// (Peer) for machines that have neither. Tests, the end-to-end runs and the demo of `make run` ask it which routes have arrived.
//
// Each router has a directory of its own, so any number run side by side; Config.Prefix runs one inside a network namespace.
// A Router's methods may be called from any goroutine. The package is never part of the appliance's mitigation path.
package routertest
