package memory

import (
	"os"
	"testing"
)

// TestCases runs every case briefly: the measurement itself must not rot.
func TestCases(t *testing.T) {
	for _, c := range append(Cases(1), Case{Hosts: 1 << 16, Flows: true, Fresh: true, Epochs: 1}, Case{Hosts: 1 << 16, IPv6: true, Flows: true, Fresh: true, Epochs: 1}) {
		if c.Hosts > 1<<16 {
			continue
		}
		c.Packets = 1 << 17
		r, err := Run(c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Best <= 0 || r.Median < r.Best || r.Plain <= 0 || r.Tick <= 0 || r.TickRows == 0 || r.TickRows > c.Hosts {
			t.Errorf("%+v", r)
		}
	}
}

// BenchmarkTable prints the whole table once: go test -bench Table -benchtime 1x ./bench/memory
func BenchmarkTable(b *testing.B) {
	for b.Loop() {
		if err := Table(os.Stdout, Cases(5)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQuick measures the target case of DESIGN.md 8 and what it is made of.
func BenchmarkQuick(b *testing.B) {
	for b.Loop() {
		for _, c := range []Case{{Hosts: 1, Flows: false}, {Hosts: 1, Flows: true}, {Hosts: 1 << 20, Flows: false}, {Hosts: 1 << 20, Flows: true}} {
			c.Packets, c.Epochs = LineRate, 2
			if err := Table(os.Stdout, []Case{c}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkMillion is for profiles of the target case: go test -run xxx -bench Million -benchtime 1x -cpuprofile p ./bench/memory
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		if err := Table(os.Stdout, []Case{{Hosts: 1 << 20, Flows: true, Packets: LineRate, Epochs: 8}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProfile is the mix that the product is compiled for (make pgo): both families, one host and many, with flows and without.
func BenchmarkProfile(b *testing.B) {
	var cases []Case
	for _, c := range Cases(2) {
		if c.Hosts == 1 || c.Hosts == 1<<20 {
			c.Packets = LineRate / 2
			cases = append(cases, c)
		}
	}
	for b.Loop() {
		if err := Table(os.Stdout, cases); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFresh is what `versus` has with 1 M hosts: few packets a host and epoch, each a new flow.
func BenchmarkFresh(b *testing.B) {
	for b.Loop() {
		for _, v6 := range []bool{false, true} {
			if err := Table(os.Stdout, []Case{{Hosts: 1 << 20, IPv6: v6, Flows: true, Fresh: true, Packets: 1_400_000, Epochs: 24}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
