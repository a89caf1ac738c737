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
	"time"

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
			if d, ok := deviations[row["group"]]; ok {
				want = d.want
			}
			if got != want {
				t.Errorf("got  %s\nwant %s (%s)\n%s", got, want, row["note"], codes(s))
			}
		})
	}
}

// deviations are the groups whose line in the index is not what the capture holds.
var deviations = map[string]struct{ why, want string }{
	"calmh-ipfix_parser_test-TestVersionError": {
		"the capture has two datagrams, one of them a copy with a byte more",
		"2 dg, 0/0 tpl, 0/0 rec, 0/0",
	},
	"logstash-codec-netflow_netflow9_test_h3c_netstream_varstring": {
		"a field of length 65535 in v9 is of variable length: FLOWS.md 3.4 says that goflow2's one record is right",
		"2 dg, 1/0 tpl, 1/0 rec, 702/9",
	},
	"python-netflow_PACKET_V1": {
		"softflowd's v1 records have 48 bytes: both are whole, as tshark says",
		"1 dg, 0/0 tpl, 2/0 rec, 1680/20",
	},
	"tcpdump_sflow_multiple_counter_30_pdus": {
		"only its five NetFlow datagrams are read here",
		"5 dg, 0/0 tpl, 7/0 rec, 1953/12",
	},
}

// TestGeneratedExact holds the decoders to the captures of real exporters that were fed with one known input.
func TestGeneratedExact(t *testing.T) {
	t.Parallel()
	known := map[string][4]uint64{ // scaled packets and bytes where the index states them; 0: unscaled is right
		"sf-v5-s10.pcap": {1470, 944960}, "sf-v9-s10.pcap": {1500, 952400}, "sf-v10-s10.pcap": {1500, 952400},
		"pms-v9.pcap": {1600, 991480}, "pms-v10.pcap": {1350, 866520}, "pms-v5.pcap": {1390, 908600},
		"ovs-3.pcap": {3980, 774480}, "sf-v9.pcap": {1500, 950640}, "pm-v10.pcap": {1500, 950640}, "sf-psamp.pcap": {150, 95240},
	}
	for _, row := range index(t, "generated", "INDEX-generated.tsv") {
		proto := row["protocol"]
		if strings.Contains(proto, "sFlow") || proto == "Ethernet pcap" {
			continue
		}
		t.Run(row["file"], func(t *testing.T) {
			cfg := template.Default()
			cfg.HoldSets = 0
			c := newCollector(t, cfg, sampling.Default())
			c.pcap(t, shared(t, "generated", row["file"]))
			s := &c.stats
			sums := fmt.Sprintf("%d/%d", c.bytes, c.packets)
			want := row["sum_bytes"] + "/" + row["sum_packets"]
			want = strings.ReplaceAll(strings.ReplaceAll(want, " (delta)", ""), "IP-hdr ", "")
			if want == "-/-" {
				want = sums
			}
			if got := fmt.Sprintf("%d rec, %s", s.Records, sums); got != row["records"]+" rec, "+want {
				t.Errorf("got  %s\nwant %s rec, %s\n%s", got, row["records"], want, codes(s))
			}
			if opt := row["option_records"]; opt != "-" && opt != fmt.Sprint(s.OptionRecords) {
				t.Errorf("%d option records, want %s", s.OptionRecords, opt)
			}
			if k, ok := known[row["file"]]; ok && (c.scaledPackets != k[0] || c.scaledBytes != k[1]) {
				t.Errorf("scaled: got %d packets, %d bytes, want %d, %d", c.scaledPackets, c.scaledBytes, k[0], k[1])
			}
			for i := range c.list {
				if r := &c.list[i]; row["exporter"] != "hand-built" && r.Kind == record.Data && r.Has&record.HasDuration == 0 {
					t.Fatalf("record %d has no duration: %+v", i, *r)
				}
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

// TestMalformedCaptures: each broken capture gives the counter that names its fault.
func TestMalformedCaptures(t *testing.T) {
	t.Parallel()
	for group, code := range map[string]record.Code{
		"calmh-ipfix_parser_test-TestBadEncodingError":                         record.TruncatedRecord,
		"calmh-ipfix_parser_test-TestVersionError":                             record.LengthLies,
		"graylog-plugin-netflow_netflow-v9-3_incomplete":                       record.UnknownTemplate,
		"libnetflow9_malformed-OT":                                             record.TemplateZeroWidth,
		"libnetflow9_malformed_1":                                              record.TemplateZeroWidth,
		"libnetflow9_malformed_3":                                              record.TemplateZeroWidth,
		"libnetflow9_malformed_5":                                              record.TemplateZeroWidth,
		"libnetflow9_malformed_6":                                              record.SetTooShort,
		"logstash-codec-netflow_netflow5_test_invalid01":                       record.CountLies,
		"logstash-codec-netflow_netflow5_test_invalid02":                       record.CountLies,
		"logstash-codec-netflow_netflow9_test_invalid01":                       record.CountLies,
		"logstash-codec-netflow_netflow9_test_cisco_aci":                       record.ZeroFill,
		"ndpi_netflowv9":                                                       record.UnknownTemplate,
		"vermont_incorrect_message_length":                                     record.LengthLies,
		"vermont_template_record_field_number_too_big":                         record.TemplateTruncated,
		"vermont_two_correct_data_templates":                                   record.ReservedSet,
		"vermont_variable_length_template_and_data_exceeding_message_boundary": record.TruncatedRecord,
	} {
		c := fresh(t)
		c.pcap(t, shared(t, group+".pcap"))
		if c.stats.Codes[code] == 0 {
			t.Errorf("%s: no %v (%s)", group, code, codes(&c.stats))
		}
	}
}

// TestCorpusHeld: keeping sets until their template comes never loses a record, and finds those of groups that send data first.
func TestCorpusHeld(t *testing.T) {
	t.Parallel()
	more := 0
	off := template.Default()
	off.HoldSets = 0
	on := template.Default()
	on.HoldFor = 10 * time.Minute // the captures' clocks go by seconds to minutes
	for _, row := range index(t, "INDEX.tsv") {
		path := shared(t, row["group"]+".pcap")
		without, with := newCollector(t, off, sampling.Default()), newCollector(t, on, sampling.Default())
		without.pcap(t, path)
		with.pcap(t, path)
		a, b := without.stats.Records+without.stats.OptionRecords, with.stats.Records+with.stats.OptionRecords
		if b < a {
			t.Errorf("%s: %d records while holding, %d without", row["group"], b, a)
		}
		if b > a {
			more++
		}
		if st := with.deps.Templates.Stats(); st.Held != st.Replayed+uint64(heldNow(with)) {
			t.Errorf("%s: %d held, %d replayed, %d wait", row["group"], st.Held, st.Replayed, heldNow(with))
		}
	}
	if more == 0 {
		t.Error("holding helps no group: INDEX.tsv names several whose data comes first")
	}
}

// heldNow is how many sets still wait: all of them leave when everything expires.
func heldNow(c *collector) int {
	before := c.deps.Templates.Stats().HeldDropped
	c.deps.Templates.Expire(1 << 62)
	return int(c.deps.Templates.Stats().HeldDropped - before)
}
