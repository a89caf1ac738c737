//go:build linux

package snabb

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

func TestConformance(t *testing.T) {
	for name, opts := range map[string]map[string]any{
		"default": nil, "small": {"slots": 1024, "memory": 512, "snap": 1600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			porttest.Run(t, porttest.Driver{
				Live: func(t *testing.T, _ int) porttest.Device { return newEmulation(t).live(opts) },
				Missing: port.Config{
					Driver: "snabb", Device: "0000:09:00.0", Options: map[string]any{"socket": newEmulation(t).socket},
				},
				Bad: bad(),
			})
		})
	}
}

func bad() []porttest.Bad {
	var all []porttest.Bad
	for key, values := range map[string][]any{
		"socket": {"", "weir.sock", "/" + strings.Repeat("x", 107), 1}, "slots": {63, 96, 2 << 20, "1k"},
		"memory": {32, 96, 2 << 20}, "snap": {63, 16385},
	} {
		for _, v := range values {
			all = append(all, porttest.Bad{
				Name:   fmt.Sprint(key, " ", v),
				Config: port.Config{Device: "x", Options: map[string]any{key: v}}, Want: []string{"options." + key + ": "},
			})
		}
	}
	return append(all,
		porttest.Bad{Name: "space", Config: port.Config{Device: "0000:01:00.0 "}, Want: []string{"device: "}},
		porttest.Bad{Name: "long name", Config: port.Config{Device: strings.Repeat("1", 64)}, Want: []string{"device: "}},
		porttest.Bad{Name: "too many queues", Config: port.Config{Device: "x", Queues: 17}, Want: []string{"queues: 17"}},
		porttest.Bad{
			Name: "too much memory", Want: []string{"in total are too many"},
			Config: port.Config{Device: "x", Queues: 16, Options: map[string]any{"memory": 1 << 20}},
		})
}

func opened(tb testing.TB, cfg port.Config) port.Port {
	tb.Helper()
	p, err := port.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// What keeps a port from opening is said, and what to do.
func TestOpenSaysWhy(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	taken := newEmulation(t)
	opened(t, taken.config(nil))
	hung := newEmulation(t)
	hung.setHung(true)
	for want, cfg := range map[string]port.Config{
		"does snabb firehose run":                    e.config(map[string]any{"socket": e.socket + "2"}),
		"there is no 0000:04:00.0, only 0000:01:00.": {Driver: "snabb", Device: "0000:04:00.0", Options: map[string]any{"socket": e.socket}},
		"0000:03:00.0 has a reader":                  taken.config(nil),
		"the NIC is not polled by Snabb":             hung.config(nil),
	} {
		p, err := port.Open(cfg)
		if err == nil {
			t.Fatalf("%s: opened, and closed with %v", want, p.Close())
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// Long frames are cut to the snap length and count whole; slots and data wrap many times, at all lengths.
func TestSnapAndWrap(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	p := opened(t, e.config(map[string]any{"snap": 200, "slots": 64, "memory": 64}))
	for i := range uint32(3000) {
		f := porttest.Build(i, porttest.Shape{Size: 60 + int(i)%900, V6: i%2 == 1})
		if _, err := e.send([][]byte{f}); err != nil {
			t.Fatal(err)
		}
		got := porttest.Collect(t, p, 1)
		if len(got) != 1 || int(got[0].WireLen) != len(f) || !bytes.Equal(got[0].Data, f[:min(len(f), 200)]) {
			t.Fatalf("frame %d of %d bytes: %+v", i, len(f), got)
		}
	}
	if s := p.Stats(); s.Queues[0].Received != 3000 || s.Queues[0].Dropped != 0 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// until polls for what must come, and polls the port's queues meanwhile.
func until(t *testing.T, p port.Port, what string, ok func(port.Stats) bool) {
	t.Helper()
	var b port.Burst
	for deadline := time.Now().Add(2 * porttest.Patience); !ok(p.Stats()); time.Sleep(time.Millisecond) {
		for _, q := range p.Queues() {
			if q.RxBurst(&b) > 0 {
				q.Release(&b)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time: %+v", what, p.Stats())
		}
	}
}

// What was in the rings of a process that ends is read first; every frame that a process counted is received or dropped.
func TestNothingIsLostUncounted(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	p := opened(t, e.config(map[string]any{"slots": 256}))
	frames := make([][]byte, 200)
	for i := range frames {
		frames[i] = porttest.Build(uint32(i), porttest.Shape{V6: i%2 == 1})
	}
	send := func() {
		t.Helper()
		if _, err := e.send(frames); err != nil {
			t.Fatal(err)
		}
	}
	total := func(s port.Stats) uint64 { return s.Queues[0].Received + s.Queues[0].Dropped + s.Dropped }

	send() // 200 in the ring when it ends
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	if got := porttest.Collect(t, p, 200); len(got) != 200 {
		t.Fatalf("%d frames left by a process that ended", len(got))
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	until(t, p, "return", func(s port.Stats) bool { return s.Reopens == 1 })

	send() // 256 of 400 fit
	send()
	e.setHung(true)
	until(t, p, "hang", func(s port.Stats) bool { return strings.Contains(s.Err, "does not poll") })
	e.mu.Lock()
	e.missed += 33 // while nobody was attached
	e.hung = false
	e.mu.Unlock()
	until(t, p, "return", func(s port.Stats) bool { return s.Reopens == 2 })
	if s := p.Stats(); total(s) != 633 {
		t.Errorf("%d frames are accounted for, not 633: %+v", total(s), s)
	}

	send() // nobody reads them at all
	if err := e.end(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * porttest.Patience); p.Stats().Err == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", p.Stats())
		}
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	until(t, p, "return", func(s port.Stats) bool { return s.Reopens == 3 })
	if s := p.Stats(); total(s) != 833 || s.Dropped < 233 {
		t.Errorf("%d frames are accounted for, not 833: %+v", total(s), s)
	}
}

// damage lets a test write to the memory as the other process could.
func (e *emulation) damage(f func(m *link.Memory)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.feed.m)
}

// A descriptor that makes no sense is skipped and counted as dropped; its neighbours arrive.
func TestHostileDescriptors(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(d *link.Desc){
		"line":      func(d *link.Desc) { d.Line = 1 << 31 },
		"last line": func(d *link.Desc) { d.Line = (1<<20)/link.Line - 1; d.Keep, d.Wire = 65, 65 },
		"keep":      func(d *link.Desc) { d.Keep = 1 << 31; d.Wire = 1 << 31 },
		"overflow":  func(d *link.Desc) { d.Line, d.Keep = 1<<32-1, 1<<32-1 },
		"wire":      func(d *link.Desc) { d.Wire = 1 << 20 },
		"wire less": func(d *link.Desc) { d.Wire = d.Keep - 1 },
		"mark":      func(d *link.Desc) { d.Mark++ },
	} {
		e := newEmulation(t)
		p := opened(t, e.config(nil))
		e.mu.Lock()
		q := e.feed.queues[0]
		for i := range uint32(3) {
			q.put(e.feed.m, 0, porttest.Build(i, porttest.Shape{V6: i == 2}))
		}
		change(&q.slots[1])
		e.feed.m.Word(e.feed.m.Head(0)).Store(3)
		e.mu.Unlock()
		got := porttest.Collect(t, p, 2)
		if len(got) != 2 || porttest.Seq(got[0].Data) != 0 || porttest.Seq(got[1].Data) != 2 {
			t.Fatalf("%s: %+v", name, got)
		}
		if s := p.Stats(); s.Extra["damaged"] != 1 || s.Queues[0].Dropped != 1 || s.Err != "" {
			t.Errorf("%s: %+v", name, s)
		}
		// A burst of nothing else gives its slot back too.
		e.mu.Lock()
		q.put(e.feed.m, 0, porttest.Build(3, porttest.Shape{}))
		change(&q.slots[3])
		e.feed.m.Word(e.feed.m.Head(0)).Store(4)
		e.mu.Unlock()
		var b port.Burst
		if n := p.Queues()[0].RxBurst(&b); n != 0 {
			t.Errorf("%s: %d frames", name, n)
		}
		e.damage(func(m *link.Memory) {
			if n := m.TailWord(0).Load(); n != 4 {
				t.Errorf("%s: %d slots given back", name, n)
			}
		})
	}
}

// A count of frames that makes no sense ends the connection; the port comes back with a new ring.
func TestHostileHead(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]uint64{"ahead": 65536 + 10, "far ahead": 1 << 63, "back": 1<<64 - 1, "back to nothing": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEmulation(t)
			p := opened(t, e.config(nil))
			if _, err := e.send([][]byte{porttest.Build(1, porttest.Shape{})}); err != nil {
				t.Fatal(err)
			}
			if got := porttest.Collect(t, p, 1); len(got) != 1 {
				t.Fatal(got)
			}
			e.damage(func(m *link.Memory) { m.Word(m.Head(0)).Store(head) })
			until(t, p, "reopening", func(s port.Stats) bool { return s.Reopens == 1 })
			if s := p.Stats(); s.Queues[0].Received != 1 || s.Extra["damaged"] != 0 {
				t.Errorf("%+v", s)
			}
			if _, err := e.send([][]byte{porttest.Build(2, porttest.Shape{V6: true})}); err != nil {
				t.Fatal(err)
			}
			if got := porttest.Collect(t, p, 1); len(got) != 1 || porttest.Seq(got[0].Data) != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Whatever the memory holds, a burst is inside of it and nothing panics.
func FuzzRing(f *testing.F) {
	e := newEmulation(f)
	p := opened(f, e.config(map[string]any{"slots": 64, "memory": 64}))
	e.mu.Lock()
	m := e.feed.m
	e.mu.Unlock()
	slots, data := m.Queue(0)
	f.Add(uint64(0), uint64(3), []byte{0, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint64(1<<32-2), uint64(64), bytes.Repeat([]byte{0xff}, 200))
	f.Add(uint64(5), uint64(1<<63), []byte{1})
	p.(*Port).keeper.Stop() // the ring stays, however broken
	f.Fuzz(func(t *testing.T, read, more uint64, raw []byte) {
		r := newRing(m, 0)
		r.read, r.known = read, read
		for i := range slots {
			var d [16]byte
			if len(raw) > 0 {
				copy(d[:], raw[i*16%len(raw):])
			}
			slots[i] = link.Desc{Line: ne.Uint32(d[:]), Keep: ne.Uint32(d[4:]), Wire: ne.Uint32(d[8:]), Mark: ne.Uint32(d[12:])}
			if i%2 == 0 { // else next to none would pass
				slots[i].Mark = uint32(read) - uint32(read)%64 + uint32(i)
			}
		}
		m.Word(m.Head(0)).Store(read + more)
		var b port.Burst
		n, sum := r.fill(&b)
		if r.broken != (more > 64) || n > port.MaxBurst || uint64(n)+r.damaged > more || !r.broken && r.read != read+more {
			t.Fatalf("%d frames and %d damaged of %d, broken %v", n, r.damaged, more, r.broken)
		}
		for _, fr := range b.Frames[:n] {
			if len(fr.Data) > int(fr.WireLen) || fr.WireLen > link.MaxWire || cap(fr.Data) != len(fr.Data) {
				t.Fatalf("frame of %d bytes, %d long", len(fr.Data), fr.WireLen)
			}
			sum -= uint64(fr.WireLen)
			if len(fr.Data) > 0 && !within(fr.Data, data) {
				t.Fatal("a frame outside of the ring")
			}
		}
		if sum != 0 {
			t.Fatal("the sum of lengths is wrong")
		}
		r.giveBack()
		r.unread()
	})
}

func TestBurstAllocatesNothing(t *testing.T) {
	e := newEmulation(t)
	p := opened(t, e.config(nil))
	frames := make([][]byte, 1000)
	for i := range frames {
		frames[i] = porttest.Build(uint32(i), porttest.Shape{V6: i%2 == 1})
	}
	if _, err := e.send(frames); err != nil {
		t.Fatal(err)
	}
	var b port.Burst
	q := p.Queues()[0]
	total := 0
	if n := testing.AllocsPerRun(10, func() {
		if n := q.RxBurst(&b); n > 0 {
			total += n
			q.Release(&b)
		}
	}); n != 0 || total != 11*port.MaxBurst {
		t.Errorf("%v allocations a burst, %d frames", n, total)
	}
}

// Receive and release: what the reader's side costs a frame.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{60, 1514} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := newEmulation(b)
			p := opened(b, e.config(map[string]any{"memory": 16384}))
			frames := make([][]byte, 8192)
			for i := range frames {
				frames[i] = porttest.Build(uint32(i), porttest.Shape{Size: size, Flow: i})
			}
			var burst port.Burst
			q := p.Queues()[0]
			left := 0
			for n := 0; n < b.N; {
				if left == 0 {
					b.StopTimer()
					left, _ = e.send(frames)
					b.StartTimer()
				}
				got := q.RxBurst(&burst)
				for _, f := range burst.Frames[:got] {
					_ = f.Data[13]
				}
				q.Release(&burst)
				left -= got
				n += got
			}
		})
	}
}
