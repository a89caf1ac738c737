//nolint:thelper // these are the tests themselves: a failure must show its own line
package porttest

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Driver is a driver under test. Either Live or Recorded is set.
type Driver struct {
	// Live makes a fresh device that a port with so many queues can be opened on. It skips the test when it lacks a right.
	Live func(t *testing.T, queues int) Device
	// Recorded returns a configuration that receives exactly frames, in order: a file.
	Recorded func(t *testing.T, queues int, frames [][]byte) port.Config
	// Missing is a configuration whose device does not exist; its error must contain the device's name.
	Missing port.Config
	// Bad are configurations that Check must refuse.
	Bad []Bad
	// OneQueue says that the driver never has more than one queue.
	OneQueue bool
}

// queues is how many queues to test with when want are wanted.
func (d Driver) queues(want int) int {
	if d.OneQueue {
		return 1
	}
	return want
}

// Device is a live device. Only what is said to be optional may be nil.
type Device struct {
	// Config opens the port.
	Config port.Config
	// Send makes frames arrive at the device, in order, and returns how many the link accepted.
	Send func(frames [][]byte) (int, error)
	// Shallow are options that make the port's memory small, so that it overflows; optional.
	Shallow map[string]any
	// Exact says that after an overflow received and dropped add up to what was sent.
	Exact bool
	// Remove takes the device away and Restore brings it back; Down and Up only switch it. All optional.
	Remove, Restore, Down, Up func() error
}

// Bad is a configuration that Check refuses with an error that contains every text of Want.
type Bad struct {
	Name   string
	Config port.Config
	Want   []string
}

// Got is one received frame, copied.
type Got struct {
	Queue   int
	Data    []byte
	Time    int64
	WireLen uint32
}

// Patience is how long the suite waits for what must happen. It is long because the machine may be busy, and costs nothing when all is well.
const Patience = 30 * time.Second

// Run runs the whole suite as sub-tests.
func Run(t *testing.T, d Driver) {
	t.Run("same frames in order", func(t *testing.T) { inOrder(t, d) })
	t.Run("tags and lengths", func(t *testing.T) { tags(t, d) })
	t.Run("several queues", func(t *testing.T) { severalQueues(t, d) })
	t.Run("data stays until release", func(t *testing.T) { untilRelease(t, d) })
	t.Run("close", func(t *testing.T) { closing(t, d) })
	t.Run("wrong name", func(t *testing.T) { wrongName(t, d) })
	t.Run("bad configuration", func(t *testing.T) { badConfig(t, d) })
	if d.Live != nil {
		t.Run("idle", func(t *testing.T) { idle(t, d) })
		t.Run("overflow is reported", func(t *testing.T) { overflow(t, d) })
		t.Run("device goes and returns", func(t *testing.T) { goesAndReturns(t, d) })
		t.Run("device down and up", func(t *testing.T) { downAndUp(t, d) })
	}
}

// open opens a port and closes it with the test.
func open(t *testing.T, cfg port.Config, queues int) port.Port {
	t.Helper()
	cfg.Queues = queues
	p, err := port.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// start opens a port at which frames arrive. The returned function waits until all are sent.
func start(t *testing.T, d Driver, queues int, frames [][]byte) (port.Port, func()) {
	t.Helper()
	if d.Live == nil {
		return open(t, d.Recorded(t, queues, frames), queues), func() {}
	}
	dev := d.Live(t, queues)
	p := open(t, dev.Config, queues)
	sent := make(chan error, 1)
	go func() { sent <- sendAll(dev, frames, 64, p) }()
	return p, func() {
		t.Helper()
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// sendAll sends frames in small groups with a breath in between, so that a shared machine loses none on the way: a virtual cable
// holds 256 frames and silently drops the rest. With a port the breath lasts until that has received them, within reason, since it
// may keep none.
func sendAll(dev Device, frames [][]byte, group int, p port.Port) error {
	const breath, most = 200 * time.Microsecond, 100 // 20 ms
	sent := 0
	for part := range slices.Chunk(frames, group) {
		n, err := dev.Send(part)
		if err != nil {
			return err
		}
		if n != len(part) {
			return errors.New("the link did not accept every frame")
		}
		sent += n
		for i := 0; i == 0 || p != nil && i < most && received(p) < sent; i++ {
			time.Sleep(breath) // paces the sender; nothing waits on it
		}
	}
	return nil
}

// received is how many frames all queues have received.
func received(p port.Port) (n int) {
	for _, q := range p.Queues() {
		n += int(q.Stats().Received)
	}
	return n
}

// Collect polls the queues of p in turn, as one worker would, until it has want frames or patience ends.
func Collect(tb testing.TB, p port.Port, want int) []Got {
	tb.Helper()
	var (
		b        port.Burst
		got      []Got
		deadline = time.Now().Add(Patience)
	)
	for len(got) < want && time.Now().Before(deadline) {
		n := 0
		for i, q := range p.Queues() {
			n += drain(q, i, &b, &got)
		}
		if n == 0 {
			runtime.Gosched()
		}
	}
	return got
}

// drain takes one burst of a queue.
func drain(q port.Queue, i int, b *port.Burst, got *[]Got) int {
	n := q.RxBurst(b)
	for _, f := range b.Frames[:n] {
		*got = append(*got, Got{Queue: i, Data: bytes.Clone(f.Data), Time: f.Time, WireLen: f.WireLen})
	}
	if n > 0 {
		q.Release(b)
	}
	return n
}

// inOrder: every frame, its bytes, lengths and times, in the order sent; and the counters agree.
func inOrder(t *testing.T, d Driver) {
	const count = 3000
	var frames [][]byte
	var sum uint64
	for i := range count {
		frames = append(frames, Build(uint32(i), Shape{Size: 60 + i%1400, V6: i%2 == 1, Flow: 7}))
		sum += uint64(len(frames[i]))
	}
	begin := time.Now()
	p, sent := start(t, d, 1, frames)
	got := Collect(t, p, count)
	sent()
	compare(t, got, frames)
	var last int64
	for i, g := range got {
		if g.Time < last {
			t.Fatalf("frame %d: time %d is before %d", i, g.Time, last)
		}
		last = g.Time
	}
	if d.Live != nil && last != 0 && (last < begin.UnixNano() || last > time.Now().UnixNano()) {
		t.Errorf("last frame's time %v is not the time of the test", time.Unix(0, last))
	}
	s := p.Stats()
	if len(s.Queues) != 1 || s.Queues[0].Received != count || s.Queues[0].Bytes != sum || s.Err != "" {
		t.Errorf("stats %+v after %d frames and %d bytes", s, count, sum)
	}
	if s.Driver == "" || s.Mode == "" || s.Device == "" {
		t.Errorf("stats do not name driver, device and mode: %+v", s)
	}
}

func compare(t *testing.T, got []Got, frames [][]byte) {
	t.Helper()
	for i := range min(len(got), len(frames)) {
		if !bytes.Equal(got[i].Data, frames[i]) {
			t.Fatalf("frame %d:\n got %d bytes %x\nwant %d bytes %x", i,
				len(got[i].Data), got[i].Data, len(frames[i]), frames[i])
		}
		if int(got[i].WireLen) != len(frames[i]) {
			t.Fatalf("frame %d: wire length %d, want %d", i, got[i].WireLen, len(frames[i]))
		}
	}
	if len(got) != len(frames) {
		t.Fatalf("%d frames received of %d", len(got), len(frames))
	}
}

// tags: VLAN tags are in the data and in the length, whatever the kernel or the device does with them.
func tags(t *testing.T, d Driver) {
	var frames [][]byte
	for i, tags := range [][]uint32{
		nil,
		{0x81000064},
		{0x8100e064},
		{0x88a80064},
		{0x88a80064, 0x81000065},
		{0x81000064, 0x81000065},
		{0x91000064, 0x81000065},
		{0x81000064, 0x81000065, 0x81000066},
		{0x81000000},
	} {
		for _, v6 := range []bool{false, true} {
			for _, size := range []int{60, 64, 1514} {
				frames = append(frames, Build(uint32(i), Shape{Size: size, V6: v6, Tags: tags}))
			}
		}
	}
	p, sent := start(t, d, 1, frames)
	got := Collect(t, p, len(frames))
	sent()
	compare(t, got, frames)
}

// severalQueues: every frame exactly once, and the frames of a flow in order in one queue.
func severalQueues(t *testing.T, d Driver) {
	if d.OneQueue {
		t.Skip("the driver has one queue")
	}
	const flows, each, queues = 64, 40, 4
	var frames [][]byte
	for i := range flows * each {
		frames = append(frames, Build(uint32(i), Shape{Size: 80, Flow: i % flows, V6: i%flows%2 == 1}))
	}
	p, sent := start(t, d, queues, frames)
	if n := len(p.Queues()); n != queues {
		t.Fatalf("%d queues, want %d", n, queues)
	}
	got := Collect(t, p, len(frames))
	sent()
	var queueOf [flows]int
	var next [flows]int
	for _, g := range got {
		seq := int(Seq(g.Data))
		flow := seq % flows
		if seq/flows != next[flow] {
			t.Fatalf("flow %d: frame %d came in queue %d when %d was due in %d: %x",
				flow, seq/flows, g.Queue, next[flow], queueOf[flow], g.Data)
		}
		if next[flow] > 0 && queueOf[flow] != g.Queue {
			t.Fatalf("flow %d moved from queue %d to %d", flow, queueOf[flow], g.Queue)
		}
		next[flow]++
		queueOf[flow] = g.Queue
	}
	if len(got) != len(frames) {
		t.Fatalf("%d frames received of %d", len(got), len(frames))
	}
}

// untilRelease: a burst is not overwritten while it is held, though more frames arrive.
func untilRelease(t *testing.T, d Driver) {
	var frames [][]byte
	for i := range 600 {
		frames = append(frames, Build(uint32(i), Shape{Size: 600, Flow: 1}))
	}
	p, sent := start(t, d, 1, frames)
	q := p.Queues()[0]
	var b port.Burst
	deadline := time.Now().Add(Patience)
	for q.RxBurst(&b) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no frame")
		}
	}
	sent() // all have arrived at the device
	held := b.N
	for i, f := range b.Frames[:held] {
		if !bytes.Equal(f.Data, frames[i]) {
			t.Fatalf("held frame %d changed", i)
		}
	}
	q.Release(&b)
	rest := Collect(t, p, len(frames)-held)
	compare(t, rest, frames[held:])
}

// closing: Close while a worker polls and others read statistics; afterwards RxBurst returns 0. Close twice is fine.
func closing(t *testing.T, d Driver) {
	var frames [][]byte
	for i := range 2000 {
		frames = append(frames, Build(uint32(i), Shape{Size: 100}))
	}
	var p port.Port
	if d.Live == nil {
		p = open(t, d.Recorded(t, d.queues(2), frames), d.queues(2))
	} else {
		dev := d.Live(t, d.queues(2))
		p = open(t, dev.Config, d.queues(2))
		go func() { _, _ = dev.Send(frames) }() // frames that come after Close are nobody's
	}
	var (
		stop atomic.Bool
		seen atomic.Int64
		wg   sync.WaitGroup
	)
	for _, q := range p.Queues() {
		wg.Go(func() {
			var b port.Burst
			for !stop.Load() {
				if n := q.RxBurst(&b); n > 0 {
					for _, f := range b.Frames[:n] {
						seen.Add(int64(len(f.Data)&1) + 1) // touches the memory
					}
					q.Release(&b)
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			p.Stats()
			time.Sleep(100 * time.Microsecond)
		}
	})
	waitFor(t, "the first frames", func() bool { return seen.Load() > 0 })
	if err := p.Close(); err != nil {
		t.Errorf("close under load: %v", err)
	}
	var b port.Burst
	stop.Store(true)
	wg.Wait()
	for i, q := range p.Queues() {
		if n := q.RxBurst(&b); n != 0 {
			t.Errorf("queue %d: %d frames after Close", i, n)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	p.Stats()
}

func wrongName(t *testing.T, d Driver) {
	p, err := port.Open(d.Missing)
	if err == nil {
		t.Fatal("opened, and closed with ", p.Close())
	}
	for _, want := range []string{d.Missing.Device, d.Missing.Driver} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
}

func badConfig(t *testing.T, d Driver) {
	name := d.Missing.Driver
	drv, err := port.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]Bad{
		{"no device", port.Config{}, []string{"device: "}},
		{"queues", port.Config{Device: "x", Queues: -1}, []string{"queues: -1"}},
		{"unknown option", port.Config{Device: "x", Options: map[string]any{"no_such": 1}}, []string{"options.no_such: unknown"}},
		{
			"two at once",
			port.Config{Device: "x", Queues: -1, Options: map[string]any{"no_such": 1}},
			[]string{"options.no_such: ", "queues: "},
		},
	}, d.Bad...)
	for _, b := range bad {
		b.Config.Driver = name
		err := drv.Check(b.Config)
		if err == nil {
			t.Errorf("%s: accepted", b.Name)
			continue
		}
		for _, want := range b.Want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", b.Name, err, want)
			}
		}
		if _, err := port.Open(b.Config); err == nil {
			t.Errorf("%s: opened", b.Name)
		}
	}
	if err := drv.Check(d.Missing); err != nil {
		t.Errorf("Check refuses a good configuration whose device is missing: %v", err)
	}
}

// waitFor polls until ok, and fails the test when it takes too long.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
		time.Sleep(time.Millisecond)
	}
}
