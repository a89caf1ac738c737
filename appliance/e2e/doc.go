// Package e2e holds the end-to-end tests: the real weir binary in a network namespace, frames on a real (virtual) wire, and
// real routers, BIRD and FRR, that are asked which routes they have.
//
// It has no code of its own but tests; `make test` runs them. They need root and the Debian packages iproute2, bird2
// and frr, and skip naming what is missing. Each test has a lab (tools/lab) of its own, so they run side by side: most of their
// time is waiting for bans to end. Rates are small and deadlines long, since the machine may be slow and shared: what is
// asserted is which routes, with which attributes and for which reason, never how fast. Speed is measured in bench.
package e2e
