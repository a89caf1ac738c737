// Package ipfix reads IPFIX messages (RFC 7011) as they come over UDP: one message a datagram.
//
// A Decoder belongs to one socket worker. It turns a message into records for a Sink, counts what it meets in the exporter's Stats, and
// does no I/O. The message is read as far as both its length field and the datagram reach. It allocates nothing while templates stay as
// they are; templates, sampling rates and waiting sets live in dataset.Deps, which all workers share.
package ipfix
