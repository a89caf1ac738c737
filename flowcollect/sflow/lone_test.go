package sflow

import (
	"math/rand/v2"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
)

// TestLone: a sample that has nothing but a head is read as the same sample with an item behind it that says nothing.
func TestLone(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 5))
	frames := [][]byte{
		udp4(200), tcp6(30),
		packetbuild.Ether().IPv4("10.0.0.1", "192.168.1.9").TCP(1, 2, 0x12).Bytes(),
		packetbuild.Ether().IPv6("2001:db8::1", "2001:db8::2").UDP(53, 99).Payload(400).Bytes(),
		packetbuild.Ether().VLAN(7).IPv4("10.0.0.1", "192.168.1.9").UDP(1, 2).Bytes(),
	}
	nothing := item(1010)
	for n := range 50_000 {
		cfg := Config{Bytes: ByteCount(r.IntN(3)), Heads: r.IntN(2) == 0}
		var short, long []x
		for range 1 + r.IntN(4) {
			a, b := randomSample(r, frames[r.IntN(len(frames))], nothing)
			short, long = append(short, a), append(long, b)
		}
		got, want := decode(cfg, v5(short...)), decode(cfg, v5(long...))
		if len(got.records) != len(want.records) || got.code != want.code || got.st.Codes != want.st.Codes || got.st.Records != want.st.Records {
			t.Fatalf("%d: %d records, %v, want %d, %v\n%x", n, len(got.records), codes(&got.st), len(want.records), codes(&want.st), short)
		}
		for i := range want.records {
			if got.records[i] != want.records[i] || got.samples[i] != want.samples[i] {
				t.Fatalf("%d: record %d\n%+v\n%+v\nwant\n%+v\n%+v", n, i, got.records[i], got.samples[i], want.records[i], want.samples[i])
			}
		}
	}
}

// randomSample returns a flow sample of a damaged frame, and the same with an item more.
func randomSample(r *rand.Rand, frame []byte, more x) (short, long x) {
	frame = append([]byte(nil), frame[:r.IntN(len(frame)+1)]...)
	for range r.IntN(4) {
		if len(frame) > 0 {
			frame[r.IntN(len(frame))] = byte(r.Uint32())
		}
	}
	protocol := []int{1, 1, 1, 1, 11, 0}[r.IntN(6)]
	head := item(1, protocol, r.IntN(2000), r.IntN(6), frame)
	front := func(items int) x {
		// Interfaces that are unknown, discards and several; rates that are unknown.
		return xdr(r.Uint32(), r.IntN(5), r.IntN(3)*100, r.Uint32(), r.Uint32(), r.IntN(5), r.IntN(3)<<30|r.IntN(5), items)
	}
	f := front(1)
	g := append(append(x(nil), f[:flowSize-4]...), xdr(2)...)
	return item(1, f, head), item(1, g, head, more)
}
