package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// load is traffic of one address family that exporters are given: packets, and their bytes as IP datagrams, as what frames hold behind
// the Ethernet header (short datagrams are padded), and as frames without FCS.
type load struct {
	packets, ip, padded, frame uint64
}

func (l *load) add(o load) {
	l.packets, l.ip, l.padded, l.frame = l.packets+o.packets, l.ip+o.ip, l.padded+o.padded, l.frame+o.frame
}

// times is a load that a sampling exporter saw one part of.
func (l load) times(n uint64) load {
	return load{l.packets * n, l.ip * n, l.padded * n, l.frame * n}
}

// loads are IPv4 and IPv6.
type loads struct {
	v4, v6 load
}

func (l loads) all() load {
	l.v4.add(l.v6)
	return l.v4
}

func (l *loads) count(f *gen.Frame) {
	one := load{1, uint64(f.Outer.Length), uint64(len(f.Data) - etherLen), uint64(len(f.Data))}
	if f.Outer.Src.Is4() {
		l.v4.add(one)
	} else {
		l.v6.add(one)
	}
}

// ipOnly keeps what flow exporters can report.
func ipOnly(f *gen.Frame) bool { return f.Outer != nil }

// v4Only keeps IPv6 out.
func v4Only(f *gen.Frame) bool { return f.Outer != nil && f.Outer.Src.Is4() }

// wholeOnly keeps fragments out, too: pmacctd looks for the first fragment of each datagram, and leaves out those that it does not find.
func wholeOnly(f *gen.Frame) bool { return f.Outer != nil && !f.Outer.Fragment }

// every is how many packets softflowd counts for one when it samples: it takes the first, the eleventh and so on.
const every = 10

// capture writes the frames that keep lets through to a file, and says what is in it, and what is in one of ten of them. With answers,
// each packet with ports has one in the opposite direction, so that flows have two.
func capture(t *testing.T, path string, s gen.Scenario, keep func(*gen.Frame) bool, answers bool) (l, tenth loads) {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w, err := pcapfile.NewWriter(out, wire.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gen.New(s)
	if err != nil {
		t.Fatal(err)
	}
	write := func(f *gen.Frame, at int64) {
		if l.all().packets%every == 0 {
			tenth.count(f)
		}
		l.count(f)
		if err := w.Write(at, uint32(len(f.Data)), f.Data); err != nil {
			t.Fatal(fmt.Errorf("write %s: %w", path, err))
		}
	}
	for f := new(gen.Frame); g.Next(f); {
		if !keep(f) {
			continue
		}
		write(f, f.Time)
		if answers && f.Outer.HasPorts && !f.Outer.Fragment {
			turn(f)
			write(f, f.Time+1000)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return l, tenth
}

// etherLen is the length of an Ethernet header.
const etherLen = 14

// turn exchanges addresses and ports of a frame without tags, tunnels, IPv4 options and extension headers. Checksums do not change by that.
func turn(f *gen.Frame) {
	ip := f.Data[etherLen:]
	addrs, size, ports := ip[12:], 4, ip[20:]
	if f.Outer.Src.Is6() {
		addrs, size, ports = ip[8:], 16, ip[40:]
	}
	swap := func(b []byte, n int) {
		for i := range n {
			b[i], b[n+i] = b[n+i], b[i]
		}
	}
	swap(addrs, size)
	swap(ports, 2)
}
