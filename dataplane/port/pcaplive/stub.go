//go:build !pcap || !cgo

package pcaplive

import "github.com/weir-ddos/weir/dataplane/port"

func init() {
	port.RegisterNotBuilt("pcap", "build with: make build-dpdk, or go build -tags pcap (cgo, Debian packages libpcap-dev, gcc)")
}
