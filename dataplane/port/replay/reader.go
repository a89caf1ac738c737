package replay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// reader is the goroutine between files and queues. It alone touches these fields.
type reader struct {
	p       *Port
	headers wire.Headers
	limit   int64 // the last known value of Port.limit

	// The clock of the captures: shift is added to the times of the present file, now is the newest time.
	shift    int64
	now      int64
	released int64 // time of the newest frame that was let go
	begun    bool

	// The clock on the wall, for a Speed: the captures' time origin was reached at started.
	started time.Time
	origin  int64
}

// slack is how far ahead of its time a frame may be delivered, so that pacing sleeps once for many frames.
const slack = time.Millisecond

func newReader(p *Port) *reader { return &reader{p: p, limit: before} }

// run plays every file, then keeps the promise of reached for good: nothing is left to come.
func (r *reader) run() {
	defer close(r.p.done)
	defer r.p.closeFiles()
	for _, f := range r.p.files {
		if !r.play(f) {
			return
		}
	}
	if !r.flush() {
		return
	}
	r.p.mu.Lock()
	r.p.next, r.p.last = forever, r.released
	r.p.mu.Unlock()
	r.p.reached.Store(forever)
}

// play delivers one file; false means that the port was closed.
func (r *reader) play(f *file) bool {
	defer f.close()
	if err := f.open(); err != nil {
		r.fail(f, err)
		return true
	}
	for n := 0; ; n++ {
		rec, err := f.read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.fail(f, err)
			}
			return true
		}
		if n == 0 {
			r.beginFile(rec.Time)
		}
		if !r.deliver(rec) {
			return false
		}
	}
}

func (r *reader) fail(f *file, err error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.p.errs = append(r.p.errs, fmt.Errorf("%s: %w", f.name, err))
}

// beginFile chooses the shift for a file whose first record has time t.
func (r *reader) beginFile(t int64) {
	r.shift = 0
	if r.begun && t < r.now {
		r.shift = r.now - max(t, 0)
	}
}

// tick moves the clock to a record's time and returns it.
func (r *reader) tick(t int64) int64 {
	if t > 0 && t < forever-max(r.shift, 0) { // else: no time stamp, or nonsense
		t += r.shift
	} else {
		t = 0
	}
	if !r.begun {
		r.begun, r.now = true, t
	}
	r.now = max(r.now, t)
	return r.now
}

// deliver puts one record into its queue when its time has come.
func (r *reader) deliver(rec pcapfile.Record) bool {
	t := r.tick(rec.Time)
	if t >= r.limit && !r.hold(t) {
		return false
	}
	if r.p.cfg.Speed > 0 && !r.pace(t) {
		return false
	}
	r.released = t
	queues := r.p.byLink[rec.LinkType]
	if queues == nil {
		r.p.dropped.Add(1)
		return true
	}
	i := uint64(0)
	if len(queues) > 1 {
		i = r.hash(rec.LinkType, rec.Data) % uint64(len(queues))
	}
	return queues[i].put(t, rec.WireLen, rec.Data)
}

// hold waits until frames of time t are let go, and reports meanwhile what has been reached.
func (r *reader) hold(t int64) bool {
	p := r.p
	for {
		p.mu.Lock()
		r.limit, p.next, p.last = p.limit, t, r.released
		p.mu.Unlock()
		if t < r.limit {
			return true
		}
		if !r.flush() {
			return false
		}
		if p.cfg.Speed > 0 && r.limit != before && !r.sleepTo(r.limit) {
			return false
		}
		p.reached.Store(r.limit)
		select {
		case <-p.moved:
		case <-p.stop:
			return false
		}
	}
}

// pace sleeps until t has come on the wall clock; what was read before t goes out first.
func (r *reader) pace(t int64) bool {
	if r.started.IsZero() {
		r.started, r.origin = time.Now(), t
	}
	if time.Until(r.due(t)) < slack {
		return true
	}
	return r.flush() && r.sleepTo(t)
}

func (r *reader) sleepTo(t int64) bool {
	if r.started.IsZero() {
		r.started, r.origin = time.Now(), min(t, r.now)
	}
	return r.p.sleep(r.due(t))
}

// due translates the captures' time into time on the wall. Beyond a century it says a century, which no Duration overflows.
func (r *reader) due(t int64) time.Time {
	const century = 100 * 365 * 24 * time.Hour
	d := float64(t-r.origin) / float64(r.p.cfg.Speed)
	return r.started.Add(time.Duration(min(d, float64(century))))
}

// flush hands over every chunk that has frames.
func (r *reader) flush() bool {
	for _, q := range r.p.queues {
		if !q.(*queue).flush() {
			return false
		}
	}
	return true
}
