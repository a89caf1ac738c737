//go:build !linux

package afxdp

import "github.com/weir-ddos/weir/dataplane/port"

func init() { port.RegisterNotBuilt("afxdp", "AF_XDP exists on Linux only") }
