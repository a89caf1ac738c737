// Package sflow decodes sFlow datagrams of versions 2, 4 and 5 into records.
//
// It owns the framing of the three versions, the sampled packet in whatever form it was sent (a raw header, which goes through
// dataplane/wire like a packet does, or fields), and what the exporter adds about it: interfaces, VLANs, routes, systems, tunnels,
// discards. Interface counters go to an optional Visitor. It does no I/O and reads no clock.
//
// A Decoder belongs to one goroutine, the socket worker that calls Decode; it holds one Record that it fills anew for each sample, and no
// memory of earlier datagrams. Sources, which has such a memory, is a second object of the same goroutine; the decoder does not need it.
//
// Datagrams are hostile: every item is read within its bounds, every loop consumes bytes, and nothing is allocated. What is wrong
// becomes a record.Code. In version 5 samples and items carry their length, so that what is unknown is skipped; a length is
// believed, and an item shorter than its type is left out. Versions 2 and 4 have no lengths: the first unknown tag ends the datagram.
//
// The sampling rate of a record is the sample's own. Nothing is multiplied here.
package sflow
