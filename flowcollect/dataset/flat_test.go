package dataset_test

import (
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// v5msg is a NetFlow v5 datagram that claims count records.
func v5msg(count, samplingHeader int, records ...[]byte) []byte {
	return cat(u16(5), u16(count), u32(uptime), u32(exported), u32(500_000_000), u32(77), []byte{1, 2}, u16(samplingHeader), cat(records...))
}

// v5flow is a TCP flow that began two seconds before the export and ended one second before it.
func v5flow() []byte {
	return cat(ip("198.51.100.1"), ip("203.0.113.9"), ip("192.0.2.254"), u16(3), u16(7), u32(10), u32(1500), u32(uptime-2000), u32(uptime-1000),
		u16(1234), u16(443), []byte{0, 0x12, 6, 0x20}, u16(65001), u16(65002), []byte{24, 22}, u16(0))
}

func TestV5(t *testing.T) {
	t.Parallel()
	c := fresh(t)
	if code := c.send(v5msg(1, 0x4064, v5flow())); code != record.OK {
		t.Fatalf("code %v", code)
	}
	at := int64(exported)*second + 500_000_000
	want := record.Record{
		Src: [16]byte{10: 0xff, 11: 0xff, 12: 198, 13: 51, 14: 100, 15: 1}, Dst: [16]byte{10: 0xff, 11: 0xff, 12: 203, 13: 0, 14: 113, 15: 9},
		NextHop: [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 254}, Exporter: exporter, Agent: exporter,
		Packets: 10, Bytes: 1500, SamplingRate: 100, RateFrom: record.RateHeader, Arrived: arrived,
		Start: at - 2*second, End: at - second, Duration: second, TimeFrom: record.TimeUptime,
		Domain: 0x0102, Input: 3, Output: 7, SrcAS: 65001, DstAS: 65002, SrcPort: 1234, DstPort: 443, Proto: 6, TCPFlags: 0x12, TOS: 0x20,
		SrcMask: 24, DstMask: 22, Protocol: record.NetFlow5,
		Has: record.HasSrc | record.HasDst | record.HasProto | record.HasPorts | record.HasFlags | record.HasPackets | record.HasBytes |
			record.HasInput | record.HasOutput | record.HasDuration,
	}
	if c.list[0] != want {
		t.Errorf("got  %+v\nwant %+v", c.list[0], want)
	}
	if h := c.stats.Last; h.Sequence != 77 || h.Units != 1 || !h.KnownUnits || h.Domain != 0x0102 || h.Uptime != uptime || h.Exported != at {
		t.Errorf("header %+v", h)
	}
}

// Named in FLOWS.md 3.4: v5 count lies.
func TestV5CountLies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		payload []byte
		records int
		code    record.Code
	}{
		{"55582 claimed", v5msg(55582, 0, v5flow(), v5flow()), 2, record.CountLies},
		{"one too many", v5msg(3, 0, v5flow(), v5flow()), 2, record.CountLies},
		{"last record cut", v5msg(2, 0, v5flow(), v5flow()[:47]), 1, record.CountLies},
		{"fewer claimed than there", v5msg(1, 0, v5flow(), v5flow()), 1, record.OK},
		{"bytes behind the last", v5msg(1, 0, v5flow(), []byte{1, 2, 3}), 1, record.OK},
		{"none", v5msg(0, 0), 0, record.OK},
		{"short header", v5msg(1, 0)[:23], 0, record.ShortDatagram},
		{"one byte", []byte{0}, 0, record.ShortDatagram},
		{"empty", nil, 0, record.ShortDatagram},
		{"version 6", cat(u16(6), make([]byte, 100)), 0, record.BadVersion},
	} {
		col := fresh(t)
		if code := col.send(c.payload); code != c.code || len(col.list) != c.records || col.stats.Records != uint64(c.records) {
			t.Errorf("%s: got %v, %d records, want %v, %d", c.name, code, len(col.list), c.code, c.records)
		}
	}
}

func TestV1AndV7(t *testing.T) {
	t.Parallel()
	v1head := cat(u16(1), u16(2), u32(uptime), u32(exported), u32(0))
	v1flow := cat(ip("198.51.100.1"), ip("203.0.113.9"), ip("0.0.0.0"), u16(3), u16(7), u32(10), u32(1500), u32(uptime-2000), u32(uptime-1000),
		u16(1234), u16(443), u16(0), []byte{6, 0x20, 0x12})
	pad := func(n int) []byte { return cat(v1flow, make([]byte, n-len(v1flow))) }
	v7head := cat(u16(7), u16(1), u32(uptime), u32(exported), u32(0), u32(5), u32(0))
	for _, c := range []struct {
		name     string
		payload  []byte
		records  int
		protocol record.Protocol
		masks    uint8
	}{
		{"v1 of 52 bytes", cat(v1head, pad(52), pad(52)), 2, record.NetFlow1, 0},
		{"v1 of softflowd's 48 bytes", cat(v1head, pad(48), pad(48)), 2, record.NetFlow1, 0},
		{"v7", cat(v7head, v5flow(), make([]byte, 4)), 1, record.NetFlow7, 24},
	} {
		col := fresh(t)
		if code := col.send(c.payload); code != record.OK || len(col.list) != c.records {
			t.Errorf("%s: %v, %d records", c.name, code, len(col.list))
			continue
		}
		r := col.list[c.records-1]
		if r.Protocol != c.protocol || r.Proto != 6 || r.TCPFlags != 0x12 || r.TOS != 0x20 || r.Bytes != 1500 || r.DstPort != 443 || r.SrcMask != c.masks || r.Duration != second {
			t.Errorf("%s: got %+v", c.name, r)
		}
	}
}

// The uptime wraps after 49.7 days: durations and times stay right across it.
func TestUptimeWrap(t *testing.T) {
	t.Parallel()
	f := v5flow()
	copy(f[24:], cat(u32(0xffffff00), u32(0x00000100))) // first before the wrap, last behind it
	m := v5msg(1, 0, f)
	copy(m[4:], u32(0x200))
	c := fresh(t)
	c.send(m)
	at := int64(exported)*second + 500_000_000
	if r := c.list[0]; r.Duration != 512e6 || r.Start != at-768e6 || r.End != at-256e6 {
		t.Errorf("got %v to %v before the export, duration %v", at-r.Start, at-r.End, r.Duration)
	}
	copy(m[24+24:], cat(u32(2000), u32(1000)))
	c.send(m)
	if r := c.list[1]; r.Has&record.HasDuration != 0 || c.stats.Codes[record.TimeBackwards] != 1 {
		t.Errorf("a flow that ends before it starts has duration %v", r.Duration)
	}
}
