//go:build darwin || freebsd

package peercred

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func ask(fd int) (Cred, error) {
	x, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	// XUCRED_VERSION is 0; the first group is the effective one.
	if x.Version != 0 || x.Ngroups < 1 || int(x.Ngroups) > len(x.Groups) {
		return Cred{}, fmt.Errorf("struct xucred has version %d and %d groups", x.Version, x.Ngroups)
	}
	return Cred{UID: x.Uid, Groups: x.Groups[:x.Ngroups], PID: pid(fd, x)}, nil
}
