package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// BenchmarkTick measures a whole tick, merging included, with a million quiet hosts, half IPv4 and half IPv6: the target is 100 ms.
func BenchmarkTick(b *testing.B) {
	const hosts = 1 << 20
	set := settings(b, nil)
	now := base
	clock := func() int64 { return now.UnixNano() }
	seed := traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64)
	shard, err := traffic.NewShard(traffic.Config{Hosts: hosts + 1000}, seed, set.Nets, clock)
	if err != nil {
		b.Fatal(err)
	}
	m, err := merge.New(merge.DefaultConfig(), seed, set.Nets, clock)
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Add(shard); err != nil {
		b.Fatal(err)
	}
	var inSource time.Duration
	timed := &timedSource{m, &inSource}
	e, err := New(set, Deps{Source: timed, NewID: func() string { return "x" }})
	if err != nil {
		b.Fatal(err)
	}
	src := [2][16]byte{remote[0].As16(), remote[1].As16()}
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		half := shard.Poll()
		for i := range uint32(hosts) {
			// 198.51.100.0/24 is small: the rest of the hosts are IPv6.
			r := traffic.Record{Src: src[1], Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 1 + uint64(i%600), Bytes: 60000}}
			r.Dst = [16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
			half.AddRecord(traffic.InternalBoth, &r)
		}
		now = now.Add(time.Second)
		b.StartTimer()
		e.Tick(now)
	}
	b.ReportMetric(float64(inSource.Milliseconds())/float64(b.N), "ms-merge/op")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
	if n := e.View().Health.Hosts; n != hosts {
		b.Fatalf("%d hosts", n)
	}
}

type timedSource struct {
	Source
	spent *time.Duration
}

func (s *timedSource) Tick(now time.Time) (*merge.Snapshot, error) {
	began := time.Now()
	defer func() { *s.spent += time.Since(began) }()
	return s.Source.Tick(now)
}
