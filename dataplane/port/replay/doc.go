// Package replay is the port driver that plays capture files (pcap and pcapng) as if they arrived on a device.
//
// It owns one reader goroutine a port, which reads the files one after the other, spreads their frames over queues by a
// symmetric hash of the addresses, and hands them over in chunks of memory that go round in a circle: memory is
// bounded whatever the size of the captures. Workers call RxBurst and Release as for any port. Everything else may be
// called from any goroutine.
//
// With Config.Hold the port is also a clock that its user turns, so that a replay is deterministic whatever the number
// of workers and their speed: Advance releases the frames before a moment, Wait returns when every one of them has been
// counted, and only then does the user end its tick. See Port.Advance.
//
// It never looks at frames beyond their addresses, never changes their bytes, and never drops one without counting it.
package replay
