package api

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen"
)

// Flows are what the appliance knows of flow exporters. Without listeners all of it is empty.
type Flows interface {
	// Exporters lists the exporters by address.
	Exporters() []collector.ExporterStats
	// FlowInterfaces lists the interfaces that sFlow exporters report.
	FlowInterfaces() []collector.InterfaceStats
	// SamplingRates lists the rates that exporters announced, or sent with their records.
	SamplingRates() []collector.Rate
	// FlowFilter is what the filter on records did since it was configured.
	FlowFilter() filter.Stats
	// FlowSockets lists the sockets that exporters send to.
	FlowSockets() []listen.SocketStats
}

// DeviceRate is one line of show netflow_sampling_rates.
type DeviceRate struct {
	Device netip.Addr `json:"device"`
	Rate   float64    `json:"rate"`
	// Protocol, Domain, Scope and ID say what the rate is for: an exporter may sample at several rates.
	Protocol string `json:"protocol"`
	Domain   uint32 `json:"domain"`
	Scope    string `json:"scope"`
	ID       uint64 `json:"id"`
	// Effective is the rate that follows from an sFlow agent's count of packets, 0 unknown.
	Effective float64 `json:"effective,omitempty"`
}

// DevicePackets is one line of show netflow9_packets_per_device: datagrams, as FastNetMon counts them.
type DevicePackets struct {
	Device  netip.Addr `json:"device"`
	Name    string     `json:"name,omitempty"`
	Packets uint64     `json:"packets"`
}

// showRates is show netflow_sampling_rates and its like.
func showRates(prefix string) func(*Server, *request, Family) (envelope, error) {
	return func(s *Server, q *request, _ Family) (envelope, error) {
		effective := make(map[netip.Addr]float64)
		if prefix == "sflow" {
			for _, e := range s.deps.Runtime.Exporters() {
				effective[e.Address] = e.EffectiveRate
			}
		}
		var out []DeviceRate
		for _, r := range s.deps.Runtime.SamplingRates() {
			if strings.HasPrefix(r.Protocol, prefix) {
				out = append(out, DeviceRate{
					Device: r.Exporter, Rate: r.Rate, Protocol: r.Protocol, Domain: r.Domain, Scope: r.Scope, ID: r.ID, Effective: effective[r.Exporter],
				})
			}
		}
		slices.SortStableFunc(out, func(a, b DeviceRate) int {
			return cmp.Or(a.Device.Compare(b.Device), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Domain, b.Domain),
				cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.ID, b.ID))
		})
		return list(out), q.want(1, 1, "show "+q.words[0])
	}
}

// showDevices is show netflow9_packets_per_device and its like.
func showDevices(prefix string) func(*Server, *request, Family) (envelope, error) {
	return func(s *Server, q *request, _ Family) (envelope, error) {
		var out []DevicePackets
		for _, e := range s.deps.Runtime.Exporters() {
			var n uint64
			for protocol, datagrams := range e.Datagrams {
				if strings.HasPrefix(protocol, prefix) {
					n += datagrams
				}
			}
			if n > 0 {
				out = append(out, DevicePackets{e.Address, e.Name, n})
			}
		}
		return list(out), q.want(1, 1, "show "+q.words[0])
	}
}

// showExporters is show exporters [IP].
func (s *Server) showExporters(q *request, f Family) (envelope, error) {
	if err := q.want(1, 2, "show exporters [IP]"); err != nil {
		return envelope{}, err
	}
	all := slices.DeleteFunc(s.deps.Runtime.Exporters(), func(e collector.ExporterStats) bool { return !f.Has(e.Address) })
	w := q.word(1)
	if w == "" {
		return list(all), nil
	}
	a, err := parseAddr(w)
	if err != nil {
		return envelope{}, err
	}
	i := slices.IndexFunc(all, func(e collector.ExporterStats) bool { return e.Address == a.Unmap() })
	if i < 0 {
		return envelope{}, fail(http.StatusNotFound, "no exporter %s was heard; `show exporters` lists them", a)
	}
	return envelope{Object: all[i]}, nil
}

// showExporterInterfaces is show exporter_interfaces [IP].
func (s *Server) showExporterInterfaces(q *request, f Family) (envelope, error) {
	if err := q.want(1, 2, "show exporter_interfaces [IP]"); err != nil {
		return envelope{}, err
	}
	all := slices.DeleteFunc(s.deps.Runtime.FlowInterfaces(), func(i collector.InterfaceStats) bool { return !f.Has(i.Exporter) })
	if w := q.word(1); w != "" {
		a, err := parseAddr(w)
		if err != nil {
			return envelope{}, err
		}
		all = slices.DeleteFunc(all, func(i collector.InterfaceStats) bool { return i.Exporter != a.Unmap() && i.Agent != a.Unmap() })
	}
	return list(all), nil
}

func (s *Server) showFlowFilter(q *request, _ Family) (envelope, error) {
	return envelope{Object: s.deps.Runtime.FlowFilter()}, q.want(1, 1, "show flow_filter")
}

func (s *Server) showFlowSockets(q *request, _ Family) (envelope, error) {
	return list(s.deps.Runtime.FlowSockets()), q.want(1, 1, "show flow_sockets")
}
