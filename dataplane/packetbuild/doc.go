// Package packetbuild builds frames for tests and for trafficgen by chaining layers:
//
//	b := packetbuild.Ether().VLAN(7).IPv6("2001:db8::1", "2001:db8::2").UDP(53, 4242).Payload(100).Bytes()
//
// A method adds a layer behind what is there; modifiers such as TTL or Frag change the layer added last. Bytes fills in what follows
// from the chain: the next-protocol fields, lengths and checksums. Modifiers can set these to something wrong, which is what many
// tests want. A chain that makes no sense (UDP on Ethernet) panics: it is a mistake of the caller, not input.
//
// A Packet belongs to one goroutine. The package knows the formats from their RFCs and shares no code with wire, so that one checks the other.
// It is not for the hot path of the appliance: trafficgen builds templates with it and patches them.
package packetbuild
