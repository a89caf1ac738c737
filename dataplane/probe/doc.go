// Package probe owns evidence: the first bytes of some packets, kept at all times, so that they exist already when an
// attack is found.
//
// A Probe belongs to one worker. Into the ring of the half that is being counted it copies one packet in every so many
// (always), and packets of the targets that the control plane is interested in, up to a budget per target and epoch.
// The worker calls Targets and Sampled once a burst and Take for a packet worth keeping, from its own goroutine. The
// ring is retired, read and cleared with its half (Probe is a traffic.Companion), so no packet is shared between threads.
//
// Evidence belongs to the control plane. It holds the packet heads of the last epochs of all workers in bounded memory;
// its methods may be called from any goroutine. The package never blocks a worker and never decodes anything.
package probe
