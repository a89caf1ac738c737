package dataset_test

import (
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// shared returns a path below the shared data, or skips.
func shared(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(append([]string{root, "data", "flow"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared flow captures are not here: %v", err)
	}
	return path
}

// collector decodes whatever comes, as the real one will.
type collector struct {
	netflow *netflow.Decoder
	ipfix   *ipfix.Decoder
	deps    dataset.Deps
	stats   record.Stats
	// sums of data records as they were exported, without reverse halves
	bytes, packets uint64
	// sums of everything, scaled
	scaledBytes, scaledPackets uint64
	list                       []record.Record
	forget                     func() // called before each datagram
}

func newCollector(t testing.TB, tc template.Config, sc sampling.Config) *collector {
	t.Helper()
	reg, err := template.New(tc)
	if err != nil {
		t.Fatal(err)
	}
	table, err := sampling.New(sc)
	if err != nil {
		t.Fatal(err)
	}
	deps := dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}}
	return &collector{netflow: netflow.New(deps), ipfix: ipfix.New(deps), deps: deps}
}

func (c *collector) Record(r *record.Record) {
	if r.Kind != record.BiflowReverse && r.Kind != record.SectionTunnel {
		c.bytes += r.Bytes
		c.packets += r.Packets
	}
	c.scaledBytes += r.Scale(r.Bytes)
	c.scaledPackets += r.Scale(r.Packets)
	c.list = append(c.list, *r)
}

func (c *collector) decode(exporter [16]byte, at int64, payload []byte) record.Code {
	dg := record.Datagram{Exporter: exporter, Arrived: at, Payload: payload}
	if len(payload) > 2 && binary.BigEndian.Uint16(payload) == 10 {
		return c.ipfix.Decode(&dg, &c.stats, c)
	}
	return c.netflow.Decode(&dg, &c.stats, c)
}

// pcap decodes every UDP payload of a capture.
func (c *collector) pcap(t testing.TB, path string) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := wire.Decoder{}
	var h wire.Headers
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if code := w.Decode(rec.LinkType, rec.Data, &h); !code.Addressed() || h.Outer.Proto != 17 {
			continue
		}
		head := 28
		if rec.LinkType == wire.LinkEthernet {
			head += 14
		}
		if h.Outer.Version == 6 {
			head += 20
		}
		if h.Outer.DstPort == 6343 && binary.BigEndian.Uint16(rec.Data[head:]) == 0 {
			continue // sFlow
		}
		c.decode(h.Outer.Src, rec.Time, rec.Data[head:])
	}
}

func index(t testing.TB, parts ...string) []map[string]string {
	t.Helper()
	f, err := os.Open(shared(t, parts...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			if i < len(row) {
				m[name] = row[i]
			}
		}
		out = append(out, m)
	}
	return out
}

// TestCorpusIndex holds the decoders to the totals on which three independent ones agree, or whose differences FLOWS.md 3.4 explains.
func TestCorpusIndex(t *testing.T) {
	t.Parallel()
	cfg := template.Default()
	cfg.HoldSets = 0 // the reference decoders keep nothing
	for _, row := range index(t, "INDEX.tsv") {
		if strings.Contains(row["protocol"], "sF") && row["protocol"] != "v5+sF5" {
			continue
		}
		t.Run(row["group"], func(t *testing.T) {
			c := newCollector(t, cfg, sampling.Default())
			c.pcap(t, shared(t, row["group"]+".pcap"))
			s := &c.stats
			got := fmt.Sprintf("%d dg, %d/%d tpl, %d/%d rec, %d/%d", s.Datagrams, s.Templates, s.OptionTemplates, s.Records, s.OptionRecords, c.bytes, c.packets)
			want := fmt.Sprintf("%s dg, %s tpl, %s rec, %s", row["datagrams"], row["templates_data/options"], row["records_data/options"], row["sum_bytes/sum_packets"])
			if got != want {
				t.Errorf("got  %s\nwant %s (%s)\n%s", got, want, row["note"], codes(s))
			}
		})
	}
}

func codes(s *record.Stats) string {
	var b strings.Builder
	for i, n := range s.Codes {
		if n > 0 {
			fmt.Fprintf(&b, "%v=%d ", record.Code(i), n)
		}
	}
	return b.String()
}
