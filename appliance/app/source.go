package app

import (
	"slices"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// source is the merger behind a lock, so that workers can come and go while the engine ticks. It implements engine.Source.
type source struct {
	mu       sync.Mutex // guards all below; the tick holds it for its few milliseconds
	merger   *merge.Merger
	retiring []retiring
	counted  counted
}

// counted is what all ticks have counted since the start.
type counted struct {
	frames, bytes uint64
	codes         [wire.NumCodes]uint64
	totals        traffic.Totals
}

func (c *counted) add(s *merge.Snapshot) {
	c.frames += s.Frames
	c.bytes += s.Bytes
	for i, n := range s.Codes {
		c.codes[i] += n
	}
	for f := range s.Totals {
		for d := range s.Totals[f] {
			c.totals[f][d].Add(&s.Totals[f][d])
		}
	}
}

// retiring are the shards of workers that have stopped, until ticks have taken what they counted.
type retiring struct {
	shards []*traffic.Shard
	ticks  *int
	done   func()
}

// retireTicks is how many ticks empty both halves of a stopped worker's shard, also of one that was late.
const retireTicks = 2

// Tick implements engine.Source.
func (s *source) Tick(now time.Time) (*merge.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, err := s.merger.Tick(now)
	if err == nil {
		s.counted.add(snap)
		s.retiring = slices.DeleteFunc(s.retiring, s.dropped)
	}
	return snap, err
}

// sums are what was counted since the start.
func (s *source) sums() counted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted
}

// dropped counts a tick, and drops the shards after the last.
func (s *source) dropped(r retiring) bool {
	if *r.ticks--; *r.ticks > 0 {
		return false
	}
	s.drop(r.shards)
	r.done()
	return true
}

func (s *source) drop(shards []*traffic.Shard) {
	for _, sh := range shards {
		s.merger.Remove(sh)
	}
}

// SetNets implements engine.Source.
func (s *source) SetNets(n *nets.Table) { s.merger.SetNets(n) }

// add takes a worker's shard into the next tick.
func (s *source) add(sh *traffic.Shard) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.merger.Add(sh)
}

// retire drops the shards of workers that have stopped as soon as their counts are taken, and calls done then.
func (s *source) retire(shards []*traffic.Shard, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := retireTicks
	s.retiring = append(s.retiring, retiring{shards, &n, done})
}

// end drops everything; there are no ticks any more.
func (s *source) end(shards []*traffic.Shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(shards)
	for _, r := range s.retiring {
		s.drop(r.shards)
		r.done()
	}
	s.retiring = nil
}
