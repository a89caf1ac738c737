// Command bare receives and releases frames of a DPDK device for a while and counts nothing else: what the binding costs. Package
// bench/dpdk builds it with the tag dpdk and starts it; the order is its only argument.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/bench/dpdk"
	"github.com/weir-ddos/weir/dataplane/port"
	_ "github.com/weir-ddos/weir/dataplane/port/dpdk" // measured here
)

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: bare ORDER"))
	}
	var o dpdk.Order
	if err := json.Unmarshal([]byte(os.Args[1]), &o); err != nil {
		fail(err)
	}
	runtime.LockOSThread()
	p, err := port.Open(port.Config{Driver: "dpdk", Device: o.Device, Queues: 1, Options: o.Options})
	if err != nil {
		fail(err)
	}
	q := p.Queues()[0]
	receive(q, o.Time/4) // warms up
	s := receive(q, o.Time)
	if dropped := p.Stats().Dropped; dropped > 0 {
		err = fmt.Errorf("%d packets were dropped", dropped)
	}
	if err := errors.Join(err, p.Close(), json.NewEncoder(os.Stdout).Encode(s)); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bare:", err)
	os.Exit(1)
}

// receive polls for so long; the clock is looked at every 256 bursts.
func receive(q port.Queue, length time.Duration) (s dpdk.Sample) {
	var b port.Burst
	begin, before := time.Now(), used()
	for s.Wall < length {
		for range 256 {
			if n := q.RxBurst(&b); n > 0 {
				s.Packets += uint64(n)
				q.Release(&b)
			}
		}
		s.Wall = time.Since(begin)
	}
	s.CPU = used() - before
	return s
}

// used is the CPU time of this process.
func used() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		fail(err)
	}
	return time.Duration(t.Nano())
}
