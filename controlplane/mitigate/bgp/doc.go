// Package bgp has routers drop attack traffic: it announces blackholes (RFC 7999) and Flow Spec rules (RFC 8955, 8956).
//
// It has two halves, in two processes of the same binary. The speaker (RunSpeaker, behind `weir speaker`) holds the BGP
// sessions, one embedded GoBGP server for each peer, and makes each peer's table equal to the last wanted set. The Client
// is the appliance's half, a mitigate.Mitigator: it adopts a running speaker or starts one, feeds it, and starts it again
// when it dies. They talk over a unix socket with mode 0600 (protocol.go). So a fault in BGP code cannot stop detection, and
// the appliance can crash, restart or be upgraded while sessions and routes stay.
//
// One server for each peer, not one for all: routers differ in what they can match, how many routes they take and which
// next hop they want, so each has its own table; and a rule that makes one router reset its session hits that session only.
//
// What the speaker promises: it announces only what passes mitigate.Lint and survives encode and decode unchanged; it
// accepts nothing from a peer and never passes a peer's route on; it withdraws each mitigation at its expiry and everything
// when no appliance has been attached for the orphan timeout; it stops announcing to a router what that router answered with
// a reset; it stays below each router's prefix limit.
//
// Reconcile and Reconfigure of a Client are called from one goroutine; Status from any. Nothing here is called by, or calls,
// the dataplane.
package bgp
