package main

// Further drivers. Those that were not built in (dpdk, pcap) are known and say how to build them.
import (
	_ "github.com/weir-ddos/weir/dataplane/port/dpdk"
	_ "github.com/weir-ddos/weir/dataplane/port/netmap"
	_ "github.com/weir-ddos/weir/dataplane/port/pcaplive"
	_ "github.com/weir-ddos/weir/dataplane/port/pfring"
	_ "github.com/weir-ddos/weir/dataplane/port/snabb"
)
