package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
)

// inNamespaces makes two namespaces joined by a cable, and gives them addresses.
func inNamespaces(t *testing.T, name string, us, router netip.Prefix) (a, b string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs ip of iproute2")
	}
	a, b = fmt.Sprintf("weir-bgp-%d-%sa", os.Getpid(), name), fmt.Sprintf("weir-bgp-%d-%sb", os.Getpid(), name)
	run := func(args ...string) error {
		out, err := exec.Command(ip, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	for _, ns := range []string{a, b} {
		if err := run("netns", "add", ns); err != nil {
			t.Skip("needs the right to make network namespaces: ", err)
		}
		t.Cleanup(func() {
			if err := run("netns", "del", ns); err != nil {
				t.Error(err)
			}
		})
	}
	for _, args := range [][]string{
		{"-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b},
		{"-n", a, "addr", "add", us.String(), "dev", "wire", "nodad"},
		{"-n", b, "addr", "add", router.String(), "dev", "wire", "nodad"},
		{"-n", a, "link", "set", "wire", "up"},
		{"-n", b, "link", "set", "wire", "up"},
		{"-n", b, "link", "set", "lo", "up"},
	} {
		if us.Addr().Is4() && args[len(args)-1] == "nodad" {
			args = args[:len(args)-1]
		}
		if err := run(args...); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// TestDirectSession is a router as it stands in a network: directly connected, on port 179, with a password and TTL
// security, and with its own forwarding table, in which the victim ends up shielded.
func TestDirectSession(t *testing.T) {
	t.Parallel()
	for name, addrs := range map[string][2]string{
		"4": {"10.99.0.1/30", "10.99.0.2/30"}, "6": {"2001:db8:99::1/64", "2001:db8:99::2/64"},
	} {
		t.Run("over IPv"+name, func(t *testing.T) {
			t.Parallel()
			us, router := netip.MustParsePrefix(addrs[0]), netip.MustParsePrefix(addrs[1])
			a, bNS := inNamespaces(t, name, us, router)
			b := newTestbed(t)
			b.cfg.Peers = []Peer{{Address: router.Addr(), RemoteASN: routerASN, Password: "s3cret", TTLSecurity: true}}
			r := startBIRD(t, routertest.Config{
				Prefix: []string{"ip", "netns", "exec", bNS}, Address: router.Addr(), RouterID: netip.MustParseAddr("192.0.2.99"),
				ASN: routerASN, PeerAddress: us.Addr(), PeerASN: ourASN, Password: "s3cret", TTLSecurity: true, Kernel: true,
			})
			opt := b.options(t)
			opt.Command = append([]string{"ip", "netns", "exec", a}, opt.Command...)
			c, err := New(opt)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Stop(false); err != nil {
					t.Error(err)
				}
			}()
			reconcile(t, c, blackhole("a", "203.0.113.9/32"), blackhole("c", "2001:db8::9/128"))
			expect(t, r, routertest.IPv4, "203.0.113.9/32 ")
			expect(t, r, routertest.IPv6, "2001:db8::9/128 ")
			shielded := func(want bool) {
				t.Helper()
				eventually(t, fmt.Sprint("victims shielded: ", want), func() string {
					out := kernelRoutes(t.Context(), bNS)
					if strings.Contains(out, "blackhole 203.0.113.9 ") != want || strings.Contains(out, "blackhole 2001:db8::9 ") != want {
						return out
					}
					return ""
				})
			}
			shielded(true)
			reconcile(t, c)
			shielded(false)
		})
	}
}

func kernelRoutes(ctx context.Context, ns string) string {
	text := ""
	for _, family := range []string{"-4", "-6"} {
		out, err := exec.CommandContext(ctx, "ip", "-n", ns, family, "route", "show").CombinedOutput()
		if err != nil {
			return err.Error()
		}
		text += string(out)
	}
	return text
}

// TestRouterDials: the router opens the connection.
func TestRouterDials(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	const port = 1791
	r := b.bird(t, func(cfg *routertest.Config) { cfg.PeerPort = port })
	b.cfg.ListenPort, b.cfg.Peers[0].Passive = port, true
	// At first somebody else has the port. The others would not care, and this one is set up as soon as it is free.
	thief, err := net.Listen("tcp", netip.AddrPortFrom(b.us, port).String())
	if err != nil {
		t.Fatal(err)
	}
	c := b.client(t)
	if err := c.Reconcile(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with the port taken: %v", err)
	}
	eventually(t, "the reason is shown", func() string {
		if st := c.Status(); !strings.Contains(st.Peers[0].LastError, "in use") {
			return stringOf(st)
		}
		return ""
	})
	thief.Close()
	want := []mitigate.Mitigation{blackhole("a", "203.0.113.1/32"), blackhole("c", "2001:db8::3/128")}
	eventually(t, "the session is set up", func() string {
		if err := c.Reconcile(t.Context(), want); err != nil {
			return err.Error() // a child that is being started may hold the thief's socket for a moment
		}
		return ""
	})
	expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
}
