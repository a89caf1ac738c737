package peercred

import "golang.org/x/sys/unix"

func pid(fd int, _ *unix.Xucred) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return n
}
