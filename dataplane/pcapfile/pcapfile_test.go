package pcapfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// shared returns the folder of the shared captures, or skips.
func shared(t testing.TB) string {
	t.Helper()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../../shared"
	}
	dir := filepath.Join(root, "data", "pcap")
	if _, err := os.Stat(filepath.Join(dir, "INDEX.tsv")); err != nil {
		t.Skipf("shared captures are not here (%v); set WEIR_SHARED", err)
	}
	return dir
}

func readAll(t testing.TB, src io.Reader) ([]Record, error) {
	t.Helper()
	r, err := NewReader(src)
	if err != nil {
		return nil, err
	}
	var recs []Record
	for {
		rec, err := r.Next()
		if err != nil {
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("error is not sticky: %v, then %v", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			return recs, err
		}
		rec.Data = bytes.Clone(rec.Data)
		recs = append(recs, rec)
	}
}

type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var orders = map[string]order{"little": binary.LittleEndian, "big": binary.BigEndian}

func classic(o order, magic uint32, link uint32, recs ...[]byte) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(b, 65535)
	b = o.AppendUint32(b, link)
	for _, r := range recs {
		b = append(b, r...)
	}
	return b
}

func classicRec(o order, sec, frac, capLen, wireLen uint32, extra int, data string) []byte {
	var b []byte
	for _, v := range []uint32{sec, frac, capLen, wireLen} {
		b = o.AppendUint32(b, v)
	}
	return append(append(b, make([]byte, extra)...), data...)
}

func TestClassic(t *testing.T) {
	t.Parallel()
	for name, o := range orders {
		for _, tc := range []struct {
			name  string
			magic uint32
			extra int
			unit  int64
		}{{"us", magicMicros, 0, 1000}, {"ns", magicNanos, 0, 1}, {"modified", magicModified, 8, 1000}} {
			t.Run(name+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				// The link type's upper half carries FCS flags and must not leak into it.
				file := classic(o, tc.magic, 0x44000000|113,
					classicRec(o, 7, 999_999, 3, 60, tc.extra, "abc"),
					classicRec(o, 4294967295, 1, 0, 0, tc.extra, ""),
					classicRec(o, 8, 0, 4, 2, tc.extra, "wxyz")) // wire length below the captured one
				got, err := readAll(t, bytes.NewReader(file))
				if err != nil {
					t.Fatal(err)
				}
				want := []Record{
					{7e9 + 999_999*tc.unit, 60, []byte("abc"), 113},
					{4294967295e9 + tc.unit, 0, nil, 113},
					{8e9, 4, []byte("wxyz"), 113},
				}
				equal(t, got, want)
			})
		}
	}
}

func equal(t *testing.T, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if g.Time != w.Time || g.WireLen != w.WireLen || g.LinkType != w.LinkType || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("record %d: got %+v, want %+v", i, g, w)
		}
	}
}

// ng builds pcapng files.
type ng struct {
	order
	b []byte
}

func (g *ng) block(kind uint32, body []byte) *ng {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	g.b = g.AppendUint32(g.b, kind)
	g.b = g.AppendUint32(g.b, n)
	g.b = append(g.b, body...)
	g.b = g.AppendUint32(g.b, n)
	return g
}

func (g *ng) section() *ng {
	b := g.AppendUint32(nil, byteOrderMagic)
	b = g.AppendUint16(b, 1)
	b = g.AppendUint16(b, 0)
	b = g.AppendUint64(b, math.MaxUint64)
	return g.block(magicNG, b)
}

func (g *ng) iface(link uint16, snap uint32, opts ...[]byte) *ng {
	b := g.AppendUint16(nil, link)
	b = g.AppendUint16(b, 0)
	b = g.AppendUint32(b, snap)
	return g.block(blockInterface, append(b, bytes.Join(opts, nil)...))
}

func (g *ng) opt(code uint16, v []byte) []byte {
	b := g.AppendUint16(nil, code)
	b = append(g.AppendUint16(b, uint16(len(v))), v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (g *ng) packet(kind, id uint32, ticks uint64, wireLen uint32, data string) *ng {
	var b []byte
	if kind == blockPacket {
		b = g.AppendUint16(b, uint16(id))
		b = g.AppendUint16(b, 99) // drops
	} else {
		b = g.AppendUint32(b, id)
	}
	b = g.AppendUint32(b, uint32(ticks>>32))
	b = g.AppendUint32(b, uint32(ticks))
	b = g.AppendUint32(b, uint32(len(data)))
	b = g.AppendUint32(b, wireLen)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return g.block(kind, append(b, g.opt(1, []byte("comment"))...))
}

func (g *ng) simple(wireLen uint32, data string) *ng {
	return g.block(blockSimple, append(g.AppendUint32(nil, wireLen), data...))
}

func TestNG(t *testing.T) {
	t.Parallel()
	for name, o := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &ng{order: o}
			g.section().
				iface(1, 0).
				iface(113, 3, g.opt(9, []byte{9}), g.opt(14, o.AppendUint64(nil, 100)), g.opt(0, nil), g.opt(9, []byte{3})).
				iface(101, 0, g.opt(9, []byte{0x80 | 10})).
				block(4, []byte("names are skipped")).
				packet(blockEnhanced, 0, 1_500_000, 60, "abcde").
				block(0x0badcafe, make([]byte, 100_000)).
				packet(blockPacket, 1, 7, 4, "old").
				packet(blockEnhanced, 2, 1024+512, 1, "xyz").
				simple(5, "hello")
			// A second section in the other byte order, with its own interfaces.
			other := orders["big"]
			if name == "big" {
				other = orders["little"]
			}
			h := &ng{order: other, b: g.b}
			h.section().iface(276, 3).simple(60, "abc").packet(blockEnhanced, 0, 1, 9, "q")
			got, err := readAll(t, bytes.NewReader(h.b))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, []Record{
				{1_500_000_000, 60, []byte("abcde"), 1},
				{100e9 + 7, 4, []byte("old"), 113},
				{1_500_000_000, 3, []byte("xyz"), 101},
				{0, 5, []byte("hello"), 1},
				{0, 60, []byte("abc"), 276},
				{1000, 9, []byte("q"), 276},
			})
		})
	}
}

func TestNanoseconds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ticks  uint64
		resol  uint8
		offset int64
		want   int64
	}{
		{1, 0, 0, 1e9},
		{1, 6, 0, 1000},
		{1, 9, 0, 1},
		{1999, 12, 0, 1},
		{math.MaxUint64, 127, 0, 0},
		{math.MaxUint64, 0, 0, math.MaxInt64},
		{3, 0x80, 0, 3e9},
		{3, 0x81, 0, 1_500_000_000},
		{math.MaxUint64, 0x80 | 64, 0, 999_999_999},
		{math.MaxUint64, 0xff, 0, 0},
		{math.MaxUint64, 0x80, 0, math.MaxInt64},
		{5, 9, -1, 5 - 1e9},
		{0, 9, math.MaxInt64, math.MaxInt64},
		{0, 9, math.MinInt64, math.MinInt64},
		{math.MaxInt64, 9, 1, math.MaxInt64},
	} {
		if got := nanoseconds(tc.ticks, tc.resol, tc.offset); got != tc.want {
			t.Errorf("nanoseconds(%d, %#x, %d) = %d, want %d", tc.ticks, tc.resol, tc.offset, got, tc.want)
		}
	}
}

func TestBad(t *testing.T) {
	t.Parallel()
	le := orders["little"]
	section := func() *ng { return (&ng{order: le}).section() }
	cutBlock := section().iface(1, 0).packet(blockEnhanced, 0, 0, 3, "abc")
	wrongEnd := section().iface(1, 0)
	wrongEnd.b[len(wrongEnd.b)-4]++
	for _, tc := range []struct {
		name string
		file []byte
		want error
		text string
		recs int
	}{
		{"empty", nil, io.ErrUnexpectedEOF, "offset 0", 0},
		{"three bytes", []byte{1, 2, 3}, io.ErrUnexpectedEOF, "offset 3", 0},
		{"not a capture", []byte("GIF89a..........................."), ErrFormat, "neither", 0},
		{"cut header", classic(le, magicNanos, 1)[:20], io.ErrUnexpectedEOF, "offset 20", 0},
		{"version", append(le.AppendUint32(nil, magicNanos), make([]byte, 20)...), ErrFormat, "version 0.0", 0},
		{"cut record header", classic(le, magicNanos, 1, classicRec(le, 1, 1, 1, 1, 0, "x"), []byte{1, 2}), io.ErrUnexpectedEOF, "offset 43", 1},
		{"cut record", classic(le, magicNanos, 1, classicRec(le, 1, 1, 1, 1, 0, "x"), classicRec(le, 1, 1, 9, 9, 0, "y")), io.ErrUnexpectedEOF, "record at offset 41", 1},
		{"giant record", classic(le, magicNanos, 1, classicRec(le, 1, 1, 1<<31, 9, 0, "y")), ErrFormat, "record at offset 24 claims 2147483648", 0},
		{"ng cut", cutBlock.b[:len(cutBlock.b)-1], io.ErrUnexpectedEOF, "block at offset 48", 0},
		{"ng no order", append(le.AppendUint32(nil, magicNG), make([]byte, 40)...), ErrFormat, "byte-order", 0},
		{"ng short block", append(section().b, le.AppendUint32(le.AppendUint32(nil, 5), 8)...), ErrFormat, "offset 28 claims a length of 8", 0},
		{"ng end length", wrongEnd.b, ErrFormat, "ends with", 0},
		{"ng unknown interface", section().iface(1, 0).packet(blockEnhanced, 1, 0, 3, "abc").b, ErrFormat, "interface 1 of 1", 0},
		{"ng simple without interface", section().simple(3, "abc").b, ErrFormat, "before any interface", 0},
		{"ng huge unknown block", append(section().b, le.AppendUint32(le.AppendUint32(nil, 77), math.MaxUint32)...), io.ErrUnexpectedEOF, "block at offset 28", 0},
		{"ng capture longer than its block", section().iface(1, 0).block(blockEnhanced, append(make([]byte, 12), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)).b, ErrFormat, "claims 4294967295 bytes", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			recs, err := readAll(t, bytes.NewReader(tc.file))
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %q, want a %q that says %q", err, tc.want, tc.text)
			}
			if len(recs) != tc.recs {
				t.Errorf("%d records before the error, want %d", len(recs), tc.recs)
			}
		})
	}
}

func TestInterfacesAreBounded(t *testing.T) {
	t.Parallel()
	g := (&ng{order: orders["little"]}).section()
	for range maxInterfaces + 1 {
		g.iface(1, 0)
	}
	if _, err := readAll(t, bytes.NewReader(g.b)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "interfaces") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestWriterRoundTrip(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	w, err := NewWriter(&file, wire.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{1_700_000_000_123_456_789, 1500, []byte("abc"), wire.LinkEthernet},
		{0, 0, nil, wire.LinkEthernet},
		{4294967295_999_999_999, MaxRecord, bytes.Repeat([]byte{7}, MaxRecord), wire.LinkEthernet},
	}
	for _, r := range want {
		if err := w.Write(r.Time, r.WireLen, r.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(0, 0, make([]byte, MaxRecord+1)); err == nil {
		t.Error("a record over the limit was written")
	}
	if err := w.Write(-1, 0, nil); err == nil {
		t.Error("a negative time was written")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, &file)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}

// TestShared reads every shared capture and compares counts with its index.
func TestShared(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(index)), "\n")[1:]
	for _, line := range lines {
		f := strings.Split(line, "\t")
		r, err := Open(filepath.Join(dir, f[0]))
		if err != nil {
			t.Error(err)
			continue
		}
		var n, bytes, longest uint64
		for {
			rec, err := r.Next()
			if err != nil {
				// One capture ends in a record whose header was fuzzed; the index counts the records before it.
				if broken := strings.Contains(f[7], "!badrec"); broken != errors.Is(err, ErrFormat) || !broken && err != io.EOF {
					t.Errorf("%s: record %d: %v", f[0], n, err)
				}
				break
			}
			n++
			bytes += uint64(rec.WireLen)
			longest = max(longest, uint64(rec.WireLen))
		}
		r.Close()
		for i, got := range map[int]uint64{2: n, 3: bytes, 4: longest} {
			if want, _ := strconv.ParseUint(f[i], 10, 64); got != want {
				t.Errorf("%s: column %d: got %d, want %d", f[0], i, got, want)
			}
		}
	}
	if len(lines) < 70 {
		t.Errorf("only %d captures in the index", len(lines))
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	if _, err := Open(filepath.Join(t.TempDir(), "none.pcap")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.pcap")
	if err := os.WriteFile(bad, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bad); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), bad) {
		t.Errorf("got %v, want a format error that names the file", err)
	}
}

func FuzzReader(f *testing.F) {
	for _, o := range orders {
		f.Add(classic(o, magicMicros, 1, classicRec(o, 1, 2, 3, 4, 0, "abc")))
		f.Add(classic(o, magicModified, 1, classicRec(o, 1, 2, 3, 4, 8, "abc")))
		g := (&ng{order: o}).section()
		f.Add(g.iface(1, 0, g.opt(9, []byte{0x8a})).packet(blockEnhanced, 0, 9, 9, "abc").packet(blockPacket, 0, 9, 9, "abc").simple(3, "abc").b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		recs, err := readAll(t, bytes.NewReader(file))
		total := 0
		for _, r := range recs {
			total += len(r.Data)
			if len(r.Data) > MaxRecord || int(r.WireLen) < len(r.Data) {
				t.Fatalf("record of %d bytes, wire length %d", len(r.Data), r.WireLen)
			}
		}
		if total > len(file) {
			t.Fatalf("%d bytes of records from a file of %d (%v)", total, len(file), err)
		}
	})
}
