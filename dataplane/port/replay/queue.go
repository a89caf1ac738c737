package replay

import (
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// chunk is a run of frames in one piece of memory. It has one owner at a time: the reader, a channel, or the worker.
type chunk struct {
	data   []byte
	frames []frame
}

// frame says where in its chunk's data a frame lies.
type frame struct {
	time     int64
	off, end uint32
	wire     uint32
}

// queue is one queue: two channels of chunks, so that the worker pays for a channel operation once a chunk and not
// once a frame.
type queue struct {
	link wire.LinkType
	full chan *chunk // reader to worker
	free chan *chunk // worker to reader
	port *Port

	// open is the chunk that the reader fills; only the reader touches it.
	open *chunk

	// cur and next are the worker's place.
	cur  *chunk
	next int

	// drained is the moment before which the worker has finished every frame; the worker writes it.
	drained  atomic.Int64
	received atomic.Uint64 // written once a burst by the worker
	bytes    atomic.Uint64
}

// chunksPerQueue lets the reader fill, the worker count, and two wait between them.
const chunksPerQueue = 4

// framesPerChunk bounds the index of a chunk; short frames fill it before its memory.
const framesPerChunk = 4096

func newQueue(p *Port, link wire.LinkType, memory int) *queue {
	q := &queue{
		link: link, port: p,
		full: make(chan *chunk, chunksPerQueue),
		free: make(chan *chunk, chunksPerQueue),
	}
	q.drained.Store(before)
	for range chunksPerQueue {
		q.free <- &chunk{data: make([]byte, 0, memory/chunksPerQueue), frames: make([]frame, 0, framesPerChunk)}
	}
	return q
}

// RxBurst implements port.Queue. It never blocks.
func (q *queue) RxBurst(b *port.Burst) int {
	b.N = 0
	if q.cur == nil && !q.take() {
		return 0
	}
	c := q.cur
	n := min(port.MaxBurst, len(c.frames)-q.next)
	var sum uint64
	for i, f := range c.frames[q.next : q.next+n] {
		b.Frames[i] = port.Frame{Data: c.data[f.off:f.end:f.end], Time: f.time, WireLen: f.wire}
		sum += uint64(f.wire)
	}
	q.next += n
	q.received.Add(uint64(n))
	q.bytes.Add(sum)
	b.N = n
	return n
}

// take gets the next chunk. When there is none it notes how far the queue is drained: reached is read before the channel
// is found empty, and the reader sends every frame before it raises reached, so nothing before reached is outstanding;
// and the worker has counted what it got, since it comes for more.
func (q *queue) take() bool {
	if q.port.closed.Load() {
		return false
	}
	reached := q.port.reached.Load()
	select {
	case q.cur = <-q.full:
		q.next = 0
		return true
	default:
	}
	if reached != q.drained.Load() {
		q.drained.Store(reached)
		q.port.notify()
	}
	return false
}

// Release implements port.Queue.
func (q *queue) Release(b *port.Burst) {
	b.N = 0
	if q.cur == nil || q.next < len(q.cur.frames) {
		return
	}
	q.cur.data, q.cur.frames = q.cur.data[:0], q.cur.frames[:0]
	q.free <- q.cur // never blocks: the channel has room for every chunk there is
	q.cur = nil
}

// LinkType implements port.Queue.
func (q *queue) LinkType() wire.LinkType { return q.link }

// Stats implements port.Queue.
func (q *queue) Stats() port.QueueStats {
	return port.QueueStats{Received: q.received.Load(), Bytes: q.bytes.Load()}
}

// put appends a frame for the worker, waiting for room; false means that the port was closed. Reader only.
func (q *queue) put(t int64, wireLen uint32, data []byte) bool {
	if q.open != nil && (len(q.open.data)+len(data) > cap(q.open.data) || len(q.open.frames) == cap(q.open.frames)) {
		if !q.flush() {
			return false
		}
	}
	if q.open == nil {
		select {
		case q.open = <-q.free:
		case <-q.port.stop:
			return false
		}
	}
	c := q.open
	off := len(c.data)
	c.data = append(c.data, data...) // grows only for a frame that is larger than a whole chunk
	c.frames = append(c.frames, frame{time: t, off: uint32(off), end: uint32(len(c.data)), wire: wireLen})
	return true
}

// flush hands the open chunk over; false means that the port was closed. Reader only.
func (q *queue) flush() bool {
	if q.open == nil {
		return true
	}
	select {
	case q.full <- q.open:
		q.open = nil
		return true
	case <-q.port.stop:
		return false
	}
}
