// Package export turns generated frames into what a router or switch would export about them: NetFlow v5, v9, IPFIX or sFlow v5.
//
// An Exporter is fed frames in the order of time. For NetFlow and IPFIX it meters them, sampled or not, in a flow cache with active and
// inactive timeouts; for sFlow it samples packet heads and sends interface counters. The datagrams go to a function, with the moment at
// which the device would have sent them: Pcap writes them to a capture, Run sends them live over UDP. Beside them stands the Truth: what was
// exported, exactly, so that a collector can be held against it; what the frames themselves were is gen.Truth's business.
//
// Everything is written here header by header and shares nothing with flowcollect, so that agreement between the two means something.
// Addresses and lengths come from the frames' labels, the sampled heads of sFlow from their bytes. An Exporter belongs to one goroutine and
// reads no clock; the same frames and Config give the same datagrams.
package export
