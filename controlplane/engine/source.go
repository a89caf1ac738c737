package engine

import (
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Source makes a snapshot each tick; *merge.Merger is one. A wrapper may look at the snapshots on their way, and must not keep them.
type Source interface {
	Tick(now time.Time) (*merge.Snapshot, error)
	SetNets(n *nets.Table)
}

// counted gives the meter its view of a snapshot.
type counted struct{ s *merge.Snapshot }

func (c counted) FlowsKept() bool                      { return c.s.FlowsKept }
func (c counted) Elapsed() time.Duration               { return c.s.Elapsed }
func (c counted) Nets() *nets.Table                    { return c.s.Nets }
func (c counted) Len() int                             { return c.s.Len() }
func (c counted) Peaks(i int) *traffic.Peaks           { return c.s.Peaks(i) }
func (c counted) Loads(from int, loads []traffic.Load) { c.s.Loads(from, loads) }
func (c counted) Totals() *traffic.Totals              { return &c.s.Totals }
func (c counted) Release()                             { c.s.Release() }

func (c counted) Place(id nets.ID, d traffic.Direction) *traffic.Sum { return c.s.Place(id, d) }

func (c counted) Find(addr *[16]byte, d traffic.Direction, h *traffic.Host) bool {
	row, ok := c.s.Find(netip.AddrFrom16(*addr), d)
	if ok {
		*h = row
	}
	return ok
}
