package main

// Drivers beside the kernel's network stack. Without the tag dpdk, dpdk is known and says how to build it.
import (
	_ "github.com/weir-ddos/weir/dataplane/port/dpdk"
	_ "github.com/weir-ddos/weir/dataplane/port/netmap"
	_ "github.com/weir-ddos/weir/dataplane/port/pfring"
)
