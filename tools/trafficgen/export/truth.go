package export

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// Result is what was exported: the sums that a collector must arrive at. Packets and bytes are as in the records, before any scaling;
// times Sampling they estimate the traffic.
type Result struct {
	Protocol Protocol `json:"protocol"`
	Sampling uint32   `json:"sampling"`
	// Frames is how many were metered, Unexported how many of them could not be reported: not IP, or IPv6 in NetFlow v5.
	Frames     uint64 `json:"frames"`
	Unexported uint64 `json:"unexported"`
	Datagrams  uint64 `json:"datagrams"`
	// Records are data records or flow samples. OptionRecords, Templates and OptionTemplates count repetitions.
	Records         uint64 `json:"records"`
	OptionRecords   uint64 `json:"option_records"`
	Templates       uint64 `json:"templates"`
	OptionTemplates uint64 `json:"option_templates"`
	CounterSamples  uint64 `json:"counter_samples"`
	// Exported are the records' packets and bytes: IP bytes in NetFlow and IPFIX, frame lengths in sFlow.
	Exported gen.C `json:"exported"`
	// Hosts are our addresses in the records, by address. A sampled head without an IP header is charged to none.
	Hosts []Host `json:"hosts"`
}

// Host is the sum over the records of one of our addresses.
type Host struct {
	Addr     netip.Addr `json:"addr"`
	Incoming gen.C      `json:"incoming"`
	Outgoing gen.C      `json:"outgoing"`
}

// truth adds up records as they are written.
type truth struct {
	res      Result
	networks []netip.Prefix
	hosts    map[netip.Addr]*Host
}

func newTruth(cfg Config) truth {
	return truth{res: Result{Protocol: cfg.Protocol, Sampling: cfg.Sampling}, networks: cfg.Networks, hosts: make(map[netip.Addr]*Host)}
}

func (t *truth) ours(a netip.Addr) bool {
	return slices.ContainsFunc(t.networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// record counts one record; src and dst are not valid when it has no addresses.
func (t *truth) record(src, dst netip.Addr, packets, bytes uint64) {
	t.res.Records++
	t.res.Exported.Packets += packets
	t.res.Exported.Bytes += bytes
	if dst.IsValid() && t.ours(dst) {
		c := &t.host(dst).Incoming
		c.Packets, c.Bytes = c.Packets+packets, c.Bytes+bytes
	}
	if src.IsValid() && t.ours(src) {
		c := &t.host(src).Outgoing
		c.Packets, c.Bytes = c.Packets+packets, c.Bytes+bytes
	}
}

func (t *truth) host(a netip.Addr) *Host {
	h := t.hosts[a]
	if h == nil {
		h = &Host{Addr: a}
		t.hosts[a] = h
	}
	return h
}

// Result is the truth so far; complete after Close.
func (e *Exporter) Result() Result {
	r := e.truth.res
	r.Hosts = make([]Host, 0, len(e.truth.hosts))
	for _, h := range e.truth.hosts {
		r.Hosts = append(r.Hosts, *h)
	}
	slices.SortFunc(r.Hosts, func(a, b Host) int { return a.Addr.Compare(b.Addr) })
	return r
}

// Truth is the file beside the datagrams: what was exported, and what the traffic was.
type Truth struct {
	Export  Result     `json:"export"`
	Traffic gen.Result `json:"traffic"`
}

// WriteJSON writes the truth as one indented object.
func (t Truth) WriteJSON(w io.Writer) error {
	b, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return fmt.Errorf("truth: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
