// Package spread charges a flow record over the time that it reports, and not in the moment in which it arrives.
//
// A record of a minute says "6 GB since 12:00:00" at 12:01:00. Taken at once it is a second of 48 Gbit/s, and the host
// that downloads something is banned: the most frequent complaint about collectors that judge by the second. Here the
// record is charged at its own rate, 100 MB/s, for as long as it lasted, from its arrival on. So
//
//   - no record is ever charged at more than its own average rate, whatever its length;
//   - a flow that goes on is seamless: its next record begins to be charged when the last one ends;
//   - a flood is seen at its full rate with the first record that reports it: the exporter's active timeout is the only
//     delay, and none is added;
//   - every packet and byte is charged exactly once (a test proves it with any mix of records).
//
// What has been announced and not charged yet is kept by host, direction, class and length: an entry is a ring of 16
// bins, whose width is a power of two that fits the record's duration into 14 of them, so that a million records of a
// host need one entry and no queue of records exists. Of a single flow the charge is exact to the nanosecond; of many flows
// of one host, whose records end at different times within a bin, the sum may be off by a 28th for the time of a bin. When there is no room for another host, its bytes are spread in an
// entry of its network, and when there is none for that, in one of everything: precision is lost, never bytes.
//
// Charging follows the shard's epochs. When an epoch begins it is charged with what falls into it, a slice of entries at
// a time (Work), and records that arrive during it add their own part of it. Time inside is the sum of epochs, each at
// most a quarter longer than the tick: an appliance that stood still for a minute goes on where it was, and does not
// charge a minute to the second after it.
//
// Entries are large and many, so that nearly every one that is touched is several cache misses. Records wait in a short queue, and what
// they need is fetched together; the owner flushes the queue, or works, before the half changes.
//
// A Spreader belongs to the goroutine that owns the shard. It never allocates after New, locks, logs or reads a clock.
package spread
