package api

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/appliance/config"
)

// rights are what a client may do. Who may change may read.
type rights struct{ read, change bool }

// peer is the process at the other end of a connection.
type peer struct {
	Actor
	groups []string // group ids: the process's own and those of its user
}

// peerOf asks the kernel who connected.
func peerOf(c net.Conn) (peer, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("not a unix socket: %T", c)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("peer of connection: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return peer{}, fmt.Errorf("peer of connection: %w", err)
	}
	if credErr != nil {
		return peer{}, fmt.Errorf("peer of connection: %w", credErr)
	}
	return identify(cred.Uid, cred.Gid, cred.Pid), nil
}

// identify adds what the user database knows. A user who is not in it has only the group of the process.
func identify(uid, gid uint32, pid int32) peer {
	p := peer{Actor: Actor{UID: uid, PID: pid}, groups: []string{strconv.FormatUint(uint64(gid), 10)}}
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return p
	}
	p.User = u.Username
	if ids, err := u.GroupIds(); err == nil {
		p.groups = append(p.groups, ids...)
	}
	return p
}

// rightsOf decides. A group that does not exist has no members.
func rightsOf(p peer, cfg config.API) rights {
	switch {
	case p.UID == 0 || int(p.UID) == os.Getuid(), p.in(cfg.WriteGroup):
		return rights{read: true, change: true}
	case p.in(cfg.ReadGroup):
		return rights{read: true}
	}
	return rights{}
}

func (p peer) in(group string) bool {
	if group == "" {
		return false
	}
	id := group
	if g, err := user.LookupGroup(group); err == nil {
		id = g.Gid
	} else if _, err := strconv.ParseUint(group, 10, 32); err != nil {
		return false
	}
	return slices.Contains(p.groups, id)
}

// name is the user for messages and audit.
func (p peer) name() string {
	if p.User != "" {
		return p.User
	}
	return fmt.Sprintf("uid %d", p.UID)
}
