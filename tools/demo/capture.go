package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// capture is what the demo must know of a capture before it plays it.
type capture struct {
	packets     uint64
	busiest     uint64 // packets of its busiest second
	first, last time.Time
	to          map[netip.Addr]uint64 // packets by destination, at most maxDestinations
}

// maxDestinations bounds the memory that a capture of a scan or of spoofed answers takes.
const maxDestinations = 1 << 18

// scan reads a capture. A damaged one counts up to the damage, as the replay plays it.
func scan(path string) (capture, error) {
	c := capture{to: make(map[netip.Addr]uint64)}
	r, err := pcapfile.Open(path)
	if err != nil {
		return c, err
	}
	defer r.Close()
	var d wire.Decoder
	var h wire.Headers
	var second int64
	var inSecond uint64
	for {
		var rec pcapfile.Record
		if rec, err = r.Next(); err != nil {
			break
		}
		at := time.Unix(0, rec.Time)
		if c.packets == 0 {
			c.first = at
		}
		c.packets++
		if s := int64(at.Sub(c.first) / time.Second); s != second {
			second, inSecond = s, 0
		}
		inSecond++
		c.busiest = max(c.busiest, inSecond)
		if at.After(c.last) {
			c.last = at
		}
		if d.Decode(rec.LinkType, rec.Data, &h).Addressed() {
			c.add(netip.AddrFrom16(h.Outer.Dst).Unmap())
		}
	}
	if c.packets == 0 {
		if errors.Is(err, io.EOF) {
			err = errors.New("it holds no packet")
		}
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *capture) add(a netip.Addr) {
	if _, known := c.to[a]; known || len(c.to) < maxDestinations {
		c.to[a]++
	}
}

func (c *capture) length() time.Duration { return c.last.Sub(c.first) }

// usualNetworks are trafficgen's.
var usualNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}

// networks are those to protect, as weir.yaml lists them: the usual ones when the capture has traffic to them, else the /24 of
// the IPv4 host and the /48 of the IPv6 host that get the most packets.
func (c *capture) networks() string {
	var best [2]netip.Addr
	for a, n := range c.to {
		for _, p := range usualNetworks {
			if p.Contains(a) {
				return usualNetworks[0].String() + ", " + usualNetworks[1].String()
			}
		}
		i := 0
		if a.Is6() {
			i = 1
		}
		old := c.to[best[i]]
		if !a.IsMulticast() && !a.IsUnspecified() && (n > old || n == old && a.Less(best[i])) {
			best[i] = a
		}
	}
	var list []string
	for i, bits := range []int{24, 48} {
		if p, err := best[i].Prefix(bits); err == nil && best[i].IsValid() {
			list = append(list, p.String())
		}
	}
	if len(list) == 0 {
		list = append(list, usualNetworks[0].String())
	}
	return strings.Join(list, ", ")
}
