// Command demo shows Weir's main job on real input: a quiet network, a flood, the breach with its reason, the blackhole route
// arriving in the router, the victim shielded while the attack goes on, the end of the attack, the route going away.
// `make run` starts it.
//
// As root it makes network namespaces of its own: a generator, a router (BIRD, forwarding in the kernel), the attacked
// network behind it, and the real `weir run` on AF_XDP, fed by a copy of all that the router receives (live.go,
// topology.go). Without root, or with --replay, the same story comes from a capture through the same pipeline, with the
// real `weir speaker` and a BGP router inside this process (replay.go). Both only make observations; story.go turns
// them into the acts on the screen and judges at the end whether the main job really happened.
//
// The story and the screen belong to one goroutine, the one that observes. The demo never touches the host's own
// network, and removes all that it made, also on Ctrl-C.
package main
