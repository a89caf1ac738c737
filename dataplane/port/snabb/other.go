//go:build !linux

package snabb

import "github.com/weir-ddos/weir/dataplane/port"

func init() { port.RegisterNotBuilt("snabb", "Snabb exists on Linux only") }
