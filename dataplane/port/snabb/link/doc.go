// Package link is how the two processes of the snabb driver meet: Snabb, which our firehose library is loaded into and which
// has the frames, and the appliance, which counts them. It owns the layout of the memory that they share and the handshake by
// which they come to it; both ends are here, Dial for the driver and Listen for the library.
//
// The memory is a memfd that Snabb's side makes for each connection, as the other side asks, seals against shrinking and
// sends over a unix socket. So it cannot be truncated under its reader (which would be a fatal signal), nothing stale stays
// behind, the end of either process is seen at once as the end of the connection, and there is one writer and one reader for
// each. The reader maps all but its own page for reading only.
//
// Nothing here is called per packet but Word and Descs' memory. The package moves no frames and knows no C. Linux only.
package link
