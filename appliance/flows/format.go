package flows

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// flow is the JSON form of a record. Addresses that were not exported are null, like times that are not known.
type flow struct {
	Exporter string  `json:"exporter"`
	Protocol string  `json:"protocol"`
	Domain   uint32  `json:"domain"`
	Src      *string `json:"src"`
	Dst      *string `json:"dst"`
	Proto    uint8   `json:"proto"`
	SrcPort  uint16  `json:"src_port"`
	DstPort  uint16  `json:"dst_port"`
	// TCPFlags is a letter for each flag that is set, in the order FSRPAUEC.
	TCPFlags string `json:"tcp_flags"`
	// Packets and Bytes are as exported. SamplingRate is 0 when it is not known.
	Packets      uint64      `json:"packets"`
	Bytes        uint64      `json:"bytes"`
	SamplingRate json.Number `json:"sampling_rate"`
	SamplingFrom string      `json:"sampling_from"`
	Start        *string     `json:"start"`
	End          *string     `json:"end"`
	// DurationNS is null when it is not known.
	DurationNS *int64 `json:"duration_ns"`
	Dropped    bool   `json:"dropped"`
	// Kind is data, biflow_reverse, section, section_tunnel or discard.
	Kind           string `json:"kind"`
	Direction      string `json:"direction"`
	Input          uint32 `json:"input"`
	Output         uint32 `json:"output"`
	SrcAS          uint32 `json:"src_as,omitempty"`
	DstAS          uint32 `json:"dst_as,omitempty"`
	VLAN           uint16 `json:"vlan,omitempty"`
	MPLSLabel      uint32 `json:"mpls_label,omitempty"`
	DroppedPackets uint64 `json:"dropped_packets,omitempty"`
	DroppedBytes   uint64 `json:"dropped_bytes,omitempty"`
	Template       uint16 `json:"template,omitempty"`
	Fragment       bool   `json:"fragment,omitempty"`
	TOS            uint8  `json:"tos,omitempty"`
	TTL            uint8  `json:"ttl,omitempty"`
	// ICMPType and ICMPCode are null when they were not exported.
	ICMPType *uint8 `json:"icmp_type,omitempty"`
	ICMPCode *uint8 `json:"icmp_code,omitempty"`
}

func (p *printer) object(r *record.Record) error {
	f := flow{
		Exporter: address(&r.Exporter), Protocol: r.Protocol.String(), Domain: r.Domain, Proto: r.Proto,
		SrcPort: r.SrcPort, DstPort: r.DstPort, TCPFlags: flags(r.TCPFlags), Packets: r.Packets, Bytes: r.Bytes,
		SamplingRate: json.Number(number(r.SamplingRate)), SamplingFrom: r.RateFrom.String(), Start: when(r.Start), End: when(r.End),
		Dropped: r.Dropped, Kind: r.Kind.String(), Direction: r.Direction.String(), Input: r.Input, Output: r.Output, SrcAS: r.SrcAS,
		DstAS: r.DstAS, VLAN: r.SrcVLAN, MPLSLabel: r.MPLSLabel, DroppedPackets: r.DroppedPackets, DroppedBytes: r.DroppedBytes,
		Template: r.Template, Fragment: r.Fragment, TOS: r.TOS, TTL: r.TTL,
	}
	if r.Has&record.HasICMP != 0 {
		f.ICMPType, f.ICMPCode = &r.ICMPType, &r.ICMPCode
	}
	if r.Has&record.HasSrc != 0 {
		a := address(&r.Src)
		f.Src = &a
	}
	if r.Has&record.HasDst != 0 {
		a := address(&r.Dst)
		f.Dst = &a
	}
	if r.Has&record.HasDuration != 0 {
		f.DurationNS = &r.Duration
	}
	return p.encode(&f)
}

func (p *printer) encode(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

func (p *printer) line(r *record.Record) error {
	ports := func(a *[16]byte, known record.Has, port uint16) string {
		if r.Has&known == 0 {
			return "-"
		}
		if r.Has&record.HasPorts == 0 {
			return address(a)
		}
		return netip.AddrPortFrom(netip.AddrFrom16(*a).Unmap(), port).String()
	}
	var notes []string
	if r.Kind != record.Data {
		notes = append(notes, r.Kind.String())
	}
	if r.Dropped {
		notes = append(notes, "dropped")
	}
	if r.TCPFlags != 0 {
		notes = append(notes, "flags "+flags(r.TCPFlags))
	}
	if r.Has&record.HasDuration != 0 {
		notes = append(notes, "for "+time.Duration(r.Duration).String())
	}
	rate := "1:" + number(r.SamplingRate)
	if r.SamplingRate == 0 {
		rate = "1:?"
	}
	_, err := fmt.Fprintf(p.out, "%s %s %s > %s proto %d, %d packets, %d bytes, %s %s\n", address(&r.Exporter), r.Protocol,
		ports(&r.Src, record.HasSrc, r.SrcPort), ports(&r.Dst, record.HasDst, r.DstPort), r.Proto, r.Packets, r.Bytes, rate,
		strings.Join(notes, ", "))
	return err
}

// total is the JSON form of the summary.
type total struct {
	Summary             bool              `json:"summary"`
	Datagrams           uint64            `json:"datagrams"`
	Templates           uint64            `json:"templates"`
	OptionTemplates     uint64            `json:"option_templates"`
	Records             uint64            `json:"records"`
	OptionRecords       uint64            `json:"option_records"`
	CounterSamples      uint64            `json:"counter_samples"`
	DiscardSamples      uint64            `json:"discard_samples"`
	UnknownTemplateSets uint64            `json:"unknown_template_sets"`
	UnknownRate         uint64            `json:"unknown_rate"`
	Errors              map[string]uint64 `json:"errors"`
	// Notes are what was met and is no error.
	Notes map[string]uint64 `json:"notes"`
}

func (p *printer) summary() {
	s := &p.stats
	t := total{
		Summary: true, Datagrams: s.Datagrams, Templates: s.Templates, OptionTemplates: s.OptionTemplates, Records: s.Records,
		OptionRecords: s.OptionRecords, CounterSamples: s.CounterSamples, DiscardSamples: s.DiscardSamples,
		UnknownTemplateSets: s.UnknownTemplateSets, UnknownRate: s.UnknownRate, Errors: map[string]uint64{}, Notes: map[string]uint64{},
	}
	for i, n := range s.Codes {
		switch c := record.Code(i); {
		case n == 0 || c == record.OK:
		case c.Trouble():
			t.Errors[c.String()] = n
		default:
			t.Notes[c.String()] = n
		}
	}
	for name, n := range map[string]uint64{"capture_fragment": p.fragments, "capture_truncated": p.truncated} {
		if n > 0 {
			t.Errors[name] = n
		}
	}
	if p.err != nil {
		return
	}
	if p.json {
		p.err = p.encode(&t)
		return
	}
	_, p.err = fmt.Fprintf(p.out, "%d datagrams, %d templates and %d of options, %d records and %d of options, %d counter samples, %d sets without template, %d records of unknown sampling rate%s%s\n",
		t.Datagrams, t.Templates, t.OptionTemplates, t.Records, t.OptionRecords, t.CounterSamples, t.UnknownTemplateSets, t.UnknownRate,
		list("errors", t.Errors), list("notes", t.Notes))
}

func list(title string, m map[string]uint64) string {
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i == 0 {
			b.WriteString("; " + title + ":")
		}
		fmt.Fprintf(&b, " %s %d", k, m[k])
	}
	return b.String()
}

func address(a *[16]byte) string { return netip.AddrFrom16(*a).Unmap().String() }

// number writes whole rates as integers.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func when(ns int64) *string {
	if ns == 0 {
		return nil
	}
	s := time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
	return &s
}

// flags are the letters of TCP flags, lowest bit first.
func flags(f uint8) string {
	var b []byte
	for i := range 8 {
		if f>>i&1 != 0 {
			b = append(b, "FSRPAUEC"[i])
		}
	}
	return string(b)
}
