package app

import (
	"testing"
	"testing/fstest"

	"github.com/weir-ddos/weir/appliance/api"
)

func TestLinkOf(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	sys := fstest.MapFS{
		"class/net/eth1/flags":         file("0x1103"),
		"class/net/eth1/carrier":       file("1"),
		"class/net/eth1/mtu":           file("9000"),
		"class/net/eth1/speed":         file("10000"),
		"class/net/eth1/address":       file("02:00:00:00:00:01"),
		"class/net/eth1/device/uevent": file("DRIVER=ixgbe\nPCI_CLASS=20000"),
		"class/net/eth2/flags":         file("0x1003"),
		"class/net/eth2/carrier":       file("0"),
		"class/net/eth2/speed":         file("-1"),
		"class/net/eth3/flags":         file("0x1002"),
		"class/net/eth4/flags":         file("rubbish"),
	}
	for device, want := range map[string]*api.Link{
		"eth1":        {State: "up", Mbps: 10000, MTU: 9000, Address: "02:00:00:00:00:01", Driver: "ixgbe"},
		"eth2":        {State: "no carrier"},
		"eth3":        {State: "down"},
		"eth4":        nil,
		"nosuch":      nil,
		"":            nil,
		"../eth1":     nil,
		"/tmp/a.pcap": nil,
	} {
		got := linkOf(sys, device)
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%q: %+v, want %+v", device, got, want)
		}
	}
}
