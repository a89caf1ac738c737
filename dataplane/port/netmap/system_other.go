//go:build !linux && !freebsd

package netmap

import "github.com/weir-ddos/weir/dataplane/port"

func init() { port.RegisterNotBuilt("netmap", "netmap exists on Linux and FreeBSD only") }
