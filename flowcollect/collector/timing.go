package collector

import (
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// learnt is what is known of the times in which an exporter reports: written under its mu, read by its workers for each record.
type learnt struct {
	active, idle atomic.Int64 // the timeouts that it announced (IE 36, 37), ns; 0 unknown
	batch        atomic.Int64 // the interval in which it sends what it has, ns; 0 when it does not
}

// duration is over how much time a record is charged; zero charges it at once. A sampled packet is news, not history.
func (e *exporter) duration(r *record.Record) time.Duration {
	u := e.rule
	if u.window == 0 || r.Kind == record.Section || r.Kind == record.SectionTunnel {
		return 0
	}
	var d time.Duration
	if r.Has&record.HasDuration != 0 {
		d = time.Duration(r.Duration)
		if active := e.learnt.active.Load(); active != 0 {
			d = min(d, mostActive(time.Duration(active)))
		}
	}
	return min(max(d, u.least, time.Duration(e.learnt.batch.Load())), u.window)
}

// mostActive is the longest time that one record can report when flows are reported every timeout: exporters look at their flows
// now and then. A record that claims more tells when its flow began (FortiGate, nProbe), not when its counters did.
func mostActive(timeout time.Duration) time.Duration {
	return timeout + min(timeout/4, 15*time.Second)
}

// batchMeter finds exporters that keep what they have and send it in bursts (softflowd, pmacctd). A minute of short flows that comes at
// once would be a minute's traffic in a second. Who sends between two bursts, or for long, sends when there is news.
type batchMeter struct {
	began, last int64 // of the burst that lasts
	interval    int64 // between the beginnings of the last two
	regular     int   // bursts that came in that interval
}

// Bounds of batches.
const (
	// minBatch and maxBatch are the intervals that are looked for; a burst ends after burstQuiet.
	minBatch, maxBatch = 2 * time.Second, time.Minute
	burstQuiet         = time.Second
	// enoughBatches is how many must come in step.
	enoughBatches = 4
)

// see takes a datagram with data and returns the interval of batches, 0 when there are none.
func (b *batchMeter) see(arrived int64) time.Duration {
	since, quiet := arrived-b.began, arrived-b.last
	switch {
	case quiet < int64(burstQuiet) && since <= int64(minBatch): // of the burst; workers overtake each other
		b.last = max(b.last, arrived)
		return b.result()
	case quiet < int64(burstQuiet), since < int64(minBatch), since > int64(maxBatch+maxBatch/4):
		b.interval, b.regular = 0, 0
	case b.interval != 0 && since > b.interval*3/4 && since < b.interval*5/4:
		b.interval = since
		b.regular++
	default:
		b.interval, b.regular = since, 0
	}
	b.began, b.last = arrived, arrived
	return b.result()
}

// result is the interval once it was kept often enough.
func (b *batchMeter) result() time.Duration {
	if b.regular < enoughBatches {
		return 0
	}
	return min(time.Duration(b.interval), maxBatch)
}
