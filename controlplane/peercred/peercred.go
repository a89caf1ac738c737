// Package peercred asks the kernel which process is at the other end of a unix socket. It decides nothing: who may do what is
// its callers' affair, who refuse when there is an error. Its functions are safe from any goroutine and keep nothing.
package peercred

import (
	"fmt"
	"net"
)

// Cred is a process as it was when it connected, or, for one that listens, when it began to.
type Cred struct {
	// UID is its effective user.
	UID uint32
	// Groups are its effective group and, where the system tells them (not on Linux), its other ones.
	Groups []uint32
	// PID is its process, 0 when the system does not say.
	PID int
}

// Of asks about the other end of c, which must be a unix socket.
func Of(c net.Conn) (Cred, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return Cred{}, fmt.Errorf("peer of connection: %T is not a unix socket", c)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Cred{}, fmt.Errorf("peer of connection: %w", err)
	}
	var cred Cred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = ask(int(fd)) }); err != nil {
		return Cred{}, fmt.Errorf("peer of connection: %w", err)
	}
	if credErr != nil {
		return Cred{}, fmt.Errorf("peer of connection: %w", credErr)
	}
	return cred, nil
}
