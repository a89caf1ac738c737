package tick

import "testing"

// TestCases runs every case with fewer hosts: Run itself fails when a host or an attack is missing.
func TestCases(t *testing.T) {
	for _, c := range Cases(1<<15, 3) {
		r, err := Run(c)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		want := c.Ticks
		if c.Attacked > 0 {
			want--
		}
		if len(r.Times) != want || len(r.Merges) != want || len(r.CPU) != want || r.CPU[0] <= 0 || r.Times[0] <= r.Merges[0] || r.BytesPerHost <= 0 || (r.First > 0) != (c.Attacked > 0) {
			t.Errorf("%+v", r)
		}
	}
}

// BenchmarkMillion is for profiles: go test -run xxx -bench Million -cpuprofile p ./bench/tick
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		for _, c := range Cases(1<<20, 5) {
			r, err := Run(c)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("%+v", r)
		}
	}
}
