package listen

import "golang.org/x/sys/unix"

// FreeBSD deals datagrams out to the sockets of a port by a hash of the sender with this option (FreeBSD 12) only.
const (
	reusePort  = unix.SO_REUSEPORT_LB
	maxSharing = MaxSockets
)
