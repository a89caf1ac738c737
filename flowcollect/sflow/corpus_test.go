package sflow

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// shared is the folder of captures that is not part of the repository.
func shared(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("WEIR_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "data", "flow")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("captures are not here (WEIR_SHARED): %v", err)
	}
	return dir
}

// payloads reads the UDP payloads of a capture of raw or Ethernet IPv4 datagrams.
func payloads(t testing.TB, path string) (out []udp) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b := rec.Data
		if len(b) > 14 && b[0]>>4 != 4 {
			b = b[14:]
		}
		if len(b) < 28 || b[9] != 17 {
			continue
		}
		b = b[int(b[0]&15)*4:]
		if size := int(binary.BigEndian.Uint16(b[4:])); size < len(b) {
			b = b[:size]
		}
		out = append(out, udp{binary.BigEndian.Uint16(b[2:]), append([]byte(nil), b[8:]...)})
	}
}

type udp struct {
	port    uint16
	payload []byte
}

// sums adds up records as INDEX.tsv does: scaled by each sample's rate.
type sums struct{ packets, bytes uint64 }

func (s *sums) Record(r *record.Record) {
	if r.Kind == record.SectionTunnel || r.Kind == record.Discard {
		return
	}
	s.packets += r.Scale(r.Packets)
	s.bytes += r.Scale(r.Bytes)
}

func decodeFile(t testing.TB, path string) (st record.Stats, s sums) {
	d := New(Config{}, nil)
	for _, u := range payloads(t, path) {
		if len(u.payload) >= 4 && binary.BigEndian.Uint32(u.payload) > 5 {
			continue // NetFlow of a mixed capture: its version is 16 bits
		}
		d.Decode(&record.Datagram{Payload: u.payload}, &st, &s)
	}
	return st, s
}

// TestCorpus holds the sums over each capture of sFlow against the index.
func TestCorpus(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	f, err := os.Open(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	groups := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		col := strings.Split(sc.Text(), "\t")
		if len(col) < 8 || !strings.Contains(col[1], "sF5") {
			continue
		}
		groups++
		t.Run(col[0], func(t *testing.T) {
			st, s := decodeFile(t, filepath.Join(dir, col[0]+".pcap"))
			counters := "0"
			if col[6] != "" {
				counters = col[6]
			}
			got := fmt.Sprintf("%d datagrams, %d/0 records, %d counters, %d/%d", st.Datagrams, st.Records, st.CounterSamples, s.bytes, s.packets)
			want := fmt.Sprintf("%s datagrams, %s records, %s counters, %s", col[3], col[5], counters, col[7])
			if strings.Contains(col[1], "+") { // five of the datagrams, all seven records, are NetFlow v5
				want = "25 datagrams, 0/0 records, 144 counters, 0/0"
			}
			if got != want {
				t.Errorf("got  %s\nwant %s\ncodes %v", got, want, codes(&st))
			}
		})
	}
	if groups < 20 {
		t.Errorf("the index has %d sFlow groups", groups)
	}
}

// codes are the counters that are not zero.
func codes(st *record.Stats) map[string]uint64 {
	m := make(map[string]uint64)
	for c, n := range st.Codes {
		if n > 0 {
			m[record.Code(c).String()] = n
		}
	}
	return m
}

// TestGenerated: captures of real exporters with known input.
func TestGenerated(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shared(t), "generated")
	for _, c := range []struct {
		name                    string
		records, counterSamples uint64
		sums                    sums
	}{
		{"pm-sf", 379, 0, sums{1516, 980232}},
		{"ovs-1", 352, 32, sums{1408, 306896}},
	} {
		st, s := decodeFile(t, filepath.Join(dir, c.name+".pcap"))
		if st.Records != c.records || st.CounterSamples != c.counterSamples || s != c.sums || st.Codes[record.OK] != st.Datagrams {
			t.Errorf("%s: %d records, %d counter samples, %+v, %v", c.name, st.Records, st.CounterSamples, s, codes(&st))
		}
	}
}
