package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// before is earlier than every frame, forever later.
const (
	before  int64 = math.MinInt64
	forever int64 = math.MaxInt64
)

// Port plays captures. It implements port.Port.
//
// Times are nanoseconds since the Unix epoch as recorded, with three repairs that make them a clock: a time stamp that
// goes backwards, or is missing, takes the time of the frame before it; a file that begins before the end of
// the one played before it is shifted as a whole to begin there; Frame.Time carries the repaired time.
type Port struct {
	cfg    Config
	files  []*file
	queues []port.Queue
	byLink map[wire.LinkType][]*queue

	stop    chan struct{} // closed by Close
	done    chan struct{} // closed by the reader when it ends
	drained chan struct{} // a queue moved its drained mark; holds at most one token
	closed  atomic.Bool

	// reached is the moment before which every frame has been handed to its queue: the reader's promise. The
	// reader writes it, workers read it.
	reached atomic.Int64
	dropped atomic.Uint64 // frames that no queue takes

	moved chan struct{} // Advance raised limit; holds at most one token

	mu    sync.Mutex // guards the rest
	limit int64      // frames at or after it are held back
	next  int64      // time of the first frame that is held back; valid while the reader waits, forever at the end
	last  int64      // time of the newest frame that was released; set when next is
	errs  []error
}

// New opens cfg.Files and starts to read. A file that is missing or is no capture is an error here; one that turns out
// to be damaged is played up to the damage, and Err and Stats say so.
//
// Link types are found beforehand: the first record of a pcap tells, a pcapng is scanned once. (A pcapng that
// cannot be read twice, a pipe, is taken to hold one link type only; frames of others are counted as dropped.)
func New(cfg Config) (*Port, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Queues == 0 {
		cfg.Queues = 1
	}
	if cfg.QueueMemory == 0 {
		cfg.QueueMemory = Default().QueueMemory
	}
	if cfg.Decoder == nil {
		cfg.Decoder = new(wire.Decoder)
	}
	p := &Port{
		cfg: cfg, limit: forever, next: forever, byLink: map[wire.LinkType][]*queue{},
		stop: make(chan struct{}), done: make(chan struct{}),
		drained: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	p.reached.Store(before)
	if cfg.Hold {
		p.limit = before
	}
	if err := p.survey(); err != nil {
		return nil, err
	}
	go newReader(p).run()
	return p, nil
}

// survey opens every file once, and makes the queues for the link types that it finds.
func (p *Port) survey() error {
	var links []wire.LinkType
	for _, name := range p.cfg.Files {
		f, found, err := survey(name)
		if err != nil {
			p.closeFiles()
			return fmt.Errorf("%s: %w", name, err)
		}
		p.files = append(p.files, f)
		links = append(links, found...)
	}
	if len(links) == 0 {
		links = append(links, wire.LinkEthernet) // nothing will come, and a port has queues all the same
	}
	for _, l := range links {
		if p.byLink[l] != nil {
			continue
		}
		for range p.cfg.Queues {
			q := newQueue(p, l, p.cfg.QueueMemory)
			p.byLink[l] = append(p.byLink[l], q)
			p.queues = append(p.queues, q)
		}
	}
	for _, f := range p.files {
		if !f.empty {
			p.next = max(f.first, 0)
			break
		}
	}
	return nil
}

func (p *Port) closeFiles() {
	for _, f := range p.files {
		f.close()
	}
}

// Queues implements port.Port: Config.Queues of them for each link type, in the order in which the link types appear.
// Queue i belongs to worker i modulo Config.Queues; frames of one pair of addresses have the same remainder.
func (p *Port) Queues() []port.Queue { return p.queues }

// Advance lets frames earlier than limit go and returns at once. A limit lower than an earlier one changes nothing.
// It is for a port with Config.Hold; a port without it runs freely and has the limit forever.
//
// The user's loop, which makes every tick see exactly the frames of its own time, is:
//
//	for end := start + tick; ; end += tick {
//		p.Advance(end)
//		if err := p.Wait(ctx); err != nil { ... } // every frame before end is counted
//		engine.Tick(end)                           // rotate shards, judge
//		if _, more := p.Next(); !more { break }
//	}
//
// Workers must go on polling meanwhile. With a Speed, the limit too is reached in its own time: a quiet second lasts one.
func (p *Port) Advance(limit int64) {
	p.mu.Lock()
	p.limit = max(p.limit, limit)
	p.mu.Unlock()
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// Drained reports whether every frame before the limit was taken from its queue and its burst was followed by another
// RxBurst, thus counted. Without Hold it is true at the end of the captures.
func (p *Port) Drained() bool {
	p.mu.Lock()
	limit := p.limit
	p.mu.Unlock()
	for _, q := range p.queues {
		if q.(*queue).drained.Load() < limit {
			return false
		}
	}
	return true
}

// Wait returns when Drained is true. One goroutine at a time may wait. It fails when ctx ends or the port is closed.
func (p *Port) Wait(ctx context.Context) error {
	for !p.Drained() {
		select {
		case <-p.drained:
		case <-p.stop:
			return errors.New("replay: port is closed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// notify wakes Wait; a worker calls it once for each limit.
func (p *Port) notify() {
	select {
	case p.drained <- struct{}{}:
	default:
	}
}

// Next returns the time of the first frame that was not released yet, and false when there is none left.
// Before the first Advance that is the first frame of all; after Wait it is the first at or after the limit, so that
// a user may skip a long silence. In between, and without Hold, it is only a lower bound.
func (p *Port) Next() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, p.next != forever
}

// Last returns, after Wait, the time of the newest frame that was released; 0 when there was none.
func (p *Port) Last() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Err returns what went wrong with the files so far, each error naming its file. Playing goes on with the next file.
func (p *Port) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}

// Stats implements port.Port.
func (p *Port) Stats() port.Stats {
	s := port.Stats{
		Device: p.cfg.Files[0], Driver: "replay", Mode: "speed " + p.cfg.Speed.String(),
		Dropped: p.dropped.Load(),
	}
	for _, q := range p.queues {
		s.Queues = append(s.Queues, q.Stats())
	}
	if err := p.Err(); err != nil {
		s.Err = err.Error()
	}
	return s
}

// Close ends the reader. Frames that were not taken are lost. It may be called more than once.
func (p *Port) Close() error {
	if p.closed.CompareAndSwap(false, true) {
		close(p.stop)
	}
	<-p.done
	return nil
}

// sleep waits until the moment at on the wall clock; false means that the port was closed.
func (p *Port) sleep(at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
		return false
	}
}
