//go:build linux

package afxdp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// canObserve skips where the driver refuses to, having held that it does.
func canObserve(t *testing.T) {
	t.Helper()
	netns.Inside(t)
	if strconv.IntSize == 64 {
		return
	}
	_, b := cable(t, 1)
	_, err := port.Open(port.Config{Driver: "afxdp", Device: b, Options: map[string]any{"observe": true}})
	if err == nil || !strings.Contains(err.Error(), "64-bit") {
		t.Errorf("observe: %v, want that it needs a 64-bit program", err)
	}
	t.Skip("observing needs a 64-bit program")
}

// Every frame is received by the worker and by the kernel's stack, with its length; of a long one only the head.
func TestObserveDisturbsNobody(t *testing.T) {
	canObserve(t)
	for _, mode := range []string{native, generic} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a, b := cable(t, 1)
			p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"mode": mode, "observe": true, "head": 128}})
			if s := p.Stats(); s.Mode != mode+", observe" {
				t.Errorf("mode %q", s.Mode)
			}
			kernel, err := port.Open(port.Config{Driver: "afpacket", Device: b, Queues: 1, Options: map[string]any{"head": 0}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = kernel.Close() }()
			sizes := []int{60, shortHead - 1, shortHead, shortHead + 1, 127, 128, 129, 1514}
			var frames [][]byte
			for i := range 4 * len(sizes) {
				frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: sizes[i%len(sizes)], V6: i/len(sizes)%2 == 1}))
			}
			if _, err := send(a)(frames); err != nil {
				t.Fatal(err)
			}
			for _, side := range []struct {
				name string
				port port.Port
				most int
			}{{"worker", p, 128}, {"kernel", kernel, 1 << 16}} {
				got := porttest.Collect(t, side.port, len(frames))
				if len(got) != len(frames) {
					t.Errorf("%s got %d frames of %d", side.name, len(got), len(frames))
				}
				for i, g := range got {
					want := frames[i]
					if int(g.WireLen) != len(want) || !bytes.Equal(g.Data, want[:min(len(want), side.most)]) {
						t.Errorf("%s: %d of %d bytes, sent %d:\n got %x\nwant %x", side.name, len(g.Data), g.WireLen, len(want), g.Data, want)
					}
				}
			}
			if err := p.Close(); err != nil || stays(t, b) {
				t.Errorf("after Close: %v, attached %v", err, attached(t, b))
			}
		})
	}
}

// What finds the ring full still reaches the kernel, and is counted. The ring turns over many times.
func TestObserveCountsWhatItLoses(t *testing.T) {
	canObserve(t)
	t.Parallel()
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"observe": true, "frames": 64}})
	kernel, err := port.Open(port.Config{Driver: "afpacket", Device: b, Queues: 1, Options: map[string]any{"head": 0}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kernel.Close() }()
	room := int(ringSize(Options{Frames: 64, Head: 256})) / int(align(metaSize+256))
	sent := 0
	for round := range 30 {
		var frames [][]byte
		for i := range room + 20 {
			frames = append(frames, porttest.Build(uint32(sent+i), porttest.Shape{Size: 200 + i, V6: i%2 == 1}))
		}
		for len(frames) > 0 { // a virtual cable holds 256
			n := min(len(frames), 64)
			if _, err := send(a)(frames[:n]); err != nil {
				t.Fatal(err)
			}
			sent += n
			frames = frames[n:]
			deadline := time.Now().Add(porttest.Patience)
			for kernelHas(kernel) < sent && time.Now().Before(deadline) {
				drainAll(kernel)
			}
		}
		got := porttest.Collect(t, p, room)
		drainAll(kernel)
		dropped := p.Stats().Queues[0].Dropped
		if len(got) == 0 || int(received(p)+dropped) > sent {
			t.Fatalf("round %d: %d frames, %d received and %d dropped of %d", round, len(got), received(p), dropped, sent)
		}
	}
	deadline := time.Now().Add(porttest.Patience)
	for int(received(p)+p.Stats().Queues[0].Dropped) < sent && time.Now().Before(deadline) {
		porttest.Collect(t, p, 1)
	}
	s := p.Stats()
	if n := s.Queues[0].Received + s.Queues[0].Dropped; int(n) != sent || s.Queues[0].Dropped == 0 || s.Extra["rx_ring_full"] != s.Queues[0].Dropped {
		t.Errorf("sent %d: %+v", sent, s)
	}
	for kernelHas(kernel) < sent && time.Now().Before(deadline) {
		drainAll(kernel)
	}
	if n := kernelHas(kernel); n != sent {
		t.Errorf("the kernel's stack got %d of %d", n, sent)
	}
}

func received(p port.Port) uint64 { return p.Stats().Queues[0].Received }
func kernelHas(p port.Port) int   { return int(received(p) + p.Stats().Queues[0].Dropped) }

func drainAll(p port.Port) {
	var b port.Burst
	for _, q := range p.Queues() {
		for q.RxBurst(&b) > 0 {
			q.Release(&b)
		}
	}
}

func TestObserveAllocs(t *testing.T) {
	canObserve(t)
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"observe": true}})
	var frames [][]byte
	for i := range 200 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: 60 + i}))
	}
	q := p.Queues()[0]
	var burst port.Burst
	for range 5 {
		if _, err := send(a)(frames); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	if n := testing.AllocsPerRun(30, func() {
		if n := q.RxBurst(&burst); n > 0 {
			got += n
			q.Release(&burst)
		}
	}); n != 0 || got == 0 {
		t.Errorf("%v allocations a burst, %d frames", n, got)
	}
}

// The program is accepted with any option.
func TestObserverLoads(t *testing.T) {
	canObserve(t)
	for _, head := range []int{minHead, 256, maxHead} {
		for _, wait := range []string{"0s", "1ms"} {
			t.Run(fmt.Sprint(head, " ", wait), func(t *testing.T) {
				t.Parallel()
				_, b := cable(t, 1)
				mustOpen(t, port.Config{Device: b, Options: map[string]any{"observe": true, "head": head, "wait": wait, "frames": 64}})
			})
		}
	}
}
