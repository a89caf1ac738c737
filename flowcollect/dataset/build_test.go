package dataset_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// The exporter of the tests, its clock, and when its datagrams arrive.
var (
	exporter = netip.MustParseAddr("192.0.2.1").As16()
	second   = int64(1e9)
	exported = uint32(1_700_000_000)
	arrived  = 1_700_000_001 * second
	uptime   = uint32(3_600_000)
)

// el is one field of a template: number, length, enterprise.
type el struct {
	id, length int
	pen        uint32
}

func u16(v int) []byte    { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// set is a set with its header.
func set(id int, parts ...[]byte) []byte {
	body := cat(parts...)
	return cat(u16(id), u16(4+len(body)), body)
}

// msg9 is a NetFlow v9 datagram.
func msg9(domain uint32, sets ...[]byte) []byte {
	return cat(u16(9), u16(len(sets)), u32(uptime), u32(exported), u32(7), u32(domain), cat(sets...))
}

// msg10 is an IPFIX message.
func msg10(domain uint32, sets ...[]byte) []byte {
	body := cat(sets...)
	return cat(u16(10), u16(16+len(body)), u32(exported), u32(7), u32(domain), body)
}

// tpl is a template record without enterprise fields, good in v9 and IPFIX, or with them, in IPFIX.
func tpl(id int, fields ...el) []byte {
	return cat(u16(id), u16(len(fields)), els(fields))
}

func els(fields []el) []byte {
	var out []byte
	for _, f := range fields {
		if f.pen != 0 {
			out = cat(out, u16(f.id|0x8000), u16(f.length), u32(f.pen))
			continue
		}
		out = cat(out, u16(f.id), u16(f.length))
	}
	return out
}

// opt9 and opt10 are options template records; the first n fields are the scope.
func opt9(id, n int, fields ...el) []byte {
	return cat(u16(id), u16(4*n), u16(4*(len(fields)-n)), els(fields))
}

func opt10(id, n int, fields ...el) []byte {
	return cat(u16(id), u16(len(fields)), u16(n), els(fields))
}

// plain is a template that most tests use: src, dst, ports, protocol, flags, bytes, packets; flow is a record of it.
var (
	v4fields = []el{{id: 8, length: 4}, {id: 12, length: 4}, {id: 7, length: 2}, {id: 11, length: 2}, {id: 4, length: 1}, {id: 6, length: 1}, {id: 1, length: 4}, {id: 2, length: 4}}
	v6fields = []el{{id: 27, length: 16}, {id: 28, length: 16}, {id: 7, length: 2}, {id: 11, length: 2}, {id: 4, length: 1}, {id: 6, length: 1}, {id: 1, length: 4}, {id: 2, length: 4}}
)

func flow(src, dst string, bytes, packets uint32) []byte {
	return cat(ip(src), ip(dst), u16(1234), u16(53), []byte{17, 0}, u32(bytes), u32(packets))
}

// both runs f for IPv4 and IPv6.
func both(t *testing.T, f func(t *testing.T, fields []el, src, dst string)) {
	t.Helper()
	t.Run("v4", func(t *testing.T) { f(t, v4fields, "198.51.100.1", "203.0.113.9") })
	t.Run("v6", func(t *testing.T) { f(t, v6fields, "2001:db8::1", "2001:db8:1::9") })
}

func fresh(t testing.TB) *collector {
	t.Helper()
	return newCollector(t, template.Default(), sampling.Default())
}

// send decodes datagrams that arrive one after the other, a second apart, and returns the last code.
func (c *collector) send(payloads ...[]byte) record.Code {
	code := record.OK
	for i, p := range payloads {
		code = c.decode(exporter, arrived+int64(i)*second, p)
	}
	return code
}

// want checks the number of records and the sums.
func (c *collector) want(t *testing.T, records int, bytes, packets uint64) {
	t.Helper()
	if len(c.list) != records || c.bytes != bytes || c.packets != packets {
		t.Errorf("got %d records, %d bytes, %d packets, want %d, %d, %d (%s)", len(c.list), c.bytes, c.packets, records, bytes, packets, codes(&c.stats))
	}
}

// wantCodes checks the named codes' counts and that no other trouble was counted.
func (c *collector) wantCodes(t *testing.T, want map[record.Code]uint64) {
	t.Helper()
	for i, n := range c.stats.Codes {
		code := record.Code(i)
		if w, named := want[code]; named && n != w || !named && n != 0 && code.Trouble() {
			t.Errorf("%v: got %d, want %d", code, n, w)
		}
	}
}

func addr(a [16]byte) string { return netip.AddrFrom16(a).Unmap().String() }
