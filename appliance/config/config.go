package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/journal"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/collector"
)

// Config is the whole of weir.yaml. Every key has a default but networks and one source: ports, or listeners of flows.
type Config struct {
	// Networks are your own networks, IPv4 and IPv6. Traffic to them is incoming, from them outgoing; only their
	// hosts are counted one by one, and nothing outside them is ever announced.
	Networks []netip.Prefix `json:"networks"`
	// Whitelist are hosts and networks that are never mitigated; attacks on them are still reported.
	Whitelist []netip.Prefix `json:"whitelist,omitempty"`
	// Ports are the interfaces to watch: a mirror port, a tap, or a capture file to replay.
	Ports []port.Config `json:"ports"`
	// Flows are where routers send NetFlow, IPFIX and sFlow to, and how their records are counted: beside ports or without.
	Flows collector.Config `json:"flows"`
	// Workers are the threads that poll the ports.
	Workers Workers `json:"workers"`
	// Traffic says what is counted, and in how much memory.
	Traffic Traffic `json:"traffic"`
	// Memory says how much memory is had beside the counters.
	Memory Memory `json:"memory"`
	// Decode says for each kind of IP tunnel which addresses are charged with its packets: outer (the tunnel's own ends),
	// inner (who talks inside), or both. VLAN, QinQ, MPLS, PPPoE and L2TP are always looked through.
	Decode Decode `json:"decode"`
	// Tick is how often thresholds are judged, 100ms to 60s. A change takes effect at once.
	Tick time.Duration `json:"tick"`
	// Rates says how packets and bytes become rates.
	Rates rate.Config `json:"rates"`
	// Hostgroups are groups of hosts with thresholds and a mitigation policy of their own, by name. The group global
	// always exists: it holds every host that no other group holds, and what other groups leave out they inherit from it.
	Hostgroups map[string]Hostgroup `json:"hostgroups"`
	// Bans says how an attack begins and ends.
	Bans incident.Config `json:"bans"`
	// Guard are the guard rails of mitigation.
	Guard mitigate.Guard `json:"guard"`
	// BGP is the speaker that announces mitigations. Without a peer nothing is announced.
	BGP bgp.Config `json:"bgp"`
	// Notify says whom to tell about attacks.
	Notify notify.Config `json:"notify"`
	// Journal is where active mitigations are kept, so that they survive a crash.
	Journal journal.Config `json:"journal"`
	// Engine says how announcements, the journal and packet samples are waited for. Rarely changed.
	Engine engine.Config `json:"engine"`
	// History keeps every committed configuration.
	History History `json:"history"`
	// API is the local interface that weirctl uses.
	API API `json:"api"`
	// Log says what the appliance logs; it writes to standard error, which systemd keeps.
	Log Log `json:"log"`
}

// Hostgroup is who belongs to a group, its thresholds, and how attacks on it are mitigated.
type Hostgroup struct {
	rule.GroupConfig
	mitigate.Policy
}

// Workers are the threads that poll the ports.
type Workers struct {
	// Count is how many workers there are, 1 to 256. Zero means one for each queue of the ports, at most the CPUs less two.
	Count int `json:"count"`
	// Idle says what a worker does when its queues are empty: spin (lowest latency, one CPU always busy), pause (short
	// rests) or sleep (wakes at least every 10 ms; nothing is lost while the queues hold that much).
	Idle string `json:"idle"`
	// CPUs are the CPUs that workers are pinned to, in order. Empty means that the appliance chooses, near the device.
	CPUs []int `json:"cpus,omitempty"`
}

// Traffic says what is counted, and in how much memory.
type Traffic struct {
	// HostsPerWorker is how many hosts and directions one worker can count between two ticks, 1024 to 16777216. What does
	// not fit is counted into the network, and an alarm says so. Each takes 256 bytes.
	HostsPerWorker int `json:"hosts_per_worker"`
	// FlowsPerWorker is how many distinct 5-tuples one worker can tell apart in a second, or between two ticks when those are
	// further apart, 1024 to 268435456. Above that flows are a lower bound, and
	// flow_table_saturated_packets says how many packets were not judged.
	FlowsPerWorker int `json:"flows_per_worker"`
	// Flows counts distinct 5-tuples per host, which threshold_flows needs.
	Flows bool `json:"flows"`
	// Internal says how traffic between two of your own hosts is judged: both (incoming for one, outgoing for the other),
	// incoming, outgoing, or none.
	Internal string `json:"internal"`
	// CountBytes says what a packet's bytes are: frame (its length on the wire without FCS) or ip (the IP length).
	CountBytes string `json:"count_bytes"`
	// MemoryLimit is the most memory that counters may take; the appliance refuses to start above it.
	MemoryLimit Size `json:"memory_limit"`
}

// Memory says how much memory is had beside the counters.
type Memory struct {
	// Headroom is how much memory that is no longer used may gather before it is collected, 16MiB to 64GiB. Every collection
	// takes each worker off its processor a few times for a moment, so it should be rare. Zero leaves it to Go, which waits for
	// as much as is in use. GOGC and GOMEMLIMIT in the environment come before it.
	Headroom Size `json:"headroom"`
}

// Decode says for each kind of IP tunnel which addresses are charged: outer, inner or both.
type Decode struct {
	// GRE is GRE with an IP or Ethernet payload, and PPTP.
	GRE string `json:"gre"`
	// ERSPAN is types I, II and III.
	ERSPAN string `json:"erspan"`
	// IPIP is IPv4 in IPv4.
	IPIP string `json:"ipip"`
	// SIT is IPv6 in IPv4 (6in4).
	SIT string `json:"sit"`
	// FourInSix is IPv4 or IPv6 in IPv6.
	FourInSix string `json:"4in6"`
	// GTPU is the user plane of mobile networks (UDP 2152).
	GTPU string `json:"gtpu"`
	// VXLAN is UDP 4789.
	VXLAN string `json:"vxlan"`
	// Geneve is UDP 6081.
	Geneve string `json:"geneve"`
	// MPLSUDP is MPLS in UDP (UDP 6635).
	MPLSUDP string `json:"mpls_udp"`
	// Teredo is IPv6 in UDP 3544.
	Teredo string `json:"teredo"`
}

// Charges is d as the decoder takes it. Values that Validate refuses count as outer.
func (d Decode) Charges() (out [wire.NumTunnels]wire.Charge) {
	for i, t := range d.list() {
		switch *t.value {
		case "inner":
			out[i] = wire.ChargeInner
		case "both":
			out[i] = wire.ChargeBoth
		}
	}
	return out
}

type charge struct {
	key   string
	value *string
}

// list has the tunnels at the index of their wire.Tunnel.
func (d *Decode) list() [wire.NumTunnels]charge {
	return [wire.NumTunnels]charge{
		wire.TunnelGRE: {"gre", &d.GRE}, wire.TunnelERSPAN: {"erspan", &d.ERSPAN}, wire.TunnelIPIP: {"ipip", &d.IPIP},
		wire.TunnelSIT: {"sit", &d.SIT}, wire.Tunnel4in6: {"4in6", &d.FourInSix}, wire.TunnelGTPU: {"gtpu", &d.GTPU},
		wire.TunnelVXLAN: {"vxlan", &d.VXLAN}, wire.TunnelGeneve: {"geneve", &d.Geneve},
		wire.TunnelMPLSUDP: {"mpls_udp", &d.MPLSUDP}, wire.TunnelTeredo: {"teredo", &d.Teredo},
	}
}

// History keeps every committed configuration, numbered, for weirctl rollback.
type History struct {
	// Directory is where the configurations are kept.
	Directory string `json:"directory"`
	// Keep is how many are kept, 1 to 10000; the oldest go first.
	Keep int `json:"keep"`
}

// API is the local interface that weirctl uses: a unix socket. Root and the appliance's own user may do everything.
type API struct {
	// Socket is the path of the unix socket. Empty switches the API off.
	Socket string `json:"socket"`
	// ReadGroup is the system group whose members may look at everything and change nothing. Empty means nobody besides.
	ReadGroup string `json:"read_group,omitempty"`
	// WriteGroup is the system group whose members may also change: configuration, blackholes, the kill switch.
	WriteGroup string `json:"write_group,omitempty"`
}

// Log says what the appliance logs.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `json:"level"`
	// Format is text or json.
	Format string `json:"format"`
}

// Size is a number of bytes, written as 4GiB, 512MiB, 64KiB or a plain number.
type Size uint64

var sizeUnits = []struct {
	name  string
	shift uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// UnmarshalText reads 4GiB, 4G, 512MiB, 64KiB or a plain number of bytes.
func (s *Size) UnmarshalText(text []byte) error {
	num, shift := strings.TrimSpace(string(text)), uint(0)
	for _, u := range sizeUnits {
		for _, suffix := range []string{u.name, u.name[:1]} {
			if cut, ok := strings.CutSuffix(num, suffix); ok && shift == 0 {
				num, shift = strings.TrimSpace(cut), u.shift
			}
		}
	}
	n, err := strconv.ParseUint(num, 10, 64)
	if err != nil || n > 1<<62>>shift {
		return fmt.Errorf("%q is not a size; write 4GiB, 512MiB, 64KiB, or a number of bytes", text)
	}
	*s = Size(n << shift)
	return nil
}

// String is the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s > 0 && s%(1<<u.shift) == 0 {
			return strconv.FormatUint(uint64(s)>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatUint(uint64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
