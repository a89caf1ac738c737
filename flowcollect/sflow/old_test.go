package sflow

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// The vectors that FLOWS.md 1.1 describes, built here.

var ethernet4 = xdr( // 10.0.0.1:1234 -> 192.168.1.9:53, IP length 84 in a frame of 82
	x{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 84, 0, 1, 0x40, 0, 64, 17, 0, 0}, bare("10.0.0.1"), bare("192.168.1.9"),
	x{4, 0xd2, 0, 53, 0, 64, 0, 0}, x(strings.Repeat("x", 36)))

func header4(version, sequence, samples int) x {
	return xdr(version, "10.0.0.254", sequence, 123456, samples)
}

// sample4 is a flow sample's fixed part with sequence n.
func sample4(n, output int) x { return xdr(1, n, 3, 512, 512*n, 0, 3, output) }

var (
	raw4     = xdr(1, 1, 82, []byte(ethernet4))
	switch4  = xdr(1, 10, 0, 20, 0)
	router4  = xdr(2, "172.16.0.1", 24, 16)
	gateway4 = xdr(3, 65000, 65001, 65002, 1, 2, 3, 65010, 65011, 65012, 2, 65538, 196612, 100)
	gateway2 = xdr(3, 65000, 65001, 65002, 3, 65010, 65011, 65012)
	user4    = xdr(4, []byte("alice"), []byte("bob"))
	url4     = xdr(5, 1, []byte("http://x/"))
	ipv4Tag  = xdr(2, fields4(84, 17, "10.0.0.2", "192.168.1.10", 1111, 80, 0, 0), 0)
	ipv6Tag  = xdr(3, 100, 6, bare("::1"), bare("::2"), 2222, 443, 0x18, 0)
	// generic is a counter block of interface 3: 1 Gbit/s, 123456 octets in, 654321 out.
	generic = xdr(3, 6, uint64(1e9), 1, 3, uint64(123456), 1, 2, 3, 4, 5, 6, uint64(654321), 1, 2, 3, 4, 5, 0)
)

func counters4(kind int, body ...any) x { return xdr(2, 1, 3, 30, kind, xdr(body...)) }

func ints(n int) (b x) {
	for i := range n {
		b = xdr(b, i)
	}
	return b
}

func vector4() x {
	return xdr(header4(4, 77, 4), sample4(1, 7), raw4, 5, switch4, router4, gateway4, user4, url4,
		sample4(2, 7), ipv4Tag, sample4(3, -1<<31|2), ipv6Tag, 1, switch4, counters4(2, generic, ints(13)))
}

func vector2() x {
	return xdr(header4(2, 77, 3), sample4(1, 7), raw4, 3, switch4, router4, gateway2, sample4(2, 7), ipv4Tag, counters4(2, generic, ints(13)))
}

func TestVersions2And4(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		b       x
		version record.Protocol
		flows   int
	}{{"v4", vector4(), record.SFlow4, 3}, {"v2", vector2(), record.SFlow2, 2}} {
		t.Run(c.name, func(t *testing.T) {
			checkVector(t, c.b, c.version, c.flows)
		})
		t.Run(c.name+" capture", func(t *testing.T) {
			b := payloads(t, filepath.Join(shared(t), "generated", "sflow-"+c.name+"-synthetic.pcap"))[0].payload
			checkVector(t, b, c.version, c.flows)
		})
	}
}

type counterSink struct{ got []Counters }

func (s *counterSink) Counters(c *Counters) { s.got = append(s.got, *c) }

func checkVector(t *testing.T, b []byte, version record.Protocol, flows int) {
	t.Helper()
	var sink counterSink
	got := decodeWith(New(Config{}, &sink), b)
	if got.code != record.OK || len(got.records) != flows || got.st.Records != uint64(flows) || got.st.CounterSamples != 1 {
		t.Fatalf("code %v, %d records, %v", got.code, len(got.records), codes(&got.st))
	}
	if h := got.st.Last; h.Protocol != version || h.Sequence != 77 || h.Uptime != 123456 || h.Domain != 0 {
		t.Errorf("header %+v", h)
	}
	common := record.Record{
		Exporter: addr("198.51.100.9"), Agent: addr("10.0.0.254"), Arrived: 42, Protocol: version, Packets: 1, SamplingRate: 512,
		RateFrom: record.RateRecord, SamplerID: 3, Input: 3, Output: 7, Direction: record.Ingress,
		Has: record.HasPackets | record.HasBytes | record.HasSampler | record.HasInput | record.HasOutput | record.HasDirection |
			record.HasSrc | record.HasDst | record.HasProto | record.HasPorts,
	}
	a := common
	a.Kind, a.Src, a.Dst, a.SrcPort, a.DstPort, a.Proto = record.Section, addr("10.0.0.1"), addr("192.168.1.9"), 1234, 53, 17
	a.TTL, a.Has = 64, a.Has|record.HasTTL
	a.Bytes, a.L2Bytes, a.SrcVLAN, a.DstVLAN, a.NextHop, a.SrcMask, a.DstMask, a.SrcAS, a.DstAS = 82, 82, 10, 20, addr("172.16.0.1"), 24, 16, 65001, 65012
	want := []record.Record{a}
	a = common
	a.Src, a.Dst, a.SrcPort, a.DstPort, a.Proto, a.Bytes = addr("10.0.0.2"), addr("192.168.1.10"), 1111, 80, 17, 84
	want = append(want, a)
	if flows == 3 {
		a = common
		a.Src, a.Dst, a.SrcPort, a.DstPort, a.Proto, a.Bytes, a.TCPFlags = addr("::1"), addr("::2"), 2222, 443, 6, 100, 0x18
		a.Output, a.SrcVLAN, a.DstVLAN = 0, 10, 20
		a.Has = a.Has&^record.HasOutput | record.HasFlags
		want = append(want, a)
		if s := got.samples[2]; s.Output != (Interface{Multiple, 2}) || s.Sequence != 3 || s.Pool != 1536 {
			t.Errorf("sample %+v", s)
		}
	}
	for i := range want {
		if got.records[i] != want[i] {
			t.Errorf("record %d:\ngot  %+v\nwant %+v", i, got.records[i], want[i])
		}
	}
	wantCounters := Counters{
		Exporter: addr("198.51.100.9"), Agent: addr("10.0.0.254"), Arrived: 42, Protocol: version, Uptime: 123456,
		Sequence: 1, Source: Source{0, 3}, Index: 3, Type: 6, Speed: 1e9, Direction: 1, Status: 3, InOctets: 123456, InUnicast: 1, InMulticast: 2,
		InBroadcast: 3, InDiscards: 4, InErrors: 5, InUnknown: 6, OutOctets: 654321, OutUnicast: 1, OutMulticast: 2, OutBroadcast: 3, OutDiscards: 4,
		OutErrs: 5,
	}
	if len(sink.got) != 1 || sink.got[0] != wantCounters {
		t.Errorf("counters %+v\nwant %+v", sink.got, wantCounters)
	}
}

// TestBuiltVectors holds the builder of this test against the captures that other software decoded.
func TestBuiltVectors(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	for name, b := range map[string]x{"sflow-v4-synthetic": vector4(), "sflow-v2-synthetic": vector2()} {
		if want := payloads(t, filepath.Join(dir, "generated", name+".pcap"))[0].payload; !bytes.Equal(want, b) {
			t.Errorf("%s: built\n%x\ncaptured\n%x", name, b, want)
		}
	}
}

func TestVersion4Ends(t *testing.T) {
	t.Parallel()
	next := xdr(sample4(9, 7), ipv4Tag) // a good sample that cannot be found behind trouble
	for _, c := range []struct {
		name     string
		body     x
		samples  int
		code     record.Code
		records  int
		counters uint64
	}{
		{"all counter types", xdr(counters4(1, generic), counters4(2, generic, ints(13)), counters4(3, generic, ints(18)), counters4(4, generic),
			counters4(5, generic, ints(20)), counters4(6, generic), counters4(7, ints(7)), next), 8, record.OK, 1, 7},
		{"unknown counter type", xdr(counters4(8, generic), next), 2, record.UnknownTag, 0, 0},
		{"cut counters", counters4(1, generic)[:100], 1, record.TruncatedSample, 0, 0},
		{"cut special counters", xdr(counters4(3, generic, ints(17))), 1, record.TruncatedSample, 0, 0},
		{"unknown sample", xdr(3, next), 2, record.OK, 0, 0},
		{"unknown packet data", xdr(sample4(1, 7), 4, 0, next), 2, record.UnknownTag, 0, 0},
		{"unknown extended item keeps the record", xdr(sample4(1, 7), raw4, 2, switch4, 6, next), 2, record.UnknownTag, 1, 0},
		{"router without address family keeps the record", xdr(sample4(1, 7), raw4, 1, 2, 9, next), 2, record.BadAddressType, 1, 0},
		{"cut in the sample", sample4(1, 7)[:20], 1, record.TruncatedSample, 0, 0},
		{"cut before the packet", sample4(1, 7), 1, record.TruncatedSample, 0, 0},
		{"cut in the raw header", xdr(sample4(1, 7), raw4)[:60], 1, record.TruncatedSample, 0, 0},
		{"cut in the fields", xdr(sample4(1, 7), ipv6Tag)[:60], 1, record.TruncatedSample, 0, 0},
		{"cut in an extended item", xdr(sample4(1, 7), raw4, 1, gateway4[:len(gateway4)-8]), 1, record.TruncatedSample, 1, 0},
		{"long user name", xdr(sample4(1, 7), raw4, 1, 4, -1), 1, record.TruncatedSample, 1, 0},
		{"extended items without end", xdr(sample4(1, 7), raw4, -1, switch4), 1, record.TruncatedSample, 1, 0},
		{"as path without end", xdr(sample4(1, 7), raw4, 1, 3, 1, 2, 3, -1, 1, -1), 1, record.TruncatedSample, 1, 0},
		{"fewer samples than announced", next, 3, record.CountLies, 1, 0},
		{"more bytes than samples", xdr(next, 0), 1, record.OK, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(Config{}, xdr(header4(4, 1, c.samples), c.body))
			if got.code != c.code || len(got.records) != c.records || got.st.CounterSamples != c.counters {
				t.Errorf("code %v, %d records, %d counter samples, %v", got.code, len(got.records), got.st.CounterSamples, codes(&got.st))
			}
		})
	}
}
