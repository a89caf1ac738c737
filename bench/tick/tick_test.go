package tick

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

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

func TestMedian(t *testing.T) {
	if got := median([]float64{5, 9, 7}, nil); got != 7 {
		t.Error(got)
	}
	if got := median([]float64{5, 9, 7}, []float64{5, 1, 9}); got != 0 {
		t.Error(got)
	}
}

// BenchmarkLoaded is one case by its name, a minute each: go test -run xxx -bench Loaded/1M-IPv4 -benchtime 1x ./bench/tick
func BenchmarkLoaded(b *testing.B) {
	for _, millions := range []int{1, 4} {
		for i, c := range LoadedCases(millions<<20, 8) {
			b.Run(fmt.Sprintf("%dM-%s", millions, [2]string{"IPv4", "IPv6"}[i]), func(b *testing.B) {
				for b.Loop() {
					r, err := RunLoaded(c)
					if err != nil {
						b.Fatal(err)
					}
					b.Logf("%+v", r)
				}
			})
		}
	}
}

// TestLoaded: the worker and the tick work side by side, and no packet is missing, or RunLoaded says so.
func TestLoaded(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("the worker and the tick need a processor each")
	}
	for _, c := range LoadedCases(1<<14, 2) {
		c.Every = 50 * time.Millisecond
		r, err := RunLoaded(c)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if len(r.Times) != 2 || r.Fewest == 0 || r.Fewest > c.Hosts || r.Alone.Rate <= 0 || r.Ticked.Rate <= 0 || r.Ticked.Longest <= 0 ||
			r.Paced.Offered <= 0 || r.PacedAlone.Offered <= 0 || r.Polled.Offered <= 0 || r.Paced.Rate <= 0 || r.Polled.Rate != 0 {
			t.Errorf("%+v", r)
		}
		t.Logf("%+v", r)
	}
}
