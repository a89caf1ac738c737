package cable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/port"
	_ "github.com/weir-ddos/weir/dataplane/port/afpacket" // the counter's
	_ "github.com/weir-ddos/weir/dataplane/port/afxdp"    // the counter's
	"github.com/weir-ddos/weir/dataplane/worker"
)

// sink keeps the compiler from leaving out the reads.
var sink atomic.Uint32

// Count is CountWith without more than touch, a byte of each frame's head.
func Count(q port.Queue, touch bool) (stop func() error) {
	return count(q, &lines{work: Work{Head: touch}})
}

// CountWith polls a queue and counts, on a thread pinned to ReceiverCPU and with a worker's sleeping policy, until stop is called, and does
// the work with each frame. Stop's error says when the queue's own counters differ.
func CountWith(q port.Queue, w Work) (stop func() error, err error) {
	l, err := newLines(w)
	if err != nil {
		return nil, err
	}
	return count(q, l), nil
}

func count(q port.Queue, l *lines) (stop func() error) {
	var halt atomic.Bool
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the pinned thread ends with this goroutine
		err := cpu.Pin(ReceiverCPU())
		turns := turn.Take()
		defer turns.Give()
		var b port.Burst
		var packets, bytes uint64
		var sum byte
		sleeps := worker.NewSleeper(&turns, q)
		for !halt.Load() {
			n := q.RxBurst(&b)
			if n == 0 {
				l.flush()
				sleeps.Sleep()
				continue
			}
			sleeps.Found(n)
			for i := range b.Frames[:n] {
				packets++
				bytes += uint64(b.Frames[i].WireLen)
				if l.work.Head {
					sum += b.Frames[i].Data[30]
				}
			}
			l.write(b.Frames[:n])
			q.Release(&b)
		}
		if s := q.Stats(); s.Received != packets || s.Bytes != bytes {
			err = errors.Join(err, fmt.Errorf("counted %d packets and %d bytes, the port says %+v", packets, bytes, s))
		}
		sink.Store(uint32(sum))
		done <- errors.Join(err, l.memory.Free())
	}()
	return func() error { halt.Store(true); return <-done }
}

// Counter is a process that does nothing but Count at the Receive end of a cable.
type Counter struct{ *child }

// Counter starts one with a driver of package port; its Close ends it.
func (c *Cable) Counter(driver string, w Work) (*Counter, error) {
	p, err := start(c.Receive.NS, asCounter, counting{port.Config{Driver: driver, Device: c.Receive.Name, Queues: 1}, w})
	return &Counter{p}, err
}

// counting is what a counter is told first.
type counting struct {
	Port port.Config
	Work Work
}

// Received is how many packets it has counted.
func (c *Counter) Received() (n uint64, err error) {
	if err := c.ask(struct{}{}, &n); err != nil {
		return n, fmt.Errorf("counter: %w", err)
	}
	return n, nil
}

// counter is the process's side.
func counter(in io.Reader, out io.Writer) (err error) {
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	var job counting
	if err := from.Decode(&job); err != nil {
		return err
	}
	p, err := port.Open(job.Port)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	stop, err := CountWith(p.Queues()[0], job.Work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(stop(), err) }()
	for answer := any(ready{true}); ; answer = p.Stats().Queues[0].Received {
		if err := to.Encode(answer); err != nil {
			return err
		}
		if err := from.Decode(new(struct{})); err != nil {
			return ended(err)
		}
	}
}
