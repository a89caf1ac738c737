package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/listen"
)

// printExporters shows a line for each router that sends flows.
func (s *session) printExporters(a *answer) error {
	list, err := decode[[]collector.ExporterStats](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("exporters")
	}
	var rows [][]string
	for _, e := range list {
		rate := "unknown"
		if e.SamplingRate > 0 {
			rate = "1:" + strconv.FormatFloat(e.SamplingRate, 'f', -1, 64) + " (" + e.SamplingFrom + ")"
		}
		var datagrams, lost uint64
		for _, n := range e.Datagrams {
			datagrams += n
		}
		for _, n := range e.Lost {
			lost += n
		}
		rows = append(rows, []string{
			e.Address.String(), e.Name, strings.Join(slices.Sorted(maps.Keys(e.Datagrams)), ","), count(float64(datagrams)), count(float64(e.Records)),
			count(float64(lost)), count(float64(e.UnknownTemplateSets)), rate, when(e.LastSeen), exporterState(&e),
		})
	}
	s.table([]string{"exporter", "name", "protocols", ">datagrams", ">records", ">lost", ">no template", "sampling", "last seen", "state"}, rows)
	return nil
}

func exporterState(e *collector.ExporterStats) string {
	var words []string
	if e.Silent {
		words = append(words, "silent")
	}
	if e.Lossy {
		words = append(words, "lossy")
	}
	if e.UnknownRate > 0 {
		words = append(words, "rate unknown")
	}
	if len(words) == 0 {
		return "ok"
	}
	return strings.Join(words, ", ")
}

// printRates shows FastNetMon's lines, device and rate; where a device has several, what each is for.
func (s *session) printRates(a *answer) error {
	list, err := decode[[]api.DeviceRate](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("sampling rates")
	}
	several := make(map[string]int)
	for _, r := range list {
		several[r.Device.String()]++
	}
	for _, r := range list {
		fmt.Fprintf(s.out, "%s %s", r.Device, strconv.FormatFloat(r.Rate, 'f', -1, 64))
		if several[r.Device.String()] > 1 && !s.fcli {
			fmt.Fprintf(s.out, "  %s domain %d %s %d", r.Protocol, r.Domain, r.Scope, r.ID)
		}
		fmt.Fprintln(s.out)
	}
	return nil
}

// printDevices shows FastNetMon's lines, device and datagrams.
func (s *session) printDevices(a *answer) error {
	list, err := decode[[]api.DevicePackets](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("devices")
	}
	for _, d := range list {
		fmt.Fprintf(s.out, "%s %d\n", d.Device, d.Packets)
	}
	return nil
}

// printFlowSockets shows a line for each socket.
func (s *session) printFlowSockets(a *answer) error {
	list, err := decode[[]listen.SocketStats](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("listeners of flows")
	}
	var rows [][]string
	for _, x := range list {
		rows = append(rows, []string{
			x.Address.String(), strconv.Itoa(x.Index), count(float64(x.Datagrams)), count(float64(x.Bytes)), count(float64(x.Dropped)),
			strconv.Itoa(x.Buffer>>10) + " KiB",
		})
	}
	s.table([]string{"address", ">socket", ">datagrams", ">bytes", ">dropped", ">buffer"}, rows)
	return nil
}
