package cli

import (
	"fmt"
	"maps"
	"math"
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
		var datagrams, lost uint64
		for _, n := range e.Datagrams {
			datagrams += n
		}
		for _, n := range e.Lost {
			lost += n
		}
		rows = append(rows, []string{
			e.Address.String(), e.Name, strings.Join(slices.Sorted(maps.Keys(e.Datagrams)), ","), count(float64(datagrams)), count(float64(e.Records)),
			count(float64(lost)), count(float64(e.UnknownTemplateSets)), samplingText(&e), when(e.LastSeen), exporterState(&e),
		})
	}
	s.table([]string{"exporter", "name", "protocols", ">datagrams", ">records", ">lost", ">no template", "sampling", "last seen", "state"}, rows)
	return nil
}

// samplingText is the rate that is used, and beside it what else is known.
func samplingText(e *collector.ExporterStats) string {
	text := "unknown"
	if e.SamplingRate > 0 {
		text = oneOf(e.SamplingRate) + " (" + e.SamplingFrom + ")"
	}
	if i := slices.IndexFunc(e.Sources, func(x collector.Source) bool { return x.Announced > 0 }); i >= 0 && e.SamplingFrom != "record" {
		text += ", announced " + oneOf(float64(e.Sources[i].Announced))
	}
	if e.EffectiveRate > 0 {
		text += ", effective " + oneOf(math.Round(e.EffectiveRate))
	}
	return text
}

func oneOf(rate float64) string { return "1:" + strconv.FormatFloat(rate, 'f', -1, 64) }

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
	if e.RateOff {
		words = append(words, "samples at another rate")
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
		if r.Effective > 0 && !s.fcli {
			fmt.Fprintf(s.out, "  effective %.0f", r.Effective)
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

// printExporterInterfaces shows a line for each interface that an sFlow agent reports.
func (s *session) printExporterInterfaces(a *answer) error {
	list, err := decode[[]collector.InterfaceStats](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("interfaces; sFlow exporters report theirs every half minute or so")
	}
	mbit := func(bits float64) string { return strconv.FormatFloat(bits/1e6, 'f', 2, 64) }
	var rows [][]string
	for _, x := range list {
		state := "up"
		switch {
		case !x.AdminUp:
			state = "shut down"
		case !x.OperUp:
			state = "down"
		}
		exporter := x.Exporter.String()
		if x.Agent != x.Exporter {
			exporter += " (" + x.Agent.String() + ")"
		}
		rows = append(rows, []string{
			exporter, x.Name, strconv.FormatUint(uint64(x.Index), 10), mbit(float64(x.Speed)), mbit(x.In.BitsPerSecond), count(x.In.PacketsPerSecond),
			mbit(x.Out.BitsPerSecond), count(x.Out.PacketsPerSecond), count(float64(x.In.Discards + x.Out.Discards)), count(float64(x.In.Errors + x.Out.Errors)),
			when(x.Reported), state,
		})
	}
	s.table([]string{
		"exporter", "name", ">interface", ">Mbit/s of", ">in Mbit/s", ">in packets/s", ">out Mbit/s", ">out packets/s", ">discards", ">errors", "reported", "state",
	}, rows)
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
