// Package feed is a queue of packets from memory for a real worker: as fast as it polls, or at a rate, with a ring that overflows
// when the worker stays away.
//
// Two rings are looked at in the same run: the one that the packets are in holds as many as the product's AF_XDP ring, and beside it
// is counted what a shorter one, a NIC's, would have lost: it is filled by the same clock and emptied by the same polls.
//
// RxBurst and Release belong to the worker; Sample and Stats may be called from any goroutine. A Queue sends nothing and opens
// nothing.
package feed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Depth is how many packets wait for a worker: as many as in an AF_XDP ring of the product. ShortDepth is a usual ring of a 10-gigabit
// NIC.
const (
	Depth      = 16384
	ShortDepth = 4096
)

// numFrames is how many frames there are in memory.
const numFrames = 4096

// Flows is how many source ports the packets of a host have.
const Flows = 2

// Config says what comes.
type Config struct {
	// Hosts is how many destinations there are, a power of two: each comes once before any comes again.
	Hosts int
	// IPv6 chooses the family.
	IPv6 bool
}

// Networks are those that the packets go to.
func Networks() (*nets.Table, error) {
	return nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
}

// Queue implements port.Queue.
type Queue struct {
	mask   uint64
	v6     bool
	frames [numFrames][]byte
	n      uint64 // packets made

	begin time.Time
	seen  uint64 // setting
	from  time.Duration
	came  uint64 // packets that came since from, lost ones included
	taken uint64
	short uint64 // packets that wait in the shorter ring

	setting   atomic.Uint64 // counts SetRate
	rate      atomic.Uint64
	unseen    atomic.Bool
	sample    atomic.Pointer[Sample]
	polls     uint64
	thrown    uint64 // by SetUnseen
	lost      uint64
	lostShort uint64
	_         [128]byte
}

// Sample is how far a queue is, as seen by the worker's thread.
type Sample struct {
	// Packets were taken, Unseen were taken and thrown away, Lost found the ring full, and LostShort would have found the shorter one full.
	Packets, Unseen, Lost, LostShort uint64
	// CPU is the run time of the worker's thread, and Time the time of the sample.
	CPU  time.Duration
	Time time.Time
}

// New makes a queue that gives as much as it is asked for.
func New(c Config) (*Queue, error) {
	if c.Hosts < 1 || c.Hosts&(c.Hosts-1) != 0 || c.Hosts > 1<<24 {
		return nil, fmt.Errorf("feed: %d hosts are not a power of two up to %d", c.Hosts, 1<<24)
	}
	q := &Queue{mask: uint64(c.Hosts - 1), v6: c.IPv6, begin: time.Now()}
	for i := range q.frames {
		q.frames[i] = frame(c.IPv6)
	}
	return q, nil
}

// frame is a minimal UDP packet from outside.
func frame(v6 bool) []byte {
	b := make([]byte, 66)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
	if v6 {
		copy(b[12:], []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 12, 17, 64, 0x20, 1, 0x0d, 0xb9})
		copy(b[38:], []byte{0x20, 1, 0x0d, 0xb8})
		copy(b[54:], []byte{0x30, 0x39, 0, 53, 0, 12, 0, 0})
		return b
	}
	copy(b[12:], []byte{8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 10, 0, 0, 0})
	copy(b[34:], []byte{0x30, 0x39, 0, 53, 0, 26, 0, 0})
	return b[:60]
}

// SetRate has packets come at a rate from now on; 0 is as many as are asked for. What was waiting is forgotten.
func (q *Queue) SetRate(perSecond uint64) {
	q.rate.Store(perSecond)
	q.setting.Add(1)
}

// SetUnseen has packets, which must come at a rate, be taken from the ring without the worker seeing any: what is lost then is lost by
// the machine, which does not let even a loop that only polls do so all the time.
func (q *Queue) SetUnseen(on bool) { q.unseen.Store(on) }

// golden is odd, so its multiples take every value of any number of low bits.
const golden = 0x9e3779b97f4a7c15

// sampleEvery is how many polls there are between two samples.
const sampleEvery = 1 << 8

// RxBurst implements port.Queue.
func (q *Queue) RxBurst(b *port.Burst) int {
	if q.polls++; q.polls%sampleEvery == 1 {
		q.sample.Store(&Sample{
			Packets: q.n, Unseen: q.thrown, Lost: q.lost, LostShort: q.lostShort, CPU: threadCPU(), Time: time.Now(),
		})
	}
	b.N = q.waiting()
	if q.unseen.Load() {
		q.thrown += uint64(b.N)
		b.N = 0
	}
	for i := range b.N {
		n := q.n
		host := (n * golden) & q.mask
		port16 := uint16(1024 + (n/(q.mask+1))%Flows)
		f := q.frames[n%numFrames]
		if q.v6 {
			binary.BigEndian.PutUint32(f[50:], uint32(host))
			binary.BigEndian.PutUint16(f[54:], port16)
		} else {
			binary.BigEndian.PutUint32(f[30:], 10<<24|uint32(host))
			binary.BigEndian.PutUint16(f[34:], port16)
		}
		b.Frames[i] = port.Frame{Data: f, WireLen: uint32(len(f))}
		q.n++
	}
	return b.N
}

// waiting is how many packets the next burst has.
func (q *Queue) waiting() int {
	rate := q.rate.Load()
	if rate == 0 {
		return port.MaxBurst
	}
	now := time.Since(q.begin)
	if s := q.setting.Load(); s != q.seen {
		q.seen, q.from, q.came, q.taken, q.short = s, now, 0, 0, 0
	}
	before := q.came
	q.came = uint64((now - q.from).Seconds() * float64(rate))
	if q.short += q.came - before; q.short > ShortDepth {
		q.lostShort += q.short - ShortDepth
		q.short = ShortDepth
	}
	if q.came > q.taken+Depth {
		over := q.came - q.taken - Depth
		q.lost += over
		q.taken += over
	}
	n := min(q.came-q.taken, port.MaxBurst)
	q.taken += n
	q.short -= min(n, q.short)
	return int(n)
}

// Release implements port.Queue.
func (q *Queue) Release(b *port.Burst) { b.N = 0 }

// LinkType implements port.Queue.
func (q *Queue) LinkType() wire.LinkType { return wire.LinkEthernet }

// Stats implements port.Queue, as of the last sample.
func (q *Queue) Stats() port.QueueStats {
	s := q.Sample()
	return port.QueueStats{Received: s.Packets, Dropped: s.Lost}
}

// Sample is the last one, all zero before the first.
func (q *Queue) Sample() Sample {
	if s := q.sample.Load(); s != nil {
		return *s
	}
	return Sample{}
}

// SampleAfter waits for a sample that is newer than at, and returns it; an error after ten seconds without one.
func (q *Queue) SampleAfter(at time.Time) (Sample, error) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s := q.Sample(); s.Time.After(at) {
			return s, nil
		}
	}
	return Sample{}, errors.New("feed: the worker does not poll")
}

// Taken is how many packets the worker took and how many were lost. The worker must have stopped.
func (q *Queue) Taken() (packets, lost uint64) { return q.n, q.lost }

func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every kernel that Go runs on has it
	}
	return time.Duration(t.Nano())
}
