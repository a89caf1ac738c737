//go:build !dpdk || !cgo

package dpdk

import "github.com/weir-ddos/weir/dataplane/port"

func init() {
	port.RegisterNotBuilt("dpdk", "build with: make build-dpdk (tag dpdk, cgo, Debian packages libdpdk-dev, pkg-config, gcc)")
}
