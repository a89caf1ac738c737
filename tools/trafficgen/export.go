package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/export"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// exportOptions are the part of the command line that is about flow exports.
type exportOptions struct {
	protocol, collector, agent string
	sampling, domain           uint64
	active, inactive           time.Duration
}

func (o *exportOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.protocol, "export", "", "not the frames but what a device would export about them: netflow5, netflow9, ipfix or sflow (`protocol`); a capture with --out, else live")
	f.StringVar(&o.collector, "collector", "", "export to this `address:port`; 127.0.0.1:2055 by default, port 6343 with sflow")
	f.StringVar(&o.agent, "agent", "", "the exporter's own `address`, the sender in captures; 192.0.2.1 or 2001:db8:ffff::1 by default")
	f.Uint64Var(&o.sampling, "sampling", 1, "export: take one of so many packets")
	f.Uint64Var(&o.domain, "domain", 0, "export: observation domain, source id, engine or sub-agent")
	f.DurationVar(&o.active, "active", time.Minute, "export: report a flow that goes on after this time")
	f.DurationVar(&o.inactive, "inactive", 15*time.Second, "export: report a flow that is silent for this time")
}

// config checks the flags.
func (o *exportOptions) config(seed uint64) (cfg export.Config, to netip.AddrPort, err error) {
	cfg = export.Config{Protocol: export.Protocol(o.protocol), Active: o.active, Inactive: o.inactive, Seed: seed}
	if o.sampling > 1<<31 || o.domain > 1<<32-1 {
		return cfg, to, errors.New("--sampling or --domain is too large")
	}
	cfg.Sampling, cfg.Domain = uint32(o.sampling), uint32(o.domain)
	if o.active <= 0 || o.inactive <= 0 {
		return cfg, to, errors.New("--active and --inactive must be above zero")
	}
	if o.agent != "" {
		if cfg.Agent, err = netip.ParseAddr(o.agent); err != nil {
			return cfg, to, fmt.Errorf("--agent: %w", err)
		}
	}
	if o.collector == "" {
		o.collector = "127.0.0.1:2055"
		if cfg.Protocol == export.SFlow {
			o.collector = "127.0.0.1:6343"
		}
	}
	if to, err = netip.ParseAddrPort(o.collector); err != nil {
		return cfg, to, fmt.Errorf("--collector: %w", err)
	}
	return cfg, to, nil
}

// exportFlows is generate for --export.
func (o *options) exportFlows(ctx context.Context, s gen.Scenario, opt gen.Options, stdout io.Writer) error {
	cfg, to, err := o.export.config(s.Seed)
	if err != nil {
		return err
	}
	if o.out != "" {
		return o.exportFile(s, opt, cfg, to, stdout)
	}
	g, err := gen.New(s)
	if err != nil {
		return err
	}
	truth, err := gen.NewTruth(g, opt)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(stdout)
	all, stats, err := export.Run(ctx, g, truth, cfg, export.Live{
		Collector: to, Speed: o.speed, FlatOut: o.flatOut,
		AttackStarts: func(i int, at time.Time) {
			st := g.Streams()[i]
			_ = lines.Encode(event{Event: "attack", Stream: st.Name, Target: st.Target, Kind: st.Kind, Time: at.UTC(), UnixNS: at.UnixNano()})
		},
	})
	if err != nil {
		return err
	}
	if err := lines.Encode(exported{"done", stats.End.UTC(), stats.End.UnixNano(), stats, all.Export.Datagrams, all.Export.Records}); err != nil {
		return err
	}
	return writeTo(o.truth, all, stdout)
}

// exported is the last line of live output.
type exported struct {
	Event     string       `json:"event"`
	Time      time.Time    `json:"time"`
	UnixNS    int64        `json:"unix_ns"`
	Stats     export.Stats `json:"stats"`
	Datagrams uint64       `json:"datagrams"`
	Records   uint64       `json:"records"`
}

func (o *options) exportFile(s gen.Scenario, opt gen.Options, cfg export.Config, to netip.AddrPort, stdout io.Writer) error {
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	all, err := export.WritePcap(f, s, opt, cfg, to)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if o.truth == "" {
		o.truth = strings.TrimSuffix(o.out, ".pcap") + ".truth.json"
	}
	if err := writeTo(o.truth, all, stdout); err != nil {
		return err
	}
	if o.truth != "-" {
		r := all.Export
		fmt.Fprintf(stdout, "%s: %d datagrams, %d records, %d packets, %d bytes exported of %d packets; truth in %s\n",
			o.out, r.Datagrams, r.Records, r.Exported.Packets, r.Exported.Bytes, r.Frames, o.truth)
	}
	return nil
}
