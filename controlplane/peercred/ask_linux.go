package peercred

import "golang.org/x/sys/unix"

func ask(fd int) (Cred, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	return Cred{UID: c.Uid, Groups: []uint32{c.Gid}, PID: int(c.Pid)}, nil
}
