// Package dataset reads what NetFlow v9 and IPFIX have in common: template sets and data sets.
//
// A Reader belongs to one socket worker, which gives it the sets of one datagram after the other; netflow and ipfix do that. It runs the
// compiled programs, resolves counters (delta before total, never dropped ones), times, sampling rates, packet sections and the two
// directions of biflows, feeds options data to the sampling table, and keeps data sets that come before their template. It allocates
// nothing while templates stay as they are; it does no I/O and reads no clock.
package dataset
