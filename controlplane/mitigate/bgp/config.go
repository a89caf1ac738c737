package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// Exit is what becomes of the announced routes when the appliance stops.
type Exit string

// The ways to exit.
const (
	// Keep leaves the speaker running with its routes; the next appliance adopts it, or the orphan timeout ends it.
	Keep Exit = "keep"
	// Withdraw withdraws every route and ends the sessions.
	Withdraw Exit = "withdraw"
)

// Config is the BGP speaker's configuration. A change is applied without touching the sessions that it does not concern.
type Config struct {
	// ASN is our autonomous system number, 1 to 4294967295. The same as a peer's makes that session iBGP, which is the
	// least painful mode for Flow Spec (RFC 9117).
	ASN uint32 `json:"asn"`
	// RouterID is our BGP identifier, an IPv4 address, different from every peer's.
	RouterID netip.Addr `json:"router_id,omitzero"`
	// ListenPort is the TCP port on which passive peers reach us, 1 to 65535; below 1024 it needs a privilege.
	// -1 and 0: no port is opened, and we dial every peer. Default: -1.
	ListenPort int `json:"listen_port"`
	// Peers are the routers to announce to.
	Peers []Peer `json:"peers,omitempty"`
	// GracefulRestart is how long routers keep our routes while the speaker is gone without a goodbye (RFC 4724), up to
	// 4095s. It is a dead man's timer too: when nothing comes back, the routers withdraw by themselves. 0 switches it off.
	// Default: 120s.
	GracefulRestart time.Duration `json:"graceful_restart"`
	// OnExit is keep or withdraw: what becomes of the routes when the appliance stops. Default: keep, so that a restart
	// does not uncover a victim; a stop then withdraws after orphan_timeout.
	OnExit Exit `json:"on_exit,omitempty"`
	// OrphanTimeout is how long the speaker keeps routes with no appliance attached, 1s to 24h; then it withdraws them all
	// and ends. Default: 120s.
	OrphanTimeout time.Duration `json:"orphan_timeout"`
}

// Peer is one router.
type Peer struct {
	// Name is how the router is called in status and logs; unique. Default: its address.
	Name string `json:"name,omitempty"`
	// Address is the router's address.
	Address netip.Addr `json:"address,omitzero"`
	// Port is the TCP port of the router. Default: 179.
	Port uint16 `json:"port,omitempty"`
	// RemoteASN is the router's autonomous system number.
	RemoteASN uint32 `json:"remote_asn"`
	// LocalAddress is the address to dial from (and to listen on, for a passive peer). Default: the kernel chooses.
	LocalAddress netip.Addr `json:"local_address,omitzero"`
	// MultihopTTL is the TTL of our packets to an eBGP router that is not directly connected, 2 to 255. 0: directly connected.
	MultihopTTL uint8 `json:"multihop_ttl,omitempty"`
	// Password is the TCP-MD5 key (RFC 2385), up to 80 bytes. Better in a file.
	Password string `json:"password,omitempty"`
	// PasswordFile is a file that holds the password; white space around it is cut off.
	PasswordFile string `json:"password_file,omitempty"`
	// TTLSecurity accepts packets of a directly connected router only (GTSM, RFC 5082); the router must have it on as well.
	TTLSecurity bool `json:"ttl_security,omitempty"`
	// Families are what the session carries. None set means all four.
	Families Families `json:"families,omitzero"`
	// HoldTime is after how long without a word the session is given up, 3s to 18h; the router may ask for less.
	// Keepalives are sent three times as often. Default: 30s.
	HoldTime time.Duration `json:"hold_time,omitempty"`
	// Passive waits for the router to dial us; it needs listen_port.
	Passive bool `json:"passive,omitempty"`
	// MaxRoutes is the router's prefix limit per family. We stop a tenth below it, since exceeding it costs the whole
	// session, every blackhole included. Default: 1000 (cisco: 3000).
	MaxRoutes int `json:"max_routes,omitempty"`
	// Profile adapts rules to the make of the router: generic, frr, bird, cisco or juniper. Default: generic.
	Profile Profile `json:"profile,omitempty"`
	// Limits say what the router cannot match, beyond what its profile says.
	Limits Limits `json:"flowspec_limits,omitzero"`
	// NextHopIPv4 and NextHopIPv6 replace the next hop of every blackhole that is announced to this router.
	NextHopIPv4 netip.Addr `json:"next_hop_ipv4,omitzero"`
	NextHopIPv6 netip.Addr `json:"next_hop_ipv6,omitzero"`
	// Communities are added to everything that is announced to this router, such as its operator's own blackhole community.
	Communities []mitigate.Community `json:"communities,omitempty"`
}

// Families switches address families. The zero value means all four.
type Families struct {
	IPv4Unicast  bool `json:"ipv4_unicast,omitempty"`
	IPv6Unicast  bool `json:"ipv6_unicast,omitempty"`
	IPv4FlowSpec bool `json:"ipv4_flowspec,omitempty"`
	IPv6FlowSpec bool `json:"ipv6_flowspec,omitempty"`
}

// Profile is the make of a router.
type Profile string

// The profiles.
const (
	Generic Profile = "generic"
	FRR     Profile = "frr"
	BIRD    Profile = "bird"
	Cisco   Profile = "cisco"   // at most 5 values in one component, 3000 rules (ASR 9000)
	Juniper Profile = "juniper" // tell the router `term-order standard`
)

// Limits are what a router cannot do in a Flow Spec rule. A rule that needs it is refused for that router, with the
// reason: leaving the field out would make the rule match more than was judged.
type Limits struct {
	// NoLength: cannot match packet lengths.
	NoLength bool `json:"no_length,omitempty"`
	// NoTCPFlags: cannot match TCP flags.
	NoTCPFlags bool `json:"no_tcp_flags,omitempty"`
	// NoFragment: cannot match fragments.
	NoFragment bool `json:"no_fragment,omitempty"`
	// NoSource: cannot match source prefixes.
	NoSource bool `json:"no_source,omitempty"`
	// NoRateLimit: can discard, and cannot limit.
	NoRateLimit bool `json:"no_rate_limit,omitempty"`
	// ForceMatchBit sets the match bit (RFC 8955 4.2.1.2) on every flag and fragment bit, for routers that insist on it;
	// the meaning of our rules does not change.
	ForceMatchBit bool `json:"force_match_bit,omitempty"`
	// MaxValues is the most values in one component. 0: what the profile says.
	MaxValues int `json:"max_values,omitempty"`
}

// Default is a configuration with every default filled in, and no peers.
func Default() Config {
	return Config{ListenPort: -1, GracefulRestart: 120 * time.Second, OnExit: Keep, OrphanTimeout: 120 * time.Second}
}

// Bounds of the configuration.
const (
	maxGracefulRestart = 4095 * time.Second // 12 bits, RFC 4724 section 3
	maxOrphanTimeout   = 24 * time.Hour
	minHoldTime        = 3 * time.Second // RFC 4271 section 4.2
	maxHoldTime        = 18 * time.Hour
	maxPassword        = 80 // TCP_MD5SIG_MAXKEYLEN
	maxPeers           = 64
)

// Validate reports every problem at once, each naming its key. It does not read password files.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.ASN == 0 {
		fail("asn: must be set")
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		fail("router_id: must be an IPv4 address")
	}
	if c.ListenPort < -1 || c.ListenPort > 65535 {
		fail("listen_port: %d is outside -1..65535", c.ListenPort)
	}
	if c.GracefulRestart < 0 || c.GracefulRestart > maxGracefulRestart {
		fail("graceful_restart: %s is outside 0s..%s", c.GracefulRestart, maxGracefulRestart)
	}
	if c.OnExit != "" && c.OnExit != Keep && c.OnExit != Withdraw {
		fail("on_exit: %q is neither keep nor withdraw", c.OnExit)
	}
	if c.OrphanTimeout != 0 && (c.OrphanTimeout < time.Second || c.OrphanTimeout > maxOrphanTimeout) {
		fail("orphan_timeout: %s is outside 1s..%s", c.OrphanTimeout, maxOrphanTimeout)
	}
	if len(c.Peers) > maxPeers {
		fail("peers: %d are more than %d", len(c.Peers), maxPeers)
	}
	names, addrs, passive := map[string]bool{}, map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for i, p := range c.Peers {
		p = p.withDefaults()
		key := fmt.Sprintf("peers[%d]", i)
		if p.Name != "invalid IP" {
			key = "peers " + p.Name
		}
		for _, err := range p.problems(&c) {
			fail("%s: %w", key, err)
		}
		if names[p.Name] {
			fail("%s: name: used twice", key)
		}
		if addrs[p.Address] {
			fail("%s: address: used twice", key)
		}
		names[p.Name], addrs[p.Address] = true, true
		if !p.Passive {
			continue
		}
		// Each session is a server of its own, with its own listening socket.
		if passive[p.LocalAddress] || len(passive) > 0 && (passive[netip.Addr{}] || !p.LocalAddress.IsValid()) {
			fail("%s: local_address: each passive peer needs one of its own to listen on", key)
		}
		passive[p.LocalAddress] = true
	}
	return errors.Join(errs...)
}

func (p Peer) problems(c *Config) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' }) || len(p.Name) > 64 {
		fail("name: more than 64 bytes, or unprintable")
	}
	if !p.Address.IsValid() || p.Address.IsUnspecified() || p.Address.IsMulticast() || p.Address.Is4In6() {
		fail("address: must be the router's address")
	}
	if p.Address.Zone() != "" || p.LocalAddress.Zone() != "" {
		fail("address: %s: link-local sessions are not possible", p.Address)
	}
	if p.RemoteASN == 0 {
		fail("remote_asn: must be set")
	}
	if p.LocalAddress.IsValid() && p.LocalAddress.Is4() != p.Address.Is4() {
		fail("local_address: %s is of another family than %s", p.LocalAddress, p.Address)
	}
	if p.Address == c.RouterID && p.LocalAddress == p.Address {
		fail("address: is our own")
	}
	if p.MultihopTTL == 1 {
		fail("multihop_ttl: 1 means directly connected; leave it out")
	}
	if p.TTLSecurity && p.MultihopTTL != 0 {
		fail("ttl_security: does not go with multihop_ttl")
	}
	if p.Password != "" && p.PasswordFile != "" {
		fail("password: set together with password_file")
	}
	if len(p.Password) > maxPassword {
		fail("password: longer than %d bytes", maxPassword)
	}
	if p.HoldTime < minHoldTime || p.HoldTime > maxHoldTime {
		fail("hold_time: %s is outside %s..%s", p.HoldTime, minHoldTime, maxHoldTime)
	}
	if p.Passive && c.ListenPort <= 0 {
		fail("passive: needs listen_port")
	}
	if p.MaxRoutes < 1 {
		fail("max_routes: %d is not positive", p.MaxRoutes)
	}
	switch p.Profile {
	case Generic, FRR, BIRD, Cisco, Juniper:
	default:
		fail("profile: %q is none of generic, frr, bird, cisco, juniper", p.Profile)
	}
	if p.Limits.MaxValues < 0 {
		fail("flowspec_limits: max_values: %d is negative", p.Limits.MaxValues)
	}
	if a := p.NextHopIPv4; a.IsValid() && !a.Is4() {
		fail("next_hop_ipv4: %s is not IPv4", a)
	}
	if a := p.NextHopIPv6; a.IsValid() && (!a.Is6() || a.Is4In6()) {
		fail("next_hop_ipv6: %s is not IPv6", a)
	}
	for _, cm := range p.Communities {
		if _, err := cm.Parse(); err != nil {
			fail("communities: %w", err)
		}
	}
	return errs
}

func (p Peer) withDefaults() Peer {
	if p.Name == "" {
		p.Name = p.Address.String()
	}
	if p.Port == 0 {
		p.Port = 179
	}
	if p.HoldTime == 0 {
		p.HoldTime = 30 * time.Second
	}
	if p.Profile == "" {
		p.Profile = Generic
	}
	if p.MaxRoutes == 0 {
		p.MaxRoutes = 1000
		if p.Profile == Cisco {
			p.MaxRoutes = 3000
		}
	}
	if p.Limits.MaxValues == 0 && p.Profile == Cisco {
		p.Limits.MaxValues = 5
	}
	if p.Families == (Families{}) {
		p.Families = Families{true, true, true, true}
	}
	return p
}

// resolve fills in every default and reads the password files, so that the speaker needs no file but its socket.
func (c Config) resolve() (Config, error) {
	if c.OnExit == "" {
		c.OnExit = Keep
	}
	if c.OrphanTimeout == 0 {
		c.OrphanTimeout = Default().OrphanTimeout
	}
	if c.ListenPort == 0 {
		c.ListenPort = -1
	}
	peers := make([]Peer, len(c.Peers))
	for i, p := range c.Peers {
		p = p.withDefaults()
		if p.PasswordFile != "" {
			b, err := os.ReadFile(p.PasswordFile)
			if err != nil {
				return Config{}, fmt.Errorf("peers %s: password_file: %w", p.Name, err)
			}
			p.Password, p.PasswordFile = strings.TrimSpace(string(b)), ""
			if p.Password == "" || len(p.Password) > maxPassword {
				return Config{}, fmt.Errorf("peers %s: password_file: %d bytes are outside 1..%d", p.Name, len(p.Password), maxPassword)
			}
		}
		peers[i] = p
	}
	c.Peers = peers
	return c, nil
}
