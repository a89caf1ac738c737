// Package netflow reads datagrams of NetFlow v1, v5, v7 and v9.
//
// A Decoder belongs to one socket worker. It turns a datagram into records for a Sink, counts what it meets in the exporter's Stats, and
// does no I/O. Counts in headers are never trusted: v1, v5 and v7 are read as far as whole records reach, v9 set by set to the end of the
// datagram. It allocates nothing while templates stay as they are; templates, sampling rates and waiting sets live in dataset.Deps, which
// all workers share.
package netflow
