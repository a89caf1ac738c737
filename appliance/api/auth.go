package api

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/controlplane/peercred"
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
	cred, err := peercred.Of(c)
	if err != nil {
		return peer{}, err
	}
	return identify(cred), nil
}

// identify adds what the user database knows. A user who is not in it has only the groups of the process.
func identify(c peercred.Cred) peer {
	p := peer{Actor: Actor{UID: c.UID, PID: int32(c.PID)}}
	for _, gid := range c.Groups {
		p.groups = append(p.groups, strconv.FormatUint(uint64(gid), 10))
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(c.UID), 10))
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
