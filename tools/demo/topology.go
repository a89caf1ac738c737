package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// world is the demo's network:
//
//	generator t0 --- r0 router r1 --- v0 customers (10.0.0.0/16, 2001:db8::/32)
//	                  : mirror  b1 --- b0 appliance (BGP)
//	                  m0 ------------- w0 appliance (AF_XDP)
//
// The router is the kernel's forwarding with BIRD's routes in it.
type world struct {
	*lab.Lab
	customers *netns.NS
	// devices are what the generator sends on: one, or two where the kernel cannot mirror (then every frame is sent twice,
	// first to the router and then to the appliance).
	devices []string
	// reach counts what arrives at each victim, all what arrives in the customers' network.
	reach map[netip.Addr]*counter
	all   *counter
}

// Addresses of the link between router and customers.
const (
	routerSide4, customerSide4 = "10.98.0.1", "10.98.0.2"
	routerSide6, customerSide6 = "fd98::1", "fd98::2"
)

// newWorld builds it; binary is the weir program.
func newWorld(ctx context.Context, binary string, mirror bool) (w *world, err error) {
	l, err := lab.New(binary, 1)
	if err != nil {
		return nil, err
	}
	w = &world{Lab: l, reach: make(map[netip.Addr]*counter)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if w.customers, err = netns.Create("customers"); err != nil {
		return nil, err
	}
	l.OnClose(w.customers.Delete)
	if err = w.cables(); err != nil {
		return nil, err
	}
	if !mirror || w.mirror(ctx) != nil {
		w.devices = append(w.devices, lab.Wire) // the lab's own cable from the generator to the appliance
	}
	return w, w.count()
}

// cables joins generator, router and customers, and has the router forward.
func (w *world) cables() error {
	r0, r1 := &netns.Link{NS: w.Router, Name: "r0"}, &netns.Link{NS: w.Router, Name: "r1"}
	v0 := &netns.Link{NS: w.customers, Name: "v0"}
	if err := netns.Cable(&netns.Link{NS: w.Gen, Name: "t0"}, r0, 1); err != nil {
		return err
	}
	if err := netns.Cable(r1, v0, 1); err != nil {
		return err
	}
	w.devices = []string{"t0"}
	mac, err := destination()
	if err != nil {
		return err
	}
	err = errors.Join(
		sysctl(w.Router, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/rp_filter=0", "ipv4/conf/r0/rp_filter=0",
			"ipv4/conf/r1/rp_filter=0", "ipv6/conf/lo/disable_ipv6=0", "ipv6/conf/r0/disable_ipv6=0", "ipv6/conf/r1/disable_ipv6=0"),
		sysctl(w.customers, "ipv4/conf/all/rp_filter=0", "ipv4/conf/v0/rp_filter=0", "ipv6/conf/lo/disable_ipv6=0", "ipv6/conf/v0/disable_ipv6=0"),
	)
	if err != nil {
		return err
	}
	// Neighbours are written down, so that nothing but the story's packets travels. What has no way back is dropped.
	return errors.Join(
		w.Router.IP("link", "set", "r0", "address", mac.String()),
		w.Router.IP("addr", "add", routerSide4+"/24", "dev", "r1"),
		w.Router.IP("addr", "add", routerSide6+"/64", "dev", "r1", "nodad"),
		w.Router.IP("neigh", "add", customerSide4, "lladdr", v0.MAC.String(), "dev", "r1", "nud", "permanent"),
		w.Router.IP("neigh", "add", customerSide6, "lladdr", v0.MAC.String(), "dev", "r1", "nud", "permanent"),
		w.Router.IP("route", "add", "10.0.0.0/16", "via", customerSide4, "dev", "r1"),
		w.Router.IP("route", "add", "2001:db8::/32", "via", customerSide6, "dev", "r1"),
		w.Router.IP("route", "add", "blackhole", "default"),
		w.Router.IP("-6", "route", "add", "blackhole", "default"),
		w.customers.IP("addr", "add", customerSide4+"/24", "dev", "v0"),
		w.customers.IP("addr", "add", customerSide6+"/64", "dev", "v0", "nodad"),
		w.customers.IP("route", "add", "local", "10.0.0.0/16", "dev", "lo"),
		w.customers.IP("-6", "route", "add", "local", "2001:db8::/32", "dev", "lo"),
	)
}

// mirror has the router copy every frame that it gets to the appliance, as a switch's mirror port does: before routing, so that
// the appliance goes on to see an attack that the router drops. It replaces the lab's own cable to the appliance.
func (w *world) mirror(ctx context.Context) error {
	m0 := &netns.Link{NS: w.Router, Name: "m0"}
	tc := func(args ...string) error {
		out, err := w.Router.Command(ctx, "tc", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	// Tried on the loopback first: without the kernel's help the lab's cable must stay.
	if err := tc("qdisc", "add", "dev", "r0", "clsact"); err != nil {
		return err
	}
	if err := tc("filter", "add", "dev", "r0", "egress", "protocol", "all", "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "mirror", "dev", "lo"); err != nil {
		return errors.Join(err, tc("qdisc", "del", "dev", "r0", "clsact"))
	}
	if err := tc("filter", "del", "dev", "r0", "egress"); err != nil {
		return err
	}
	if err := w.Gen.IP("link", "del", lab.Wire); err != nil {
		return err
	}
	if err := netns.Cable(m0, &netns.Link{NS: w.App, Name: lab.Watch}, 1); err != nil {
		return err
	}
	return tc("filter", "add", "dev", "r0", "ingress", "protocol", "all", "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "mirror", "dev", "m0")
}

// count opens the counters at the customers.
func (w *world) count() error {
	return w.customers.Do(func() error {
		open := func(to netip.Addr) (*counter, error) {
			c, err := newCounter("v0", to)
			if err == nil {
				w.OnClose(c.close)
			}
			return c, err
		}
		var err error
		for _, v := range []netip.Addr{victim4, victim6} {
			if w.reach[v], err = open(v); err != nil {
				return err
			}
		}
		w.all, err = open(netip.Addr{})
		return err
	})
}

// destination is the MAC address that all generated frames are sent to.
func destination() (net.HardwareAddr, error) {
	g, err := gen.New(gen.Scenario{Streams: []gen.Stream{{Kind: "udp", Target: victim4.String(), PPS: 1, Count: 1}}})
	if err != nil {
		return nil, err
	}
	var f gen.Frame
	if !g.Next(&f) || len(f.Data) < 6 {
		return nil, errors.New("the generator makes no frames")
	}
	return net.HardwareAddr(f.Data[:6]), nil
}

// sysctl sets keys below /proc/sys/net in a namespace.
func sysctl(ns *netns.NS, settings ...string) error {
	return ns.Do(func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
				return fmt.Errorf("set net/%s: %w", s, err)
			}
		}
		return nil
	})
}
