package listen

import "golang.org/x/sys/unix"

// Of the sockets of a port macOS lets only one receive.
const (
	reusePort  = unix.SO_REUSEPORT
	maxSharing = 1
)
