package freeport

import (
	"net"
	"net/netip"
	"testing"
)

func TestUDP(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		a, err := UDP(netip.MustParseAddr(at))
		if err != nil {
			if c, e := net.ListenPacket("udp", net.JoinHostPort(at, "0")); e == nil {
				_ = c.Close()
				t.Error(err)
			}
			continue // this machine has no such family
		}
		if a.Addr().String() != at || a.Port() < lowest || a.Port() >= highest {
			t.Errorf("%v", a)
		}
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if a, err := UDP(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Errorf("%v, which is not ours", a)
	}
}
