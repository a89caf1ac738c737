package oracle

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
	sflowdec "github.com/weir-ddos/weir/flowcollect/sflow"
)

// difference is one thing in which the two decoders differ, in one datagram or one record.
type difference struct {
	// field is "records", "hang", or the name of a record's field.
	field        string
	ours, theirs string
	// r and f are the record in both, nil for a whole datagram.
	r *record.Record
	f *flow
	// sample is r's in sFlow.
	sample *sflowdec.Sample
	// stats is what we met in the datagram, answer all that goflow2 said of it.
	stats   *record.Stats
	answer  *response
	payload []byte
	// nOurs and nTheirs are how many records there were.
	nOurs, nTheirs int
	// before is what we met in this exporter's datagrams before this one.
	before *record.Stats
	// lostSets and producerFailed say that, here or before, goflow2 did not read all sets, or its producer did not take an option.
	lostSets, producerFailed bool
	// fuzz says that the fuzzer made the datagram.
	fuzz bool
}

// comparison walks datagrams of one group.
type comparison struct {
	t      testing.TB
	oracle *oracle
	ours   *decoder
	first  bool
	before record.Stats

	lostSets, producerFailed, fuzz bool
	// seen counts the deviations that explained something; records is how many were compared.
	seen    map[string]int
	records int
	// unexplained are differences without a name.
	unexplained []string
}

func newComparison(t testing.TB, o *oracle) *comparison {
	return &comparison{t: t, oracle: o, ours: newDecoder(t), first: true, seen: map[string]int{}}
}

// compare decodes one datagram with both. It returns whether neither found anything wrong with it.
func (c *comparison) compare(dg datagram) (clean bool) {
	c.t.Helper()
	list, stats := c.ours.decode(dg)
	answer, err := c.oracle.ask(request{Reset: c.first, Exporter: dg.exporter, Payload: dg.payload})
	c.first = false
	d := difference{stats: &stats, answer: &answer, payload: dg.payload, nOurs: len(list), nTheirs: len(answer.Flows), before: &c.before, fuzz: c.fuzz}
	c.lostSets = c.lostSets || d.beyondCount()
	c.producerFailed = c.producerFailed || strings.HasPrefix(answer.Error, "producer:")
	d.lostSets, d.producerFailed = c.lostSets, c.producerFailed
	defer func() { c.before.Add(&stats) }()
	if errors.Is(err, errHangs) {
		d.field, d.ours, d.theirs = "hang", fmt.Sprint(len(list), " records"), "killed"
		c.explain(d)
		return false
	}
	if len(list) != len(answer.Flows) {
		d.field, d.ours, d.theirs = "records", fmt.Sprint(len(list)), fmt.Sprintf("%d (error %q)", len(answer.Flows), answer.Error)
		c.explain(d)
	}
	for i := range min(len(list), len(answer.Flows)) {
		d.sample = &c.ours.samples[i]
		c.compareRecord(d, &list[i], &answer.Flows[i])
	}
	return stats.Codes[record.OK] == 1 && answer.Error == "" && !answer.Missing
}

func (c *comparison) compareRecord(d difference, r *record.Record, f *flow) {
	c.records++
	d.r, d.f = r, f
	check := func(field string, has bool, ours, theirs any) {
		d.field, d.ours, d.theirs = field, fmt.Sprint(ours), fmt.Sprint(theirs)
		if has && d.ours != d.theirs {
			c.explain(d)
		}
	}
	check("src", r.Has&record.HasSrc != 0, netip.AddrFrom16(r.Src).Unmap(), address(f.Src))
	check("dst", r.Has&record.HasDst != 0, netip.AddrFrom16(r.Dst).Unmap(), address(f.Dst))
	check("proto", r.Has&record.HasProto != 0, r.Proto, f.Proto)
	check("src_port", r.Has&record.HasPorts != 0, r.SrcPort, f.SrcPort)
	check("dst_port", r.Has&record.HasPorts != 0, r.DstPort, f.DstPort)
	check("flags", r.Has&record.HasFlags != 0, r.TCPFlags, f.Flags)
	check("tos", true, r.TOS, f.TOS)
	check("input", true, r.Input, f.Input)
	check("output", true, r.Output, f.Output)
	check("src_as", true, r.SrcAS, f.SrcAS)
	check("dst_as", true, r.DstAS, f.DstAS)
	check("bytes", true, r.Bytes, f.Bytes)
	check("packets", true, r.Packets, f.Packets)
	check("rate", true, strconv.FormatFloat(r.SamplingRate, 'f', -1, 64), f.Rate)
}

func address(b []byte) string {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return "none"
	}
	return a.Unmap().String()
}

// explain finds the deviation that says why.
func (c *comparison) explain(d difference) {
	for i := range deviations {
		if v := &deviations[i]; slices.Contains(v.fields, d.field) && v.explains(&d) {
			c.seen[v.name]++
			return
		}
	}
	text := fmt.Sprintf("%s: ours %s, goflow2's %s; codes %s", d.field, d.ours, d.theirs, codes(d.stats))
	if d.r != nil {
		text += fmt.Sprintf("; fields %v\n\trecord %+v\n\tflow   %+v", d.f.Fields, *d.r, *d.f)
	}
	c.unexplained = append(c.unexplained, text)
}

func (c *comparison) report() {
	c.t.Helper()
	for i, u := range c.unexplained {
		if i == 5 {
			c.t.Errorf("and %d more", len(c.unexplained)-i)
			break
		}
		c.t.Errorf("no deviation explains: %s", u)
	}
}

func codes(s *record.Stats) string {
	var b strings.Builder
	for c, n := range s.Codes {
		if n > 0 {
			fmt.Fprintf(&b, "%v=%d ", record.Code(c), n)
		}
	}
	return b.String()
}

// TestCorpus compares every record of every capture.
func TestCorpus(t *testing.T) {
	t.Parallel()
	files := captures(t)
	o := start(t)
	seen, records, datagrams := map[string]int{}, 0, 0
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			o.t = t
			c := newComparison(t, o)
			for _, dg := range read(t, path) {
				if known(version(dg.payload)) {
					c.compare(dg)
					datagrams++
				}
			}
			c.report()
			records += c.records
			for name, n := range c.seen {
				seen[name] += n
			}
		})
	}
	o.t = t
	t.Logf("%d captures, %d datagrams, %d records compared", len(files), datagrams, records)
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("deviation %-40s %6d", name, seen[name])
	}
}
