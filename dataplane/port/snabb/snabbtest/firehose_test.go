//go:build snabb && linux

package snabbtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/counted"
	_ "github.com/weir-ddos/weir/dataplane/port/replay"
	_ "github.com/weir-ddos/weir/dataplane/port/snabb"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// The real library behaves as the driver's emulation of it: the whole suite, with a process that crashes and one that hangs.
func TestConformance(t *testing.T) {
	for _, ring := range []int{2048, 128} {
		t.Run(fmt.Sprint("ring of ", ring), func(t *testing.T) {
			t.Parallel()
			porttest.Run(t, porttest.Driver{
				Live: func(t *testing.T, _ int) porttest.Device { return start(t, ring, nic).live() },
				Missing: port.Config{
					Driver: "snabb", Device: "0000:09:00.0", Options: map[string]any{"socket": start(t, ring, nic).socket},
				},
			})
		})
	}
}

// The C half under gcc's sanitizers (testdata/ring.c).
func TestRingUnderSanitizers(t *testing.T) {
	t.Parallel()
	if missing != "" {
		t.Skip(missing)
	}
	for seed := range 4 {
		if out, err := exec.Command(filepath.Join(built, "ring"), fmt.Sprint(seed), "15").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("seed %d: %v\n%s", seed, err, out)
		}
	}
}

// sameAsReplay plays the frames of a capture to a port of several queues and compares what is counted with what the replay driver
// counts.
func sameAsReplay(t *testing.T, p *process, path string, frames [][]byte, queues int) (hosts int) {
	t.Helper()
	r, err := port.Open(port.Config{Driver: "replay", Device: path, Queues: 1, Options: map[string]any{"speed": "max"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	want := counted.Of(t, r, len(frames))
	if int(want.Frames) != len(frames) {
		t.Fatalf("%s: replay counts %d frames of %d", path, want.Frames, len(frames))
	}
	q := p.open(t, p.config(nic, queues, map[string]any{"snap": 10240}))
	sent := make(chan error, 1)
	go func() { sent <- p.play(q, 0, frames) }()
	got := counted.Of(t, q, len(frames))
	if err := errors.Join(<-sent, q.Close()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", path, got, want)
	}
	return len(want.Hosts)
}

// play sends frames as fast as they are received, for the rings must not overflow.
func (p *process) play(q port.Port, nic int, frames [][]byte) error {
	var sent uint64
	for part := range slices.Chunk(frames, 256) {
		if _, err := p.send(nic, part); err != nil {
			return err
		}
		sent += uint64(len(part))
		for deadline := time.Now().Add(porttest.Patience); received(q)+512 < sent; runtime.Gosched() {
			if time.Now().After(deadline) {
				return fmt.Errorf("%d frames received of %d", received(q), sent)
			}
		}
	}
	return nil
}

func received(p port.Port) (n uint64) {
	for _, q := range p.Queues() {
		n += q.Stats().Received
	}
	return n
}

func TestSameCountsAsReplay(t *testing.T) {
	t.Parallel()
	p := start(t, 512, nic)
	frames := mixed(20_000)
	path := filepath.Join(t.TempDir(), "mixed.pcap")
	save(t, path, frames)
	for _, queues := range []int{1, 3} {
		if hosts := sameAsReplay(t, p, path, frames, queues); hosts < 100 {
			t.Errorf("%d hosts", hosts)
		}
	}
}

// mixed are frames of many kinds and sizes, and some that are nothing.
func mixed(n int) [][]byte {
	frames := make([][]byte, n)
	for i := range frames {
		s := porttest.Shape{Size: 60 + i*37%1455, V6: i%2 == 1, Flow: i % 97, Fragment: i%11 == 3, Back: i%3 == 1}
		if i%5 == 0 {
			s.Tags = []uint32{0x81000064}
		}
		frames[i] = porttest.Build(uint32(i), s)
		switch i % 101 {
		case 7:
			frames[i] = frames[i][:i%60] // runts, and none at all
		case 8:
			frames[i] = append(frames[i], make([]byte, 8000)...) // jumbo
		}
	}
	return frames
}

func save(t *testing.T, path string, frames [][]byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pcapfile.NewWriter(f, wire.LinkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for i, frame := range frames {
		if err := w.Write(int64(i), uint32(len(frame)), frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// The captures of the working group, where present: what real attacks and odd encapsulations look like.
func TestSameCountsAsReplayOnCaptures(t *testing.T) {
	t.Parallel()
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../../../../shared/data"
	}
	paths, _ := filepath.Glob(root + "/pcap/[^b]*/*.pcap") // not bad: readers differ on where a damaged file ends
	if len(paths) == 0 {
		t.Skip("no captures in " + root + "/pcap")
	}
	p := start(t, 2048, nic)
	played, hosts := 0, 0
	for _, path := range paths {
		if frames := load(path); len(frames) > 0 {
			hosts += sameAsReplay(t, p, path, frames, 1+played%4)
			played++
		}
	}
	if played < 5 || hosts < 100 {
		t.Errorf("only %d captures of %d were usable, with %d hosts", played, len(paths), hosts)
	}
	t.Logf("%d captures, %d hosts", played, hosts)
}

// load reads a capture; nothing when a NIC would not have received it so: other link types, frames that were cut or are too long.
func load(path string) (frames [][]byte) {
	if info, err := os.Stat(path); err != nil || info.Size() > 20<<20 {
		return nil
	}
	r, err := pcapfile.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = r.Close() }()
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames
		}
		if err != nil {
			return nil // a damaged file
		}
		if f.LinkType != wire.LinkEthernet || len(f.Data) != int(f.WireLen) || len(f.Data) > 10240 {
			return nil
		}
		frames = append(frames, bytes.Clone(f.Data))
	}
}

// A tag that the NIC took out is put back.
func TestStrippedTags(t *testing.T) {
	t.Parallel()
	p := start(t, 128, nic)
	q := p.open(t, p.config(nic, 0, nil))
	for _, v6 := range []bool{false, true} {
		for _, size := range []int{60, 64, 300} {
			want := porttest.Build(9, porttest.Shape{Size: size, V6: v6, Tags: []uint32{0x8100a123}})
			stripped := append(bytes.Clone(want[:12]), want[16:]...)
			if _, err := p.sendTagged(0, [][]byte{stripped}, []uint16{0xa123}); err != nil {
				t.Fatal(err)
			}
			got := porttest.Collect(t, q, 1)
			if len(got) != 1 || !bytes.Equal(got[0].Data, want) || int(got[0].WireLen) != len(want) {
				t.Errorf("v6 %v, %d bytes: %+v", v6, size, got)
			}
		}
	}
}

// Every NIC has its own rings; what one's reader does not take is nothing to the other.
func TestSeveralNICs(t *testing.T) {
	t.Parallel()
	p := start(t, 256, nic, "0000:03:00.1", "0000:81:00.0")
	first := p.open(t, p.config(nic, 0, map[string]any{"slots": 64}))
	second := p.open(t, p.config("0000:03:00.1", 2, nil))
	for i := range uint32(500) {
		frame := [][]byte{porttest.Build(i, porttest.Shape{Flow: int(i), V6: i%2 == 0})}
		for n := range 3 {
			if _, err := p.send(n, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := porttest.Collect(t, second, 500); len(got) != 500 {
		t.Errorf("%d frames in the second", len(got))
	}
	if got := porttest.Collect(t, first, 64); len(got) != 64 || porttest.Seq(got[63].Data) != 63 {
		t.Errorf("%d frames in the first", len(got))
	}
	if s := first.Stats(); s.Queues[0].Dropped != 436 {
		t.Errorf("%+v", s)
	}
	if s := second.Stats(); s.Queues[0].Received == 0 || s.Queues[1].Received == 0 {
		t.Errorf("one queue has all: %+v", s)
	}
	if err := errors.Join(first.Close(), second.Close(), p.order('S')); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"0000:03:00.0: 500 frames, 436 dropped by full rings, 0 without a reader",
		"0000:03:00.1: 500 frames, 0 dropped by full rings, 0 without a reader",
		"0000:81:00.0: 500 frames, 0 dropped by full rings, 500 without a reader",
	} {
		waitFor(t, want, func() bool { return strings.Contains(p.err.String(), want) })
	}
}

// A reader that ends, as the appliance does when it is restarted, leaves the library to the next.
func TestReadersComeAndGo(t *testing.T) {
	t.Parallel()
	p := start(t, 256, nic)
	frames := mixed(300)
	for round := range 20 {
		q := p.open(t, p.config(nic, 1+round%3, nil))
		if _, err := p.send(0, frames); err != nil {
			t.Fatal(err)
		}
		if got := porttest.Collect(t, q, 100+round); len(got) < 100 { // the rest stays in the ring
			t.Fatalf("round %d: %d frames", round, len(got))
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// stop and start again: the port says so and comes back, and all is accounted for.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	p := start(t, 256, nic)
	q := p.open(t, p.config(nic, 2, nil))
	frames := mixed(100)
	send := func() {
		t.Helper()
		if _, err := p.send(0, frames); err != nil {
			t.Fatal(err)
		}
	}
	send()
	if got := porttest.Collect(t, q, 100); len(got) != 100 {
		t.Fatalf("%d frames", len(got))
	}
	if err := p.order('S'); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "absence", func() bool { return strings.Contains(q.Stats().Err, "Snabb ended") })
	send() // to nobody
	if err := p.order('T'); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "return", func() bool { return q.Stats().Reopens == 1 && q.Stats().Err == "" })
	send()
	if got := porttest.Collect(t, q, 100); len(got) != 100 {
		t.Fatalf("%d frames", len(got))
	}
	if s := q.Stats(); received(q) != 200 || s.Dropped != 100 {
		t.Errorf("%+v", s)
	}
}

// Readers that say anything do the library no harm: it goes on, and serves the next.
func TestHostileReaders(t *testing.T) {
	t.Parallel()
	p := start(t, 256, nic)
	for _, text := range []string{
		"", "{", "null", "[]", strings.Repeat("x", 5000), `{"version":2}`, `{"version":1,"device":"x"}`, `{"version":1,"device":"0000:03:00.0"}`,
		`{"version":1,"device":"0000:03:00.0","geometry":{"queues":1,"slots":1099511627776,"data":65536,"snap":64}}`,
		`{"version":1,"device":"0000:03:00.0","geometry":{"queues":16,"slots":64,"data":1073741824,"snap":64}}`,
		`{"version":1,"device":"0000:03:00.0","geometry":{"queues":-1,"slots":64,"data":65536,"snap":64}}`,
	} {
		if answer := p.talk(t, text); text != "" && !strings.Contains(answer, `"error":`) {
			t.Errorf("%.40q is answered by %q", text, answer)
		}
	}
	geometry := link.Geometry{Queues: 2, Slots: 64, Data: link.MinData, Snap: 1500}
	for i, tail := range []uint64{1, 1 << 63, 1<<64 - 1, 65, 1000} {
		c, err := link.Dial(p.socket, nic, geometry)
		if err != nil {
			t.Fatal(err)
		}
		for q := range 2 {
			c.Memory.TailWord(q).Store(tail)
		}
		if _, err := p.send(0, mixed(500)); err != nil {
			t.Fatalf("lie %d: %v", i, err)
		}
		var there uint64
		for q := range 2 {
			there += c.Memory.Word(c.Memory.Head(q)).Load() + c.Memory.Word(c.Memory.Dropped(q)).Load()
		}
		if there != 500 {
			t.Errorf("lie %d: %d frames are accounted for", i, there)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	q := p.open(t, p.config(nic, 0, nil))
	if _, err := p.send(0, mixed(100)); err != nil {
		t.Fatal(err)
	}
	if got := porttest.Collect(t, q, 100); len(got) != 100 {
		t.Errorf("%d frames", len(got))
	}
}

// A second library at the same socket says so and serves when the first is gone; a socket that a dead process left is replaced.
func TestTwoLibrariesAtOneSocket(t *testing.T) {
	t.Parallel()
	first := start(t, 128, nic)
	second := &process{socket: first.socket, nics: []string{"0000:04:00.0"}, ring: 128}
	t.Cleanup(func() { _ = second.kill() })
	began := make(chan error, 1)
	go func() { began <- second.run() }()
	waitFor(t, "the second's complaint", func() bool { return strings.Contains(second.err.String(), "another process listens there") })
	if err := first.kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(first.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	q := second.open(t, second.config("0000:04:00.0", 0, nil))
	if s := q.Stats(); s.Err != "" {
		t.Errorf("%+v", s)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * porttest.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}
