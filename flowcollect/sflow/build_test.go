package sflow

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// x builds XDR: numbers are 32 bits, byte strings are as they are, addresses have their type in front, x is put in as it is.
type x []byte

func xdr(items ...any) (b x) {
	for _, it := range items {
		switch v := it.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case string: // an address, with its type
			a := netip.MustParseAddr(v)
			if a.Is4() {
				b = binary.BigEndian.AppendUint32(b, 1)
			} else {
				b = binary.BigEndian.AppendUint32(b, 2)
			}
			b = append(b, a.AsSlice()...)
		case x:
			b = append(b, v...)
		case []byte: // opaque<>: length, bytes, padding
			b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
			b = append(append(b, v...), make([]byte, -len(v)&3)...)
		default:
			panic("xdr: unknown type")
		}
	}
	return b
}

// bare are the bytes of an address without its type.
func bare(a string) x { return netip.MustParseAddr(a).AsSlice() }

// item is a format, a length and a body: a sample or an item of version 5.
func item(format int, body ...any) x {
	b := xdr(body...)
	return xdr(format, len(b), b)
}

// v5 is a datagram of version 5 with these samples.
func v5(samples ...x) x {
	b := xdr(5, "192.0.2.1", 7, 100, 123456, len(samples))
	for _, s := range samples {
		b = append(b, s...)
	}
	return b
}

// flow is a compact flow sample: source 3, rate 512, in 3, out 7.
func flow(items ...x) x {
	b := xdr(1, 3, 512, 51200, 2, 3, 7, len(items))
	for _, it := range items {
		b = append(b, it...)
	}
	return item(1, b)
}

// raw is a raw header item of an Ethernet frame: its first 128 bytes.
func raw(frame []byte) x { return item(1, 1, len(frame)+4, 4, frame[:min(len(frame), 128)]) }

func fields4(length, proto int, src, dst string, sport, dport, flags, tos int) x {
	return xdr(length, proto, bare(src), bare(dst), sport, dport, flags, tos)
}

// decoded are the records of one datagram.
type decoded struct {
	records []record.Record
	samples []Sample
	st      record.Stats
	code    record.Code
}

func decode(cfg Config, b []byte) (out decoded) {
	return decodeWith(New(cfg, nil), b)
}

func decodeWith(d *Decoder, b []byte) (out decoded) {
	out.code = d.Decode(&record.Datagram{Payload: b, Arrived: 42, Exporter: addr("198.51.100.9")}, &out.st, record.SinkFunc(func(r *record.Record) {
		out.records = append(out.records, *r)
		out.samples = append(out.samples, *d.Sample())
	}))
	return out
}

// addr is an address in 16 bytes.
func addr(a string) [16]byte { return netip.MustParseAddr(a).As16() }

// one is the only record of a datagram.
func one(t *testing.T, d decoded) record.Record {
	t.Helper()
	if len(d.records) != 1 {
		t.Fatalf("%d records, code %v, %v", len(d.records), d.code, codes(&d.st))
	}
	return d.records[0]
}

func udp4(payload int) []byte {
	return packetbuild.Ether().IPv4("10.0.0.1", "192.168.1.9").UDP(1234, 53).Payload(payload).Bytes()
}

func tcp6(payload int) []byte {
	return packetbuild.Ether().IPv6("2001:db8::1", "2001:db8::2").TCP(2222, 443, wire.FlagSYN).Payload(payload).Bytes()
}
