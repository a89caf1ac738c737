// Package sampling knows at what rate exporters sample: what they announce in options data and what the configuration says.
//
// A Table is shared by all socket workers. Readers take a View of one exporter and domain per datagram and ask it per record, without a
// lock; announcements replace the exporter's view as a whole, under a lock, and only when they say something new. What was read before an
// announcement is never counted again: while the rate is unknown, records say so. Everything is bounded: rates per exporter, exporters.
//
// The order of precedence is record.RateSource's. Nothing here scales: that is done once, in the collector.
package sampling
