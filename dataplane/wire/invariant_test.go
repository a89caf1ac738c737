package wire_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// invariants decodes a frame in every way and returns what is wrong with the answers, "" if nothing.
func invariants(lt wire.LinkType, frame []byte, h *wire.Headers) string {
	if lt == wire.LinkEthernet {
		if s := plainAll([][]byte{frame}); s != "" {
			return s
		}
	}
	for _, charge := range []wire.Charge{wire.ChargeOuter, wire.ChargeInner, wire.ChargeBoth} {
		for _, trace := range []bool{false, true} {
			d := charging(charge, trace)
			var fresh wire.Headers
			slow := d.Walk(lt, frame, &fresh)
			code := d.Decode(lt, frame, h)
			if code != slow {
				return fmt.Sprintf("charge %d, trace %v: %v, and %v of the walker", charge, trace, code, slow)
			}
			if s := sound(code, h); s != "" {
				return s
			}
			if !code.Addressed() {
				continue
			}
			// The same answer whatever h held before, and from the shortcut as from the walker.
			a1, b1 := h.Charged()
			a2, b2 := fresh.Charged()
			if h.Outer != fresh.Outer || *h.Inner() != *fresh.Inner() || *a1 != *a2 || (b1 == nil) != (b2 == nil) || b1 != nil && *b1 != *b2 {
				return fmt.Sprintf("charge %d, trace %v: %s, and %s of the walker", charge, trace, show(&h.Outer), show(&fresh.Outer))
			}
			if charge == wire.ChargeOuter && (b1 != nil || a1 != &h.Outer && h.Depth() < 2) {
				return "a charge that nobody asked for"
			}
			if !trace && len(h.Layers()) != 0 {
				return "layers without Trace"
			}
		}
	}
	return ""
}

// sliceSize is how far apart the frames of a slice are.
var sliceSize = reflect.TypeFor[[]byte]().Size()

// plainAll holds PlainAll against Plain: frames that it decodes, Plain decodes alike. It returns what is wrong, "" if nothing.
func plainAll(frames [][]byte) string {
	var packets [64]wire.IP
	for _, charge := range []wire.Charge{wire.ChargeOuter, wire.ChargeInner} {
		d := charging(charge, false)
		for i := range packets {
			packets[i] = wire.IP{SrcPort: 9, DstPort: 9, Length: 9, Version: 9, Proto: 9, TCPFlags: 9, TTL: 9, Fragment: true, HasPorts: true}
		}
		n := min(len(frames), len(packets))
		if n == 0 {
			return ""
		}
		plain := d.PlainAll(&frames[0], sliceSize, n, packets[:])
		if plain>>(n-1)>>1 != 0 {
			return fmt.Sprintf("%d frames: %#x", n, plain)
		}
		for i, f := range frames[:n] {
			var ip wire.IP
			if plain>>i&1 != 0 && (!d.Plain(f, &ip) || packets[i] != ip) {
				return fmt.Sprintf("charge %d, frame %d, %x: all at once %s, alone %s", charge, i, f, show(&packets[i]), show(&ip))
			}
		}
	}
	return ""
}

// sound checks that the fields of one answer are in range and agree with each other.
func sound(code wire.Code, h *wire.Headers) string {
	switch {
	case code >= wire.NumCodes:
		return fmt.Sprintf("code %d", code)
	case code.Addressed() != (h.Outer.Version != 0), code.Addressed() != (h.Depth() > 0):
		return fmt.Sprintf("%v with version %d at depth %d", code, h.Outer.Version, h.Depth())
	case h.Depth() > wire.MaxIP:
		return fmt.Sprintf("depth %d", h.Depth())
	case !code.Addressed():
		return ""
	}
	a, b := h.Charged()
	for _, p := range []*wire.IP{&h.Outer, h.Inner(), a, b} {
		if p == nil {
			continue
		}
		mapped := [12]byte(p.Src[:12]) == v4Prefix && [12]byte(p.Dst[:12]) == v4Prefix
		ports := p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP || p.Proto == wire.ProtoSCTP
		switch {
		case p.Version != 4 && p.Version != 6, p.Version == 4 && !mapped, p.HasPorts && !ports,
			!p.HasPorts && (p.SrcPort != 0 || p.DstPort != 0), p.TCPFlags != 0 && p.Proto != wire.ProtoTCP,
			p.Length > 65535+40 && p.Version == 4:
			return "fields that do not agree: " + show(p)
		}
	}
	return ""
}

var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

// TestMutations holds the invariants, and so the shortcut against the walker, over frames cut everywhere and changed at random.
func TestMutations(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var h wire.Headers
	all := everyEncap()
	for _, w := range all {
		for n := 0; n <= len(w.frame); n++ {
			if s := invariants(w.linkType, w.frame[:n:n], &h); s != "" {
				t.Fatalf("%s cut to %d bytes: %s", w.name, n, s)
			}
		}
		frame := make([]byte, len(w.frame))
		for range 100 {
			copy(frame, w.frame)
			for range 1 + r.IntN(3) {
				frame[r.IntN(len(frame))] = byte(r.Uint32())
			}
			if s := invariants(w.linkType, frame, &h); s != "" {
				t.Fatalf("%s changed to %x: %s", w.name, frame, s)
			}
		}
	}
}

// TestShortcutIsTaken: the shapes that the shortcut is for do not fall through it.
func TestShortcutIsTaken(t *testing.T) {
	t.Parallel()
	for _, a := range [][2]string{inner4, inner6} {
		for name, start := range map[string]*packet{
			"ethernet": packetbuild.Ether(), "vlan": packetbuild.Ether().VLAN(7), "qinq": packetbuild.Ether().QinQ(7, 8),
			"8100 twice": packetbuild.Ether().VLAN(7).VLAN(8),
		} {
			icmp := func(p *packet) *packet {
				if version(a) == 6 {
					return p.ICMPv6(128, 0)
				}
				return p.ICMP(8, 0)
			}
			for _, f := range [][]byte{
				ip(start.Clone(), a).TCP(1025, 443, wire.FlagSYN).Pad(60).Bytes(), ip(start.Clone(), a).UDP(53, 4242).Pad(60).Bytes(), icmp(ip(start.Clone(), a)).Pad(60).Bytes(),
			} {
				taken(t, fmt.Sprintf("%s ipv%d", name, version(a)), f)
			}
		}
	}
}

// taken checks that the shortcut takes f, and says what the walker says.
func taken(t *testing.T, name string, f []byte) {
	t.Helper()
	var h, walked wire.Headers
	d := charging(wire.ChargeInner, false)
	if !d.Plain(f, &h.Outer) || d.Walk(wire.LinkEthernet, f, &walked) != wire.OK || h.Outer != walked.Outer {
		t.Errorf("%s: shortcut says %s, walker %s", name, show(&h.Outer), show(&walked.Outer))
	}
}

// TestPlainAll: bursts of any size in which plain frames and others are mixed; and the commonest shapes are decoded all at once.
func TestPlainAll(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	var pool [][]byte
	for _, w := range everyEncap() {
		if w.linkType == wire.LinkEthernet {
			pool = append(pool, w.frame)
		}
	}
	for _, n := range []int{1, 13, 14, 41, 42, 53, 54, 61, 62, 73, 74, 78, 82, 1500} {
		pool = append(pool, heads(n)...)
	}
	for range 3000 {
		frames := make([][]byte, r.IntN(65))
		for i := range frames {
			f := slices.Clone(pool[r.IntN(len(pool))])
			if r.IntN(2) == 0 {
				f[r.IntN(len(f))] = byte(r.Uint32())
			}
			frames[i] = f
		}
		if s := plainAll(frames); s != "" {
			t.Fatal(s)
		}
	}
	var d wire.Decoder
	if d.PlainAll(nil, 0, 0, nil) != 0 || d.PlainAll(&pool[0], sliceSize, 65, make([]wire.IP, 65)) != 0 {
		t.Error("no frame, or more than 64, are decoded")
	}
	if !wire.HasShapes {
		t.Skip("this processor or build decodes frames one by one")
	}
	var common [][]byte
	for _, a := range [][2]string{inner4, inner6} {
		for _, start := range []*packet{packetbuild.Ether(), packetbuild.Ether().VLAN(7)} {
			common = append(common, ip(start.Clone(), a).TCP(1025, 443, wire.FlagSYN).Bytes(), ip(start.Clone(), a).UDP(53, 4242).Pad(60).Bytes(),
				ip(start.Clone(), a).UDP(53, 4242).Payload(1400).Bytes(), ip(start.Clone(), a).ICMP(8, 0).Pad(60).Bytes())
		}
	}
	packets := make([]wire.IP, len(common))
	if got := d.PlainAll(&common[0], sliceSize, len(common), packets); got != 1<<len(common)-1 {
		t.Errorf("of %d common frames %#x are decoded", len(common), got)
	}
}

// heads are long frames of the shapes that the shortcut is for, cut to n bytes.
func heads(n int) (list [][]byte) {
	for _, a := range [][2]string{inner4, inner6} {
		for _, start := range []*packet{packetbuild.Ether(), packetbuild.Ether().VLAN(7), packetbuild.Ether().QinQ(7, 8)} {
			for _, p := range []*packet{
				ip(start.Clone(), a).TCP(1025, 443, wire.FlagSYN), ip(start.Clone(), a).UDP(53, 4242), ip(start.Clone(), a).UDP(1701, 1701),
			} {
				f := p.Payload(1400).Bytes()
				list = append(list, f[:min(n, len(f))])
			}
		}
	}
	return list
}

// TestHeads: a capture may end anywhere behind the headers, and the shortcut takes it; before that, both say that it is cut.
func TestHeads(t *testing.T) {
	t.Parallel()
	var h wire.Headers
	for n := range 200 {
		for i, f := range heads(n) {
			if s := invariants(wire.LinkEthernet, f, &h); s != "" {
				t.Fatalf("frame %d cut to %d bytes: %s", i, n, s)
			}
			if n >= 14+8+40+20 && i%3 != 2 { // the longest headers; L2TP is not plain
				taken(t, fmt.Sprintf("frame %d cut to %d bytes", i, n), f)
			}
		}
	}
}

// TestCapturesInvariants holds the invariants over every shared capture.
func TestCapturesInvariants(t *testing.T) {
	t.Parallel()
	dir, names := captures(t)
	var h wire.Headers
	plain, total := 0, 0
	for _, name := range names {
		for i, rec := range records(t, filepath.Join(dir, name), 4000) {
			if s := invariants(rec.LinkType, rec.Data, &h); s != "" {
				t.Errorf("%s: packet %d: %s", name, i+1, s)
			}
			if d := (&wire.Decoder{}); rec.LinkType == wire.LinkEthernet && d.Plain(rec.Data, &h.Outer) {
				plain++
			}
			total++
		}
	}
	t.Logf("%d of %d packets take the shortcut", plain, total)
}

func FuzzDecode(f *testing.F) {
	for _, w := range everyEncap() {
		f.Add(uint16(w.linkType), w.frame)
	}
	for _, n := range []int{42, 54, 62, 128} {
		for _, head := range heads(n) {
			f.Add(uint16(wire.LinkEthernet), head)
		}
	}
	f.Fuzz(func(t *testing.T, lt uint16, frame []byte) {
		var h wire.Headers
		if s := invariants(wire.LinkType(lt), frame, &h); s != "" {
			t.Fatal(s)
		}
		if s := invariants(wire.LinkEthernet, frame, &h); s != "" {
			t.Fatal(s)
		}
	})
}
