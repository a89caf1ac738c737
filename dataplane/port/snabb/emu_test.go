//go:build linux

package snabb

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// emulation is a Snabb process with our library, in this process and in Go: it puts frames into rings as firehose.c does,
// ends, hangs and comes back.
type emulation struct {
	socket string
	device string

	mu       sync.Mutex // guards the rest, like Snabb's one thread
	server   *link.Server
	instance uint64
	feed     *emuFeed
	missed   uint64
	hung     bool
}

type emuFeed struct {
	m      *link.Memory
	queues []*emuQueue
}

// emuQueue is the writer's end of a ring.
type emuQueue struct {
	slots                  []link.Desc
	data                   []byte
	ends                   []uint64
	head, tail, pos, freed uint64
}

func newEmulation(tb testing.TB) *emulation {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weir-snabb") // a test's own directory has too long a name for a socket
	if err != nil {
		tb.Fatal(err)
	}
	e := &emulation{socket: filepath.Join(dir, "s"), device: "0000:03:00.0"}
	if err := e.start(); err != nil {
		tb.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { e.poll(stop) })
	tb.Cleanup(func() {
		close(stop)
		wg.Wait()
		e.setHung(false)
		_ = e.end()
		_ = os.RemoveAll(dir)
	})
	return e
}

// poll is the loop that calls the callback with nothing ready.
func (e *emulation) poll(stop chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		e.mu.Lock()
		if e.feed != nil && !e.hung {
			e.feed.m.Word(link.OffPolls).Add(1)
		}
		e.mu.Unlock()
	}
}

// start begins a process; end ends it.
func (e *emulation) start() error {
	e.mu.Lock()
	e.instance++
	e.missed = 0
	instance := e.instance
	e.mu.Unlock()
	server, err := link.Listen(e.socket, e, instance)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.server = server
	return err
}

func (e *emulation) end() error {
	e.mu.Lock()
	server := e.server
	e.server = nil
	e.mu.Unlock()
	if server == nil {
		return nil
	}
	return server.Close()
}

func (e *emulation) setHung(hung bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hung = hung
}

// Devices implements link.Source.
func (e *emulation) Devices() []string { return []string{"0000:01:00.0", e.device} }

// Attach implements link.Source.
func (e *emulation) Attach(_ string, m *link.Memory) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hung {
		return errors.New("the NIC is not polled by Snabb")
	}
	m.Word(link.OffMissed).Store(e.missed)
	e.feed = &emuFeed{m: m}
	for i := range m.Queues {
		q := &emuQueue{ends: make([]uint64, m.Slots)}
		q.slots, q.data = m.Queue(i)
		e.feed.queues = append(e.feed.queues, q)
	}
	return nil
}

// Detach implements link.Source.
func (e *emulation) Detach(_ string, quit <-chan struct{}) bool {
	for !e.leave() {
		select {
		case <-quit:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

func (e *emulation) leave() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hung {
		return false
	}
	for i, q := range e.feed.queues {
		e.missed += q.head - e.feed.m.TailWord(i).Load()
	}
	e.feed = nil
	return true
}

// send makes frames come in.
func (e *emulation) send(frames [][]byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return 0, errors.New("there is no Snabb")
	}
	if e.feed == nil {
		e.missed += uint64(len(frames))
		return len(frames), nil
	}
	m := e.feed.m
	for _, f := range frames {
		i := int(flowOf(f) % uint32(m.Queues))
		if q := e.feed.queues[i]; !q.put(m, i, f) {
			m.Word(m.Dropped(i)).Add(1)
		}
	}
	for i, q := range e.feed.queues {
		m.Word(m.Head(i)).Store(q.head)
	}
	return len(frames), nil
}

// flowOf is the same for all frames of a flow.
func flowOf(f []byte) uint32 {
	if f[14]>>4 == 6 {
		return crc32.ChecksumIEEE(f[22:54])
	}
	return crc32.ChecksumIEEE(f[26:34])
}

func (q *emuQueue) put(m *link.Memory, i int, f []byte) bool {
	slots, size := uint64(m.Slots), uint64(m.Data)
	if tail := m.TailWord(i).Load(); tail != q.tail {
		q.tail, q.freed = tail, q.ends[(tail-1)%slots]
	}
	keep := min(len(f), m.Snap)
	need := (uint64(keep) + link.Line - 1) &^ (link.Line - 1)
	pos := q.pos
	if at := pos % size; at+need > size {
		pos += size - at
	}
	if q.head-q.tail >= slots || pos+need-q.freed > size {
		return false
	}
	at := pos % size
	copy(q.data[at:], f[:keep])
	q.slots[q.head%slots] = link.Desc{Line: uint32(at / link.Line), Keep: uint32(keep), Wire: uint32(len(f)), Mark: uint32(q.head)}
	q.pos = pos + need
	q.ends[q.head%slots] = q.pos
	q.head++
	return true
}

// config opens the emulation's device.
func (e *emulation) config(options map[string]any) port.Config {
	all := map[string]any{"socket": e.socket, "memory": 1024}
	for k, v := range options {
		all[k] = v
	}
	return port.Config{Driver: "snabb", Device: e.device, Options: all}
}

// live completes an emulation for the conformance suite.
func (e *emulation) live(options map[string]any) porttest.Device {
	return porttest.Device{
		Config: e.config(options), Send: e.send, Exact: true, Shallow: map[string]any{"slots": 64},
		Remove: e.end, Restore: e.start,
		Down: func() error { e.setHung(true); return nil },
		Up:   func() error { e.setHung(false); return nil },
	}
}
