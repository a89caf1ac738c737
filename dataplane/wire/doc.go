// Package wire turns a frame into Headers: which addresses, protocol, ports and flags it carries, behind whatever encapsulations.
//
// It is pure: no I/O, no clock, no allocation, no state between frames, no lock. A Decoder is read-only and shared by any number of
// goroutines; a Headers belongs to the goroutine that decodes into it (each worker has one). Every frame gets exactly one Code. A code
// is Addressed when at least one complete IP header was seen: then the frame is counted against addresses, even when something behind
// that header was cut, broken or unknown. wire never logs, never panics on any input, and does bounded work per frame: at most
// MaxLayers encapsulations, with budgets of their own for VLAN tags, MPLS labels, IPv6 extension headers and nested IP headers.
//
// Decode tries the plain shape first (plain.go: Ethernet, up to two tags, IPv4 or IPv6 without anything special, TCP/UDP/ICMP) and
// falls back to the walker (walker.go), which consumes its slice step by step and knows everything. PlainAll does up to 64 plain frames
// at once where the processor has AVX-512 (shape.go, plain_amd64.s), and says which it has done. Differential tests and a fuzz target
// hold all three to the same answer.
package wire
