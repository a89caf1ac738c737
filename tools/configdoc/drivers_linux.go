package main

import (
	"github.com/weir-ddos/weir/dataplane/port/afpacket"
	"github.com/weir-ddos/weir/dataplane/port/afxdp"
	"github.com/weir-ddos/weir/dataplane/port/dpdk"
	"github.com/weir-ddos/weir/dataplane/port/netmap"
	"github.com/weir-ddos/weir/dataplane/port/pcaplive"
	"github.com/weir-ddos/weir/dataplane/port/pfring"
	"github.com/weir-ddos/weir/dataplane/port/replay"
	"github.com/weir-ddos/weir/dataplane/port/snabb"
)

// known are all drivers.
var known = []driver{
	{"afxdp", afxdp.Default()},
	{"afpacket", afpacket.Default()},
	{"replay", replay.Default()},
	{"dpdk", dpdk.Default()},
	{"netmap", netmap.Default()},
	{"pfring", pfring.Default()},
	{"snabb", snabb.Default()},
	{"pcap", pcaplive.Default()},
}
