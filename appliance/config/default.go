package config

import (
	"time"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/journal"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/flowcollect/collector"
)

// Default is the configuration of an appliance that sets nothing. It lacks networks and a source, and so is not valid by itself.
func Default() *Config {
	return &Config{
		Flows:   collector.DefaultConfig(),
		Workers: Workers{Idle: "sleep"},
		Traffic: Traffic{
			HostsPerWorker: 1 << 18, FlowsPerWorker: 1 << 20, Flows: true,
			Internal: "both", CountBytes: "frame", MemoryLimit: 4 << 30,
		},
		Memory:     Memory{Headroom: 128 << 20},
		Decode:     defaultDecode(),
		Tick:       time.Second,
		Rates:      rate.Default(),
		Hostgroups: map[string]Hostgroup{"global": {}},
		Bans:       incident.Default(),
		BGP:        bgp.Default(),
		Guard:      mitigate.DefaultGuard(),
		Notify:     notify.DefaultConfig(),
		Journal:    journal.DefaultConfig(),
		Engine:     engine.Default(),
		History:    History{Directory: "/var/lib/weir/config-history", Keep: 200},
		API:        API{Socket: "/run/weir/api.sock"},
		Log:        Log{Level: "info", Format: "text"},
	}
}

func defaultDecode() Decode {
	var d Decode
	for _, t := range d.list() {
		*t.value = "outer"
	}
	return d
}
