package main

// The drivers that this binary has.
import (
	_ "github.com/weir-ddos/weir/dataplane/port/afpacket"
	_ "github.com/weir-ddos/weir/dataplane/port/afxdp"
	_ "github.com/weir-ddos/weir/dataplane/port/replay"
)
