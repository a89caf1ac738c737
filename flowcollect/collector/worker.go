package collector

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/charge"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/listen"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/spread"
)

// How many spread entries are charged between two batches: some hundred microseconds' worth while datagrams are waiting.
const (
	busyBudget = 2048
	idleBudget = 32768
)

// accept says which protocols a listener takes.
type accept uint8

const (
	acceptAll accept = iota
	acceptNetFlow
	acceptSFlow
)

var accepts = map[string]accept{"": acceptAll, "auto": acceptAll, "netflow": acceptNetFlow, "sflow": acceptSFlow}

// local is one exporter as one worker sees it.
type local struct {
	*exporter
	stats     record.Stats
	charged   charged
	datagrams [record.NumProtocols]uint64
	records   [record.NumProtocols]uint64
	bytes     uint64
	rate      float64 // of the last record
	rateFrom  record.RateSource
	rateOf    record.Protocol
	sampled   sampled // sFlow
}

// charged is what became of an exporter's records.
type charged struct {
	// Packets and bytes are scaled.
	counted, dropped           traffic.Counter
	filtered, skipped, useless uint64
	dropsReported              traffic.Counter
	durations                  [record.NumProtocols][numDurations]uint64
}

func (c *charged) add(o *charged) {
	c.counted.Add(o.counted)
	c.dropped.Add(o.dropped)
	c.dropsReported.Add(o.dropsReported)
	c.filtered += o.filtered
	c.skipped += o.skipped
	c.useless += o.useless
	for p := range o.durations {
		for i, n := range o.durations[p] {
			c.durations[p][i] += n
		}
	}
}

// worker receives at one socket.
type worker struct {
	c      *Collector
	socket *listen.Socket
	accept accept
	batch  *listen.Batch

	netflow *netflow.Decoder
	ipfix   *ipfix.Decoder
	sflow   *sflow.Decoder

	shard *traffic.Shard
	start int64 // of the epoch that is being counted
	half  *traffic.Half

	// While a batch is worked on.
	now  int64 // the shard's clock
	wall int64
	cur  *local
	dg   record.Datagram
	tick time.Duration // the nominal length of an epoch

	burst charge.Burst

	filters *filters // where filter is from
	filter  keeper   // nil keeps everything

	panics atomic.Uint64
	failed atomic.Bool

	mu        sync.Mutex // guards all below; the worker holds it for a batch, readers for a moment
	spread    *spread.Spreader
	exporters map[[16]byte]*local
	former    local              // sums of exporters that were forgotten, and of datagrams that are nobody's
	pending   []*spread.Spreader // of predecessors, until the first epoch
	atOnce    uint64             // records that were not spread
}

// run receives until the collector stops.
func (w *worker) run() {
	w.shard.Enter()
	w.poll()
	for !w.c.stop.Load() {
		// While it waits the worker owns nothing: a tick does not wait for a quiet socket.
		w.shard.Leave()
		n, err := w.socket.Recv(w.batch)
		w.shard.Enter()
		if err != nil {
			w.failed.Store(true)
			w.c.deps.Log.Error("a flow socket failed; nothing is received there any more", "address", w.socket.Addr(), "err", err)
			break
		}
		w.poll()
		w.mu.Lock()
		w.work(n)
		budget := idleBudget
		if w.batch.Full() {
			budget = busyBudget
		}
		w.spread.Work(w.half, budget)
		w.mu.Unlock()
	}
	w.unfilter()
	w.shard.Leave()
}

// poll takes the half to count into. A shard that was turned twice gives the same half again, and another start.
func (w *worker) poll() {
	h := w.shard.Poll()
	if h == w.half && h.Start == w.start {
		return
	}
	w.half, w.start = h, h.Start
	w.mu.Lock()
	w.tick = time.Duration(w.c.tick.Load())
	w.spread.SetTick(w.tick)
	w.spread.Begin(h, h.Start)
	w.inheritPending()
	w.mu.Unlock()
}

// work reads a batch. mu is held.
func (w *worker) work(n int) {
	if n == 0 {
		return
	}
	w.now, w.wall = w.c.deps.Clock(), w.c.deps.Now().UnixNano()
	w.refilter()
	for i := 0; i < n; {
		i = w.datagrams(i, n)
	}
	w.burst.Flush(w.half)
	if w.filter != nil {
		w.filter.Flush()
	}
}

// datagrams reads datagrams from i on. A decoder that panics, which none may, costs its datagram and not the appliance: then it
// returns the next one's place.
func (w *worker) datagrams(i, n int) (next int) {
	defer func() {
		if p := recover(); p != nil {
			if w.panics.Add(1) <= 3 {
				w.c.deps.Log.Error("a flow decoder panicked; the datagram was left out",
					slog.String("exporter", netip.AddrFrom16(*w.batch.Source(i)).Unmap().String()), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			}
			next = i + 1
		}
	}()
	for ; i < n; i++ {
		w.datagram(w.batch.Source(i), w.batch.Data(i))
	}
	return n
}

// datagram reads one.
func (w *worker) datagram(source *[16]byte, payload []byte) {
	e := w.find(source)
	if !e.allowed {
		w.c.allow.Refuse(e.addr)
		return
	}
	e.bytes += uint64(len(payload))
	e.seen.Store(w.wall)
	w.dg = record.Datagram{Exporter: *source, Arrived: w.wall, Payload: payload}
	w.cur = e
	before := e.stats.Records
	var agent [16]byte
	switch kind := Detect(payload); {
	case kind == IsSFlow && w.accept != acceptNetFlow:
		w.sflow.Decode(&w.dg, &e.stats, w)
		agent = w.sflow.Agent()
	case kind == IsIPFIX && w.accept != acceptSFlow:
		w.ipfix.Decode(&w.dg, &e.stats, w)
		e.seeAll(w.ipfix.Earlier(), w.wall)
	case kind == IsNetFlow && w.accept != acceptSFlow:
		w.netflow.Decode(&w.dg, &e.stats, w)
	default:
		e.stats.Datagrams++
		e.stats.Last = record.Header{}
		e.stats.Count(record.OK, record.BadVersion)
	}
	h := &e.stats.Last
	e.datagrams[h.Protocol]++
	e.records[h.Protocol] += e.stats.Records - before
	e.see(h, agent, w.wall)
	if e.stats.Records != before && !e.proven.Load() {
		e.proven.Store(true)
	}
}

// Format is what a datagram begins like.
type Format uint8

// The formats.
const (
	IsUnknown Format = iota
	IsNetFlow        // v1, v5, v7, v9
	IsIPFIX
	IsSFlow // v2, v4, v5
)

// Detect tells what a datagram is by its version: NetFlow and IPFIX begin with it in 16 bits, sFlow in 32.
func Detect(b []byte) Format {
	if len(b) < 4 {
		return IsUnknown
	}
	version := binary.BigEndian.Uint32(b)
	switch version {
	case 2, 4, 5:
		return IsSFlow
	}
	switch version >> 16 {
	case 1, 5, 7, 9:
		return IsNetFlow
	case 10:
		return IsIPFIX
	}
	return IsUnknown
}

// find returns the worker's view of an exporter.
func (w *worker) find(source *[16]byte) *local {
	if e := w.cur; e != nil && e.key == *source && !e.gone.Load() { // datagrams come in runs
		return e
	}
	e := w.exporters[*source]
	if e == nil || e.gone.Load() && !e.unlisted {
		w.drop(e)
		e = w.admit(source)
	}
	return e
}

// drop forgets an exporter and keeps its sums.
func (w *worker) drop(e *local) {
	if e == nil {
		return
	}
	delete(w.exporters, e.key)
	w.former.add(e)
	w.c.forget(&e.key)
}

// sweep drops the exporters that the registry has forgotten. It is called now and then.
func (w *worker) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var since int64
	if !w.c.registry.room() {
		since = w.c.deps.Now().Add(-unlistedFor).UnixNano()
	}
	w.dropGone(since)
}

// Record implements record.Sink: it charges what a decoder read.
func (w *worker) Record(r *record.Record) {
	e := w.cur
	if r.Protocol >= record.SFlow2 {
		w.sample(e, r)
	}
	e.rate, e.rateFrom, e.rateOf = r.SamplingRate, r.RateFrom, r.Protocol
	if r.Totals || r.Packets|r.Bytes == 0 {
		settle(r)
	}
	n := traffic.Counter{Packets: r.Scale(r.Packets), Bytes: r.Scale(r.Bytes)}
	if r.DroppedPackets|r.DroppedBytes != 0 {
		e.charged.dropsReported.Add(traffic.Counter{Packets: r.Scale(r.DroppedPackets), Bytes: r.Scale(r.DroppedBytes)})
	}
	if r.Dropped {
		e.charged.dropped.Add(n)
	}
	switch {
	case r.Kind == record.Discard: // a notice beside the samples, which have the packet too
		return
	case !e.rule.counts(r):
		e.charged.skipped++
		return
	case w.filter != nil && !w.filter.Keep(e.addr, r):
		e.charged.filtered++
		return
	case !r.Traffic():
		e.charged.useless++
		return
	}
	if r.Has&record.HasDuration != 0 {
		e.charged.durations[r.Protocol][durationClass(time.Duration(r.Duration))]++
	}
	e.charged.counted.Add(n)
	w.charge(r, n, e.duration(r))
}

// charge adds a record's scaled counts to the shard.
//
// A SYN among the flags of a flow that was also acknowledged is one packet of it, not all: counted as SYN, a download would be
// a SYN flood. All packets of a flow that never acknowledged anything are SYNs (and what it got as an answer).
func (w *worker) charge(r *record.Record, n traffic.Counter, d time.Duration) {
	class := r.Class()
	if syn := class == traffic.ClassTCPSYN || class == traffic.ClassTCPSYNFragment; syn && r.TCPFlags&wire.FlagACK != 0 && r.Packets > 1 {
		one := traffic.Counter{Packets: min(r.Scale(1), n.Packets), Bytes: min(r.Scale(synBytes), n.Bytes/r.Packets)}
		w.put(r, class, one, d)
		n = traffic.Counter{Packets: n.Packets - one.Packets, Bytes: n.Bytes - one.Bytes}
		class -= traffic.ClassTCPSYN - traffic.ClassTCP
	}
	w.put(r, class, n, d)
}

// put adds a record, or a part of it, at once or over its time.
func (w *worker) put(r *record.Record, class traffic.Class, n traffic.Counter, d time.Duration) {
	if d > w.tick {
		w.spread.Add(w.half, &traffic.Record{Src: r.Src, Dst: r.Dst, Class: class, Counter: n}, w.now, d)
		return
	}
	w.atOnce++
	w.burst.Add(w.half, w.c.deps.Internal, &r.Src, &r.Dst, class, n)
}

// synBytes is the length of an ordinary SYN over IPv4.
const synBytes = 60
