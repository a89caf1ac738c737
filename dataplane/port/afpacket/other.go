//go:build !linux

package afpacket

import "github.com/weir-ddos/weir/dataplane/port"

func init() { port.RegisterNotBuilt("afpacket", "AF_PACKET exists on Linux only") }
