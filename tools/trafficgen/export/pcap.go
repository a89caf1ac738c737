package export

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// sourcePort is where the exporter's datagrams come from in captures.
const sourcePort = 50_000

// WritePcap writes to w what a device with cfg exports about the scenario, as Ethernet frames from the agent's address to the
// collector's. The agent's address must be of the collector's family; when it is not set it is chosen so.
func WritePcap(w io.Writer, s gen.Scenario, opt gen.Options, cfg Config, collector netip.AddrPort) (Truth, error) {
	g, err := gen.New(s)
	if err != nil {
		return Truth{}, err
	}
	cfg.Networks = g.Scenario().Networks
	if !cfg.Agent.IsValid() && collector.Addr().Is6() {
		cfg.Agent = netip.MustParseAddr("2001:db8:ffff::1")
	}
	out, err := pcapfile.NewWriter(w, wire.LinkEthernet)
	if err != nil {
		return Truth{}, err
	}
	if err := cfg.fill(); err != nil {
		return Truth{}, err
	}
	if cfg.Agent.Is6() != collector.Addr().Is6() {
		return Truth{}, fmt.Errorf("agent %s and collector %s are not of one address family", cfg.Agent, collector)
	}
	var frame []byte
	e, err := New(cfg, func(at int64, payload []byte) error {
		frame = packetbuild.Ether().IP(cfg.Agent, collector.Addr()).UDP(sourcePort, collector.Port()).Data(payload).AppendTo(frame[:0])
		return out.Write(at, uint32(len(frame)), frame)
	})
	if err != nil {
		return Truth{}, err
	}
	t, err := gen.NewTruth(g, opt)
	if err != nil {
		return Truth{}, err
	}
	var f gen.Frame
	for g.Next(&f) {
		t.Add(&f)
		if err := e.Add(&f); err != nil {
			return Truth{}, err
		}
	}
	if err := e.Close(); err != nil {
		return Truth{}, err
	}
	if err := out.Flush(); err != nil {
		return Truth{}, fmt.Errorf("write pcap: %w", err)
	}
	return Truth{Export: e.Result(), Traffic: t.Result()}, nil
}
