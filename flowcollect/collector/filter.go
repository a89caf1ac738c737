package collector

import (
	"net/netip"

	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// keeper decides about records for one worker, after their sampling rate is known and before they are counted. It is a
// *filter.Worker, and something else in tests.
type keeper interface {
	Keep(exporter netip.Addr, r *record.Record) bool
	Flush()
	Close()
}

// filters makes keepers. It is read-only; a change of configuration makes another, which workers notice at their next batch.
type filters struct {
	worker func() (keeper, error)
	stats  func() filter.Stats
}

func newFilters(cfg filter.Config, deps filter.Deps) (*filters, error) {
	if cfg.Empty() {
		return nil, nil
	}
	set, err := filter.New(cfg, deps)
	if err != nil {
		return nil, err
	}
	return &filters{worker: func() (keeper, error) { return set.Worker() }, stats: set.Stats}, nil
}

// SetFilter changes the filter while records are received. Scripts and files of rules are read anew. On an error the old one stays
// in force. It may be called at any time.
func (c *Collector) SetFilter(cfg filter.Config) error {
	f, err := newFilters(cfg, filter.Deps{Clock: c.deps.Clock, Log: c.deps.Log})
	if err != nil {
		return err
	}
	c.filters.Store(f)
	return nil
}

// refilter takes the filter that is in force now. It is called at the beginning of a batch.
func (w *worker) refilter() {
	f := w.c.filters.Load()
	if f == w.filters {
		return
	}
	w.unfilter()
	w.filters = f
	if f == nil {
		return
	}
	k, err := f.worker()
	if err != nil { // it was tried when it was made
		w.c.deps.Log.Error("a flow worker cannot use the filter; its records are not filtered", "address", w.socket.Addr(), "err", err)
		return
	}
	w.filter = k
	w.sflow.ReadHeads(true)
}

func (w *worker) unfilter() {
	if w.filter != nil {
		w.filter.Close()
	}
	w.filter = nil
	w.sflow.ReadHeads(false)
}
