//nolint:thelper // these are the tests themselves: a failure must show its own line
package porttest

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// idle: RxBurst never keeps a worker for more than 10 ms, and a frame that comes to an idle port is soon seen. A busy machine takes the
// processor away for longer, from the kernel's threads too: once in a while everybody is in time, and that is waited for.
func idle(t *testing.T, d Driver) {
	dev := d.Live(t, 1)
	p := open(t, dev.Config, 1)
	q := p.Queues()[0]
	var b port.Burst
	call := fastest(11*time.Millisecond, func() {
		if n := q.RxBurst(&b); n != 0 {
			t.Fatalf("%d frames out of nowhere: %x", n, b.Frames[0].Data)
		}
	})
	if call > 11*time.Millisecond {
		t.Errorf("an idle RxBurst takes %v", call)
	}
	i := uint32(0)
	wake := fastest(25*time.Millisecond, func() {
		if n, err := dev.Send([][]byte{Build(i, Shape{})}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if got := Collect(t, p, 1); len(got) != 1 || Seq(got[0].Data) != i {
			t.Fatalf("%d frames, want that with number %d", len(got), i)
		}
		i++
	})
	if wake > 25*time.Millisecond { // the sender sleeps too
		t.Errorf("a frame is seen after %v", wake)
	}
}

// fastest is how long f takes at best: of ten times, and then until it takes no longer than limit, or patience ends.
func fastest(limit time.Duration, f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	begin := time.Now()
	for i := 0; i < 10 || best > limit && time.Since(begin) < Patience; i++ {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best
}

// overflow: what the port has no room for is counted as dropped.
func overflow(t *testing.T, d Driver) {
	dev := d.Live(t, 1)
	if dev.Shallow == nil {
		t.Skip("the driver has no way to be made small")
	}
	cfg := dev.Config
	cfg.Options = maps.Clone(cfg.Options)
	if cfg.Options == nil {
		cfg.Options = map[string]any{}
	}
	maps.Copy(cfg.Options, dev.Shallow)
	p := open(t, cfg, 1)
	var frames [][]byte
	for i := range 6000 {
		frames = append(frames, Build(uint32(i), Shape{Size: 1000}))
	}
	if err := sendAll(dev, frames, 64, nil); err != nil {
		t.Fatal(err)
	}
	sum := func() uint64 {
		s := p.Stats()
		return s.Dropped + s.Queues[0].Dropped
	}
	waitFor(t, "drops", func() bool { return sum() > 0 })
	q := p.Queues()[0]
	var b port.Burst
	var got []Got
	deadline := time.Now().Add(Patience)
	for time.Now().Before(deadline) && uint64(len(got))+sum() < uint64(len(frames)) {
		drain(q, 0, &b, &got)
	}
	if len(got) == 0 || sum() == 0 {
		t.Fatalf("%d received and %d dropped of %d", len(got), sum(), len(frames))
	}
	if n := uint64(len(got)) + sum(); dev.Exact && n != uint64(len(frames)) {
		t.Errorf("received %d + dropped %d = %d, sent %d", len(got), sum(), n, len(frames))
	}
	// It goes on afterwards.
	more := Build(1e6, Shape{})
	if n, err := dev.Send([][]byte{more}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if last := Collect(t, p, 1); len(last) != 1 || Seq(last[0].Data) != 1e6 {
		t.Errorf("after the overflow: %d frames", len(last))
	}
}

func goesAndReturns(t *testing.T, d Driver) {
	dev := d.Live(t, d.queues(2))
	if dev.Remove == nil {
		t.Skip("the device cannot be removed")
	}
	absence(t, dev, d.queues(2), dev.Remove, dev.Restore)
}

func downAndUp(t *testing.T, d Driver) {
	dev := d.Live(t, d.queues(2))
	if dev.Down == nil {
		t.Skip("the device cannot be switched off")
	}
	absence(t, dev, d.queues(2), dev.Down, dev.Up)
}

// absence: the port reports that the device is away, its RxBurst stays harmless, it receives again when the device is
// back, and the counters go on from where they were. Twice.
func absence(t *testing.T, dev Device, queues int, leave, comeBack func() error) {
	p := open(t, dev.Config, queues)
	one := func(seq uint32) {
		t.Helper()
		if n, err := dev.Send([][]byte{Build(seq, Shape{})}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		got := Collect(t, p, 1)
		if len(got) != 1 || Seq(got[0].Data) != seq {
			t.Fatalf("frame %d: %d frames received; stats %+v", seq, len(got), p.Stats())
		}
	}
	var b port.Burst
	poll := func() {
		for _, q := range p.Queues() {
			if q.RxBurst(&b) > 0 {
				q.Release(&b)
			}
		}
	}
	one(1)
	for round := range uint64(2) {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the device's absence is reported", func() bool {
			poll()
			return strings.Contains(p.Stats().Err, port.ErrGone.Error())
		})
		if err := comeBack(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the device's return", func() bool {
			poll()
			s := p.Stats()
			return s.Err == "" && s.Reopens == round+1
		})
		one(uint32(10 + round))
	}
	var received uint64
	for _, q := range p.Stats().Queues {
		received += q.Received
	}
	if received != 3 {
		t.Errorf("received says %d after 3 frames and 2 absences", received)
	}
}
