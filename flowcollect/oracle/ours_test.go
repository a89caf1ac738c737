package oracle

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	sflowdec "github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// decoder is ours.
type decoder struct {
	netflow *netflow.Decoder
	ipfix   *ipfix.Decoder
	sflow   *sflowdec.Decoder
	list    []record.Record
	samples []sflowdec.Sample // of the records of list, in sFlow
	stats   record.Stats
}

func newDecoder(t testing.TB) *decoder {
	t.Helper()
	cfg := template.Default()
	cfg.HoldSets = 0 // goflow2 keeps nothing for later
	reg, err := template.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampling.New(sampling.Default())
	if err != nil {
		t.Fatal(err)
	}
	deps := dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}}
	return &decoder{netflow: netflow.New(deps), ipfix: ipfix.New(deps), sflow: sflowdec.New(sflowdec.Config{Heads: true}, nil)}
}

// Record keeps what goflow2 has a counterpart of.
func (d *decoder) Record(r *record.Record) {
	switch r.Kind {
	case record.BiflowReverse, record.SectionTunnel, record.Discard:
		return
	}
	d.list, d.samples = append(d.list, *r), append(d.samples, *d.sflow.Sample())
}

// decode returns the records of one datagram and what was met in it.
func (d *decoder) decode(dg datagram) ([]record.Record, record.Stats) {
	d.list, d.samples, d.stats = d.list[:0], d.samples[:0], record.Stats{}
	in := record.Datagram{Exporter: dg.exporter, Arrived: dg.at, Payload: dg.payload}
	switch v := version(dg.payload); {
	case v == 10:
		d.ipfix.Decode(&in, &d.stats, d)
	case v >= 1000:
		d.sflow.Decode(&in, &d.stats, d)
	default:
		d.netflow.Decode(&in, &d.stats, d)
	}
	return d.list, d.stats
}

// datagram is one UDP payload of a capture.
type datagram struct {
	exporter [16]byte
	at       int64
	payload  []byte
}

// shared is the folder of captures that is not part of the repository.
func shared(t testing.TB) string {
	t.Helper()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	dir := filepath.Join(root, "data", "flow")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared flow captures are not here (WEIR_SHARED): %v", err)
	}
	return dir
}

// captures are all of them.
func captures(t testing.TB) []string {
	t.Helper()
	dir := shared(t)
	var out []string
	for _, pattern := range []string{"*.pcap", "generated/*.pcap"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if filepath.Base(f) != "truth.pcap" { // packets, not flows
				out = append(out, f)
			}
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d captures in %s", len(out), dir)
	}
	return out
}

// read returns a capture's datagrams; gopacket finds them, so that our packet decoder has no part in the comparison.
func read(t testing.TB, path string) (out []datagram) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		first := layers.LayerTypeIPv4
		switch {
		case rec.LinkType == wire.LinkEthernet:
			first = layers.LayerTypeEthernet
		case len(rec.Data) > 0 && rec.Data[0]>>4 == 6:
			first = layers.LayerTypeIPv6
		}
		p := gopacket.NewPacket(rec.Data, first, gopacket.Default)
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok {
			continue
		}
		dg := datagram{at: rec.Time, payload: append([]byte(nil), udp.Payload...)}
		copy(dg.exporter[:], p.NetworkLayer().NetworkFlow().Src().Raw())
		if len(p.NetworkLayer().NetworkFlow().Src().Raw()) == 4 {
			record.MapIPv4(&dg.exporter, (*[4]byte)(p.NetworkLayer().NetworkFlow().Src().Raw()))
		}
		if slices.Contains([]int{1, 5, 7, 9, 10, sflow2, sflow4, sflow5}, version(dg.payload)) {
			out = append(out, dg)
		}
	}
}
