package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
)

// The ports that UDP chooses from. No kernel gives them to a socket that asks for any port: Linux begins at 32768, others above.
const (
	lowest  = 20_000
	highest = 32_000
)

// attempts is after how many ports in use UDP gives up.
const attempts = 100

// UDP returns addr with a port, 20,000 to 31,999, at which nobody receives. It is the caller's only by chance: a random one, which no
// other socket gets unless it asks for it. The error is the system's for the last of many tries, as for an address that is not this host's.
func UDP(addr netip.Addr) (netip.AddrPort, error) {
	var last error
	for range attempts {
		a := netip.AddrPortFrom(addr, uint16(lowest+rand.N(highest-lowest)))
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err == nil {
			err = c.Close()
		}
		if err == nil {
			return a, nil
		}
		last = err
	}
	return netip.AddrPort{}, fmt.Errorf("free port of %s: %w", addr, last)
}
