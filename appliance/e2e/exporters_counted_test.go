package e2e

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/tools/lab"
)

// metered is one exporter of known traffic.
type metered struct {
	name string
	end  end
	// packets and bytes are what the appliance must have counted for it, give or take tolerance of them.
	packets, bytes uint64
	tolerance      float64
	// code is what the appliance may find wrong with its datagrams.
	code string
	// hasty exporters may end before they have exported all, which no sequence number tells: pmacctd gives its plugin two seconds.
	hasty bool
	// run starts the exporter; nil for one that runs already.
	run func() *process
	// before is what it had before its last run, running that run, and last what it had at the time since.
	before, last counted
	running      *process
	since        time.Time
}

// check says how what the appliance counted differs from what there was; nil when it does not.
func (m *metered) check(all map[netip.Addr]counted) error {
	c := all[m.end.exporter]
	packets, bytes := c.packets-m.before.packets, c.bytes-m.before.bytes
	off := func(got, want uint64) float64 { return math.Abs(float64(got)/float64(want) - 1) }
	if off(packets, m.packets) > m.tolerance || off(bytes, m.bytes) > m.tolerance {
		return fmt.Errorf("%s: %d packets, %d bytes, %d lost; want %d and %d within %.0f %%", m.name, packets, bytes, c.lost-m.before.lost,
			m.packets, m.bytes, 100*m.tolerance)
	}
	return nil
}

// counted is what the appliance charged for an exporter, and how much it noticed to be missing.
type counted struct{ packets, bytes, lost uint64 }

func countedOf(w *lab.Weir) (map[netip.Addr]counted, error) {
	list, err := exporters(w)
	out := make(map[netip.Addr]counted, len(list))
	for a, e := range list {
		c := counted{packets: e.Counted.Packets, bytes: e.Counted.Bytes}
		for _, n := range e.Lost {
			c.lost += n
		}
		out[a] = c
	}
	return out, err
}

// expectCounted waits until all exporters' totals are right, and then stay so while everything that is still under way arrives.
func (y *yard) expectCounted(w *lab.Weir, list []*metered) {
	y.t.Helper()
	check := func() error {
		got, err := countedOf(w)
		for _, m := range list {
			err = errors.Join(err, m.check(got))
		}
		return err
	}
	y.wait("equal totals", func() (bool, error) {
		err := check()
		if err != nil {
			y.again(w, list)
		}
		return err == nil, err
	})
	y.stays(2*time.Second, check)
	got, err := exporters(w)
	if err != nil {
		y.t.Fatal(err)
	}
	for _, m := range list {
		e := got[m.end.exporter]
		y.t.Logf("%-28s %7d packets %9d bytes of %7d %9d, rate %v from %s, %v datagrams, %d records", m.name, e.Counted.Packets-m.before.packets,
			e.Counted.Bytes-m.before.bytes, m.packets, m.bytes, e.SamplingRate, e.SamplingFrom, e.Datagrams, e.Records)
		delete(e.Codes, m.code)
		// Nothing of a run without loss may be taken for lost.
		if (len(e.Lost) > 0 && m.before == counted{}) || len(e.Codes) > 0 || e.UnknownTemplateSets > 0 {
			y.t.Errorf("%s: lost %v, codes %v, %d sets without template", m.name, e.Lost, e.Codes, e.UnknownTemplateSets)
		}
	}
}

// settled is after how much silence of an exporter that has ended nothing more is to come.
const settled = 2 * time.Second

// again runs exporters once more that have ended and of which the appliance says that datagrams are missing: a busy kernel drops some on
// the cable, and no exporter sends anything twice. What is wrong without loss remains wrong.
func (y *yard) again(w *lab.Weir, list []*metered) {
	got, err := countedOf(w)
	if err != nil {
		return // the next look tells
	}
	for _, m := range list {
		c := got[m.end.exporter]
		if m.running == nil || m.running.running() || c != m.last {
			m.last, m.since = c, time.Now()
		}
		missing := c.lost > m.before.lost || (m.hasty && c.packets-m.before.packets < m.packets)
		if err := m.check(got); err != nil && missing && time.Since(m.since) > settled {
			y.t.Logf("once more: %v", err)
			m.before, m.running = c, m.run()
		}
	}
}

// stays looks for a while whether something remains true.
func (y *yard) stays(d time.Duration, check func() error) {
	y.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := check(); err != nil {
			y.t.Fatal(err)
		}
		select {
		case <-y.t.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
