package bgp

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func goodConfig() Config {
	c := Default()
	c.ASN, c.RouterID = 64512, netip.MustParseAddr("192.0.2.10")
	c.Peers = []Peer{
		{Name: "edge1", Address: netip.MustParseAddr("192.0.2.1"), RemoteASN: 64512},
		{Address: netip.MustParseAddr("2001:db8::1"), RemoteASN: 65001, Password: "x", TTLSecurity: true},
	}
	return c
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := goodConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no AS", func(c *Config) { c.ASN = 0 }, "asn:"},
		{"no router id", func(c *Config) { c.RouterID = netip.Addr{} }, "router_id:"},
		{"IPv6 router id", func(c *Config) { c.RouterID = netip.MustParseAddr("::1") }, "router_id:"},
		{"port", func(c *Config) { c.ListenPort = 70000 }, "listen_port:"},
		{"graceful restart", func(c *Config) { c.GracefulRestart = 2 * time.Hour }, "graceful_restart:"},
		{"on exit", func(c *Config) { c.OnExit = "explode" }, "on_exit:"},
		{"orphan timeout", func(c *Config) { c.OrphanTimeout = time.Millisecond }, "orphan_timeout:"},
		{"same name", func(c *Config) { c.Peers[1].Name = "edge1" }, "edge1: name: used twice"},
		{"same address", func(c *Config) { c.Peers[1].Address = c.Peers[0].Address }, "address: used twice"},
		{"no address", func(c *Config) { c.Peers[0].Address = netip.Addr{} }, "peers edge1: address:"},
		{"link-local", func(c *Config) { c.Peers[0].Address = netip.MustParseAddr("fe80::1%eth0") }, "address: fe80::1%eth0"},
		{"no remote AS", func(c *Config) { c.Peers[1].RemoteASN = 0 }, "peers 2001:db8::1: remote_asn:"},
		{"local address", func(c *Config) { c.Peers[0].LocalAddress = netip.MustParseAddr("::1") }, "local_address:"},
		{"multihop 1", func(c *Config) { c.Peers[0].MultihopTTL = 1 }, "multihop_ttl:"},
		{"GTSM and multihop", func(c *Config) { c.Peers[1].MultihopTTL = 3 }, "ttl_security:"},
		{"two passwords", func(c *Config) { c.Peers[1].PasswordFile = "/x" }, "password:"},
		{"long password", func(c *Config) { c.Peers[0].Password = strings.Repeat("x", 81) }, "password:"},
		{"hold time", func(c *Config) { c.Peers[0].HoldTime = time.Second }, "hold_time:"},
		{"passive without port", func(c *Config) { c.Peers[0].Passive = true }, "passive: needs listen_port"},
		{"two passive on one address", func(c *Config) {
			c.ListenPort = 179
			c.Peers[0].Passive, c.Peers[1].Passive = true, true
		}, "local_address: each passive peer"},
		{"max routes", func(c *Config) { c.Peers[0].MaxRoutes = -1 }, "max_routes:"},
		{"profile", func(c *Config) { c.Peers[0].Profile = "huawei" }, "profile:"},
		{"values", func(c *Config) { c.Peers[0].Limits.MaxValues = -1 }, "max_values:"},
		{"next hop v4", func(c *Config) { c.Peers[0].NextHopIPv4 = netip.MustParseAddr("::1") }, "next_hop_ipv4:"},
		{"next hop v6", func(c *Config) { c.Peers[0].NextHopIPv6 = netip.MustParseAddr("192.0.2.1") }, "next_hop_ipv6:"},
		{"community", func(c *Config) { c.Peers[0].Communities = append(c.Peers[0].Communities, "a:b") }, "communities:"},
		{"too many", func(c *Config) { c.Peers = make([]Peer, 65) }, "peers: 65"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := goodConfig()
			tc.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	t.Parallel()
	err := Config{ListenPort: -2, Peers: []Peer{{}}}.Validate()
	for _, want := range []string{"asn:", "router_id:", "listen_port:", "peers[0]: address:", "peers[0]: remote_asn:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestConfigResolve(t *testing.T) {
	t.Parallel()
	c := goodConfig()
	c.ListenPort, c.OnExit, c.OrphanTimeout = 0, "", 0
	file := filepath.Join(t.TempDir(), "p")
	c.Peers[0].PasswordFile = file
	c.Peers[1].Profile = Cisco
	if _, err := c.resolve(); err == nil || !strings.Contains(err.Error(), "edge1: password_file") {
		t.Errorf("missing password file: %v", err)
	}
	if err := os.WriteFile(file, []byte(" secret \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.resolve()
	if err != nil {
		t.Fatal(err)
	}
	all := Families{true, true, true, true}
	want := []Peer{
		{
			Name: "edge1", Address: c.Peers[0].Address, Port: 179, RemoteASN: 64512, Password: "secret", Families: all,
			HoldTime: 30 * time.Second, MaxRoutes: 1000, Profile: Generic,
		},
		{
			Name: "2001:db8::1", Address: c.Peers[1].Address, Port: 179, RemoteASN: 65001, Password: "x", TTLSecurity: true, Families: all,
			HoldTime: 30 * time.Second, MaxRoutes: 3000, Profile: Cisco, Limits: Limits{MaxValues: 5},
		},
	}
	if !reflect.DeepEqual(got.Peers, want) {
		t.Errorf("got  %+v\nwant %+v", got.Peers, want)
	}
	if got.ListenPort != -1 || got.OnExit != Keep || got.OrphanTimeout != 120*time.Second {
		t.Errorf("resolved to %+v", got)
	}
}
