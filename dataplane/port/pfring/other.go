//go:build !linux

package pfring

import "github.com/weir-ddos/weir/dataplane/port"

func init() { port.RegisterNotBuilt("pfring", "PF_RING exists on Linux only") }
