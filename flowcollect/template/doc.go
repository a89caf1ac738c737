// Package template holds what exporters said about the layout of their records, compiled to programs.
//
// A Program reads one record of a data set into a record.Record and Values, with no allocation and no trust: it is compiled once, when
// its template is announced, and is read-only then. The Registry keeps the programs of all exporters by (exporter address, protocol,
// domain, id). Socket workers look programs up from any goroutine without a lock; announcements, withdrawals and expiry take the lock
// of one shard. Whatever an exporter sends, it is bounded: templates per exporter and in total, fields per template, changes per second.
// Data sets that came before their template wait here for a few seconds, bounded too.
//
// Nothing here does I/O but Save and Load, reads a clock, or knows sampling.
package template
