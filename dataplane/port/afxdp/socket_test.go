//go:build linux

package afxdp

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// TestEveryChunk: a burst of the longest frames is intact in chunks side by side, each chunk comes back as often as it is needed, and
// the kernel gets those that it was not told of at once before the worker finds nothing and sleeps.
func TestEveryChunk(t *testing.T) {
	netns.Inside(t)
	for _, size := range []int{2048, 4096} {
		for _, mode := range []string{native, generic} {
			t.Run(fmt.Sprint(mode, " ", size), func(t *testing.T) {
				t.Parallel()
				const chunks, rounds = minFrames, 40
				a, b := cable(t, 1)
				netns.HereIP(t, "link", "set", a, "mtu", "1700")
				netns.HereIP(t, "link", "set", b, "mtu", "1700")
				p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"mode": mode, "frames": chunks, "frame_size": size}})
				s := send(a)
				for round := range rounds {
					var frames [][]byte
					for i := range chunks / 2 {
						frames = append(frames, porttest.Build(uint32(round*chunks+i), porttest.Shape{Size: 1714 - 50*(i%3), V6: i%2 == 1}))
					}
					if _, err := s(frames); err != nil {
						t.Fatal(err)
					}
					inOneBurst(t, p.Queues()[0], frames)
				}
				if s := p.Stats(); s.Queues[0].Received != rounds*chunks/2 || s.Queues[0].Dropped != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// inOneBurst waits until the kernel has all frames in the ring, so that they lie in memory at once.
func inOneBurst(t *testing.T, face port.Queue, frames [][]byte) {
	t.Helper()
	q, ok := face.(*queue)
	if !ok {
		t.Fatalf("%T", face)
	}
	s, ok := q.source.(*socket)
	if !ok {
		t.Fatalf("%T", q.source)
	}
	var b port.Burst
	for end := time.Now().Add(porttest.Patience); ; {
		if n, _ := s.receive(&b); n == len(frames) || time.Now().After(end) {
			break // nothing was taken: the next receive finds the same
		}
	}
	if n := q.RxBurst(&b); n != len(frames) {
		t.Fatalf("%d frames of %d", n, len(frames))
	}
	for i, f := range b.Frames[:b.N] {
		if !bytes.Equal(f.Data, frames[i]) {
			t.Fatalf("frame %d of %d bytes is %x", i, len(frames[i]), f.Data)
		}
	}
	q.Release(&b)
	if n := q.RxBurst(&b); n != 0 || s.given != 0 {
		t.Fatalf("%d frames more, and %d chunks are still kept", n, s.given)
	}
}
