// Package listen owns the UDP sockets that flow exporters send to: several sockets on one port, so that several
// workers can receive, with the datagrams dealt out in turn by chance instead of by exporter.
//
// Why not plain SO_REUSEPORT: the kernel then hashes addresses and ports, and one loud router, which always sends from
// the same port to the same port, stays on one socket and one core for ever while the others idle. A classic BPF
// program of three instructions returns a random socket instead; it needs no privilege and no map. Who receives must
// share what exporters announce (templates, sampling), since the next datagram arrives elsewhere.
//
// Who calls what. Open, Close and Stats belong to any goroutine. Recv and the Batch that it fills belong to the one
// goroutine that works on the socket. Recv returns at least every Wake, so that its caller can answer an epoch.
//
// Outside Linux datagrams are received one a call, with a few allocations each; FreeBSD deals them out by a hash of the sender
// (Group.Steering says so), macOS has one socket a port; neither tells what it dropped.
//
// The package decodes nothing, keeps no datagram, starts no goroutine, and on Linux allocates nothing after Open.
package listen
