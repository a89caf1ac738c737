package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// packet is one record of a capture that a test writes.
type packet struct {
	time int64
	data []byte
}

func writePcap(tb testing.TB, link wire.LinkType, packets ...packet) string {
	tb.Helper()
	var buf bytes.Buffer
	w, err := pcapfile.NewWriter(&buf, link)
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range packets {
		if err := w.Write(p.time, uint32(len(p.data)), p.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, buf.Bytes())
}

func writeFile(tb testing.TB, b []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "capture")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// frames makes n packets, the first at time from, step apart.
func frames(from, step int64, n int) []packet {
	var ps []packet
	for i := range n {
		ps = append(ps, packet{from + int64(i)*step, porttest.Build(uint32(i), porttest.Shape{Flow: i, V6: i%2 == 1})})
	}
	return ps
}

func mustNew(tb testing.TB, cfg Config) *Port {
	tb.Helper()
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

func TestConformance(t *testing.T) {
	t.Parallel()
	porttest.Run(t, porttest.Driver{
		Recorded: func(t *testing.T, _ int, frames [][]byte) port.Config {
			t.Helper()
			var ps []packet
			for i, f := range frames {
				ps = append(ps, packet{int64(1e18) + int64(i), f})
			}
			return port.Config{Driver: "replay", Device: writePcap(t, wire.LinkEthernet, ps...)}
		},
		Missing: port.Config{Driver: "replay", Device: "/nonexistent/day.pcap"},
		Bad: []porttest.Bad{
			{
				Name: "speed", Config: port.Config{Device: "x", Options: map[string]any{"speed": "fast"}},
				Want: []string{"options.speed: ", `"fast"`},
			},
			{
				Name: "speed zero", Config: port.Config{Device: "x", Options: map[string]any{"speed": 0}},
				Want: []string{"options.speed: "},
			},
			{
				Name: "speed negative", Config: port.Config{Device: "x", Options: map[string]any{"speed": "-1"}},
				Want: []string{"options.speed: "},
			},
			{
				Name: "speed infinite", Config: port.Config{Device: "x", Options: map[string]any{"speed": "inf"}},
				Want: []string{"options.speed: "},
			},
			{
				Name: "files", Config: port.Config{Device: "x", Options: map[string]any{"files": "a"}},
				Want: []string{"options.files: "},
			},
			{
				Name: "memory", Config: port.Config{Device: "x", Options: map[string]any{"queue_memory": 10}},
				Want: []string{"options.queue_memory: 10"},
			},
			{Name: "queues", Config: port.Config{Device: "x", Queues: 1000}, Want: []string{"queues: 1000"}},
		},
	})
}

func TestSpeed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Speed{"max": Max, "real": Real, "1": Real, "0.5": 0.5, "100": 100} {
		got, err := ParseSpeed(text)
		if err != nil || got != want {
			t.Errorf("ParseSpeed(%q) = %v, %v; want %v", text, got, err, want)
		}
		if again, err := ParseSpeed(got.String()); err != nil || again != want {
			t.Errorf("%q does not survive String: %v, %v", text, again, err)
		}
	}
	for _, bad := range []string{"", "0", "-1", "nan", "inf", "quick", "1x"} {
		if s, err := ParseSpeed(bad); err == nil {
			t.Errorf("ParseSpeed(%q) = %v", bad, s)
		}
	}
}

// workers poll the queues of p, n of them, and count frames per tick of their own accord until stop.
type workers struct {
	wg    sync.WaitGroup
	stop  atomic.Bool
	count []atomic.Int64 // per worker
}

func work(p *Port, n int) *workers {
	w := &workers{count: make([]atomic.Int64, n)}
	for i := range n {
		w.wg.Go(func() {
			var b port.Burst
			for !w.stop.Load() {
				got := 0
				for j, q := range p.Queues() {
					if j%n != i {
						continue
					}
					if k := q.RxBurst(&b); k > 0 {
						got += k
						w.count[i].Add(int64(k))
						q.Release(&b)
					}
				}
				if got == 0 {
					time.Sleep(20 * time.Microsecond) // an idle worker's policy; nothing waits on it
				}
			}
		})
	}
	return w
}

func (w *workers) sum() int64 {
	var n int64
	for i := range w.count {
		n += w.count[i].Load()
	}
	return n
}

func (w *workers) end() {
	w.stop.Store(true)
	w.wg.Wait()
}

// Each tick sees exactly its own frames, whatever the number of workers, queues and link types.
func TestVirtualClockCutsExactly(t *testing.T) {
	t.Parallel()
	const base = int64(1_700_000_000_000_000_000)
	var ether, raw []packet
	perTick := []int64{5000, 0, 1, 300, 0, 0, 7000, 2}
	const tick = int64(time.Second)
	for i, n := range perTick {
		at := base + int64(i)*tick
		for _, p := range frames(at, tick/(n+1), int(n)) {
			ether = append(ether, p)
			raw = append(raw, packet{p.time, p.data[14:]})
		}
		if n > 1 { // one exactly on the end of the tick before, one a nanosecond before the end of this one
			ether[len(ether)-1].time = at + tick - 1
			raw[len(raw)-1].time = at + tick - 1
		}
	}
	one := writePcap(t, wire.LinkEthernet, ether...)
	two := writePcap(t, wire.LinkRaw, raw...)
	for _, tc := range []struct{ queues, workers int }{{1, 1}, {4, 4}, {4, 2}, {3, 1}} {
		t.Run(fmt.Sprintf("%d queues %d workers", tc.queues, tc.workers), func(t *testing.T) {
			t.Parallel()
			p := mustNew(t, Config{Files: []string{one, two}, Queues: tc.queues, Hold: true, QueueMemory: minQueueMemory})
			if n := len(p.Queues()); n != 2*tc.queues {
				t.Fatalf("%d queues for two link types", n)
			}
			if first, ok := p.Next(); !ok || first != base {
				t.Fatalf("first frame at %d, %v", first, ok)
			}
			w := work(p, tc.workers)
			defer w.end()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var got []int64
			var before int64
			for end := base + tick; ; end += tick {
				p.Advance(end)
				if err := p.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				got = append(got, w.sum()-before)
				before = w.sum()
				next, more := p.Next()
				if !more {
					break
				}
				if next < end || p.Last() >= end {
					t.Fatalf("after %d: last %d, next %d", end, p.Last(), next)
				}
			}
			// The second file begins before the end of the first, so it is shifted to begin there: its first tick
			// starts where the first file's last frame lies.
			var total int64
			for _, n := range got {
				total += n
			}
			if want := int64(len(ether) + len(raw)); total != want {
				t.Errorf("%d frames counted, want %d", total, want)
			}
			for i, n := range perTick[:len(perTick)-1] {
				if got[i] != n {
					t.Errorf("tick %d: %d frames, want %d (all: %v)", i, got[i], n, got)
				}
			}
			if !p.Drained() || p.Err() != nil || p.Stats().Dropped != 0 {
				t.Errorf("end: drained %v, err %v, stats %+v", p.Drained(), p.Err(), p.Stats())
			}
		})
	}
}

func TestTimesThatJump(t *testing.T) {
	t.Parallel()
	f := porttest.Build(0, porttest.Shape{})
	name := writePcap(t, wire.LinkEthernet, packet{1000, f}, packet{900, f}, packet{0, f}, packet{1100, f}, packet{500, f}, packet{1101, f})
	p := mustNew(t, Config{Files: []string{name, name}, Hold: true})
	w := work(p, 1)
	defer w.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// The second play of the file is shifted by 101, to begin where the first ended.
	for _, step := range []struct{ limit, count, next int64 }{
		{1000, 0, 1000}, {1001, 3, 1100}, {1100, 3, 1100}, {1101, 5, 1101}, {1102, 9, 1201}, {1202, 11, 1202}, {1203, 12, forever},
	} {
		p.Advance(step.limit)
		p.Advance(step.limit - 50) // a lower limit changes nothing
		if err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if next, _ := p.Next(); w.sum() != step.count || next != step.next {
			t.Fatalf("before %d: %d frames, next at %d; want %d, %d", step.limit, w.sum(), next, step.count, step.next)
		}
	}
	if _, more := p.Next(); more || p.Last() != 1202 {
		t.Errorf("at the end: more %v, last %d", more, p.Last())
	}
}

func TestSpeedPaces(t *testing.T) {
	t.Parallel()
	name := writePcap(t, wire.LinkEthernet, frames(1e18, int64(20*time.Millisecond), 11)...) // 200 ms
	long := writePcap(t, wire.LinkEthernet, frames(1e18, int64(time.Minute), 11)...)         // longer than Collect has patience
	for _, tc := range []struct {
		file  string
		speed Speed
		least time.Duration
	}{{long, Max, 0}, {name, Real, 190 * time.Millisecond}, {name, 4, 45 * time.Millisecond}, {long, 4000, 140 * time.Millisecond}} {
		begin := time.Now()
		p := mustNew(t, Config{Files: []string{tc.file}, Speed: tc.speed})
		got := porttest.Collect(t, p, 11)
		if took := time.Since(begin); len(got) != 11 || took < tc.least {
			t.Errorf("speed %v: %d frames in %v, want %v at least", tc.speed, len(got), took, tc.least)
		}
	}
	// Held, a limit beyond the next frame passes in its own time.
	p := mustNew(t, Config{Files: []string{name}, Speed: 2, Hold: true})
	w := work(p, 1)
	defer w.end()
	begin := time.Now()
	for _, limit := range []int64{1e18 + 1, 1e18 + 100e6} {
		p.Advance(limit)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took < 45*time.Millisecond {
		t.Errorf("100 ms at double speed took %v", took)
	}
	if w.sum() != 5 {
		t.Errorf("%d frames before the limit, want 5", w.sum())
	}
}

// Both directions and all fragments between two hosts are in one queue, and hosts are spread.
func TestQueueByAddresses(t *testing.T) {
	t.Parallel()
	const queues = 4
	var ps []packet
	for flow := range 200 {
		for i, s := range []porttest.Shape{{}, {Back: true}, {Fragment: true}, {Fragment: true, Back: true}, {Tags: []uint32{0x81000007}}} {
			s.Flow, s.V6 = flow, flow%2 == 1
			ps = append(ps, packet{int64(1e18) + int64(flow*10+i), porttest.Build(uint32(flow), s)})
		}
	}
	p := mustNew(t, Config{Files: []string{writePcap(t, wire.LinkEthernet, ps...)}, Queues: queues})
	where := map[uint32]int{}
	var load [queues]int
	got := porttest.Collect(t, p, len(ps))
	for _, g := range got {
		seq := porttest.Seq(g.Data)
		if q, ok := where[seq]; ok && q != g.Queue {
			t.Fatalf("flow %d is in queues %d and %d", seq, q, g.Queue)
		}
		where[seq] = g.Queue
		load[g.Queue]++
	}
	if len(got) != len(ps) {
		t.Fatalf("%d frames of %d", len(got), len(ps))
	}
	for q, n := range load {
		if n < len(ps)/queues/2 {
			t.Errorf("queue %d has %d frames of %d: %v", q, n, len(ps), load)
		}
	}
}

// One destination that many sources flood is spread too.
func TestFloodIsSpread(t *testing.T) {
	t.Parallel()
	var ps []packet
	for i := range 1000 {
		ps = append(ps, packet{1, porttest.Build(0, porttest.Shape{Flow: i, To: netip.MustParseAddr("192.0.2.1")})})
	}
	p := mustNew(t, Config{Files: []string{writePcap(t, wire.LinkEthernet, ps...)}, Queues: 4})
	porttest.Collect(t, p, len(ps))
	for i, q := range p.Stats().Queues {
		if q.Received < 150 {
			t.Errorf("queue %d got %d of %d", i, q.Received, len(ps))
		}
	}
}

// pcapng with several interfaces: a set of queues for each link type.
func TestPcapngWithSeveralLinkTypes(t *testing.T) {
	t.Parallel()
	f := porttest.Build(9, porttest.Shape{})
	var b []byte
	b = ngBlock(b, 0x0a0d0d0a, binary.LittleEndian.AppendUint64([]byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0}, ^uint64(0)))
	for _, link := range []byte{1, 101} {
		b = ngBlock(b, 1, []byte{link, 0, 0, 0, 0, 0, 4, 0})
	}
	for i, data := range [][]byte{f, f[14:], f, f[14:]} {
		le := binary.LittleEndian
		body := le.AppendUint32(nil, uint32(i%2))
		body = le.AppendUint32(body, 0)
		body = le.AppendUint32(body, uint32(1000+i)) // microseconds
		body = le.AppendUint32(body, uint32(len(data)))
		body = le.AppendUint32(body, uint32(len(data)))
		body = append(body, data...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		b = ngBlock(b, 6, body)
	}
	p := mustNew(t, Config{Files: []string{writeFile(t, b)}, Queues: 2})
	got := porttest.Collect(t, p, 4)
	if len(p.Queues()) != 4 || len(got) != 4 {
		t.Fatalf("%d queues and %d frames: %v", len(p.Queues()), len(got), p.Err())
	}
	for _, g := range got {
		link := p.Queues()[g.Queue].LinkType()
		if want := map[wire.LinkType]int{wire.LinkEthernet: len(f), wire.LinkRaw: len(f) - 14}[link]; len(g.Data) != want {
			t.Errorf("link type %d: frame of %d bytes, want %d", link, len(g.Data), want)
		}
	}
}

func ngBlock(b []byte, kind uint32, body []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, kind)
	b = le.AppendUint32(b, uint32(len(body)+12))
	b = append(b, body...)
	return le.AppendUint32(b, uint32(len(body)+12))
}

// A damaged file is played up to the damage, is reported with its name, and the next file is played.
func TestDamage(t *testing.T) {
	t.Parallel()
	good := writePcap(t, wire.LinkEthernet, frames(1e18, 1, 10)...)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := writeFile(t, whole[:len(whole)-7])
	p := mustNew(t, Config{Files: []string{cut, good}})
	if got := porttest.Collect(t, p, 19); len(got) != 19 {
		t.Errorf("%d frames, want 9 and 10", len(got))
	}
	waitErr := func() error {
		for deadline := time.Now().Add(porttest.Patience); p.Err() == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return p.Err()
	}
	if err := waitErr(); err == nil || !strings.Contains(err.Error(), cut) || p.Stats().Err != err.Error() {
		t.Errorf("err %v, stats %+v", err, p.Stats())
	}
	for name, b := range map[string][]byte{"empty": {}, "text": []byte("hello, this is no capture at all"), "header only half": whole[:20]} {
		if p, err := New(Config{Files: []string{good, writeFile(t, b)}}); err == nil {
			t.Errorf("%s: opened, and closed with %v", name, p.Close())
		}
	}
	// A capture without packets is a capture.
	p = mustNew(t, Config{Files: []string{writePcap(t, wire.LinkRaw)}, Hold: true})
	w := work(p, 1)
	defer w.end()
	p.Advance(1)
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, more := p.Next(); more || len(p.Queues()) == 0 {
		t.Errorf("an empty capture has more, or no queue")
	}
}

// A frame larger than a chunk, and a pipe instead of a file.
func TestPipeAndHugeFrame(t *testing.T) {
	t.Parallel()
	huge := make([]byte, 200<<10)
	ps := append(frames(5, 1, 3), packet{9, huge}, packet{10, frames(0, 0, 1)[0].data})
	whole, err := os.ReadFile(writePcap(t, wire.LinkEthernet, ps...))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(name, whole, 0) }()
	p := mustNew(t, Config{Files: []string{name}, QueueMemory: minQueueMemory})
	got := porttest.Collect(t, p, len(ps))
	if len(got) != len(ps) || len(got[3].Data) != len(huge) || !bytes.Equal(got[0].Data, ps[0].data) {
		t.Fatalf("%d frames: %v", len(got), p.Err())
	}
}

// Workers get frames without allocating.
func TestAllocs(t *testing.T) {
	name := writePcap(t, wire.LinkEthernet, frames(1e18, 1, 20000)...)
	p := mustNew(t, Config{Files: []string{name}})
	q := p.Queues()[0]
	var b port.Burst
	n := testing.AllocsPerRun(100, func() {
		if q.RxBurst(&b) > 0 {
			q.Release(&b)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a burst", n)
	}
}

func BenchmarkReplay(b *testing.B) {
	const n = 100_000
	name := writePcap(b, wire.LinkEthernet, frames(1e18, 1, n)...)
	b.ResetTimer()
	for b.Loop() {
		p := mustNew(b, Config{Files: []string{name}})
		var burst port.Burst
		q := p.Queues()[0]
		for got := 0; got < n; {
			k := q.RxBurst(&burst)
			if k > 0 {
				got += k
				q.Release(&burst)
			}
		}
		_ = p.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/frame")
}
