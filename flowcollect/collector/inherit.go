package collector

import "github.com/weir-ddos/weir/flowcollect/spread"

// inherit takes over from a collector that has been stopped what is more than configuration: how exporters behaved and what was
// counted of them, and what long records are still to be charged with. A change of listeners then ends no attack and loses no counter.
// It is called before the workers run; after is not changed.
func (c *Collector) inherit(after *Collector) {
	if len(c.workers) == 0 {
		return
	}
	list, forgotten, refused := after.registry.all()
	c.registry.forgotten, c.registry.refused, c.begin = forgotten, refused, after.begin
	heir := c.workers[0]
	for _, old := range list {
		e := c.registry.get(old.key, old.first)
		e.seen.Store(old.seen.Load())
		e.proven.Store(old.proven.Load())
		e.trusted.Store(old.trusted.Load())
		e.learnt.active.Store(old.learnt.active.Load())
		e.learnt.idle.Store(old.learnt.idle.Load())
		e.learnt.batch.Store(old.learnt.batch.Load())
		old.mu.Lock() // readers of the old one may still be there
		e.skew, e.loss, e.batches, e.looks, e.lookedAt = old.skew, old.loss, old.batches, old.looks, old.lookedAt
		for k, s := range old.interfaces {
			one := *s
			one.Name = e.rule.name
			e.interfaces[k] = &one
		}
		for k, s := range old.sequences {
			one := *s
			e.sequences[k] = &one
		}
		old.mu.Unlock()
	}
	for i, w := range after.workers {
		for _, l := range w.exporters {
			heir.take(l)
		}
		heir.former.add(&w.former)
		heir.atOnce += w.atOnce
		heir.panics.Add(w.panics.Load())
		to := c.workers[i%len(c.workers)]
		to.pending = append(to.pending, w.spread)
		to.pending = append(to.pending, w.pending...) // it never ran
	}
}

// take adds another worker's view of an exporter to this one's.
func (w *worker) take(l *local) {
	e := w.c.registry.find(l.key)
	if e == nil {
		w.former.add(l)
		return
	}
	mine := w.exporters[l.key]
	if mine == nil {
		mine = &local{exporter: e}
		w.exporters[l.key] = mine
	}
	mine.add(l)
	mine.rate, mine.rateFrom, mine.rateOf, mine.stats.Last = l.rate, l.rateFrom, l.rateOf, l.stats.Last
}

// add adds another's counters.
func (l *local) add(o *local) {
	l.stats.Add(&o.stats)
	l.charged.add(&o.charged)
	l.bytes += o.bytes
	for p := range o.datagrams {
		l.datagrams[p] += o.datagrams[p]
		l.records[p] += o.records[p]
	}
}

// inheritPending charges from now on what a predecessor was still to be charged with. mu is held.
func (w *worker) inheritPending() {
	for _, s := range w.pending {
		w.spread.Inherit(w.half, s)
	}
	w.pending = []*spread.Spreader(nil)
}
