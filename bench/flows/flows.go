package flows

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/charge"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	sflowdec "github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// Case is one measurement.
type Case struct {
	Protocol Protocol
	IPv6     bool
	// Hosts is how many destinations are hit, in random order.
	Hosts int
	// Records is the length of an epoch, Epochs how many are measured.
	Records, Epochs int
	// Peer measures goflow2 beside.
	Peer bool
}

// Figures are nanoseconds of CPU a record, over the epochs.
type Figures struct{ Best, Median, Worst float64 }

// Result is what a Case gave.
type Result struct {
	Case
	// Counted is decode, sample and count; Decoded the decoder alone, which knows the rates and whose records nobody counts.
	Counted, Decoded Figures
	// Peer is goflow2's decoder, Produced with its producer; zero when not asked for.
	Peer, Produced Figures
	// Allocations are heap allocations a record, while decoding and counting.
	Allocations float64
}

// Networks are what the benchmark protects.
func networks() (*nets.Table, error) {
	return nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
}

// decoder is one decoder of ours, whatever the protocol.
type decoder interface {
	Decode(*record.Datagram, *record.Stats, record.Sink) record.Code
}

func newDecoder(p Protocol) (decoder, error) {
	reg, err := template.New(template.Default())
	if err != nil {
		return nil, err
	}
	table, err := sampling.New(sampling.Default())
	if err != nil {
		return nil, err
	}
	deps := dataset.Deps{Templates: reg, Sampling: table, Wire: &wire.Decoder{}}
	switch p {
	case SFlow:
		return sflowdec.New(sflowdec.Config{}, nil), nil
	case IPFIX:
		return ipfix.New(deps), nil
	}
	return netflow.New(deps), nil
}

// counter scales and counts records, as the collector does with those that report one moment.
type counter struct {
	half  *traffic.Half
	burst charge.Burst
}

// Record implements record.Sink.
func (c *counter) Record(r *record.Record) {
	n := traffic.Counter{Packets: r.Scale(r.Packets), Bytes: r.Scale(r.Bytes)}
	c.burst.Add(c.half, traffic.InternalBoth, &r.Src, &r.Dst, r.Class(), n)
}

// scaler only looks at what a record would count.
type scaler struct{ packets uint64 }

// Record implements record.Sink.
func (s *scaler) Record(r *record.Record) { s.packets += r.Scale(r.Packets) }

// bench is one case under way.
type bench struct {
	Case
	stream  *stream
	decoder decoder
	stats   record.Stats
	shard   *traffic.Shard
	merger  *merge.Merger
	sink    counter
	scaler  scaler
	peer    *peer
}

// Run measures one case on a locked thread.
func Run(c Case) (r Result, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.Case = c
	b := &bench{Case: c}
	if b.stream, err = newStream(c.Protocol, c.IPv6, c.Hosts, false); err != nil {
		return r, err
	}
	if b.decoder, err = newDecoder(c.Protocol); err != nil {
		return r, err
	}
	if c.Peer {
		if b.peer, err = newPeer(b.stream); err != nil {
			return r, err
		}
	}
	table, err := networks()
	if err != nil {
		return r, err
	}
	seed, begun := traffic.NewSeed(rand.New(rand.NewPCG(7, 7)).Uint64), time.Now()
	now := func() int64 { return int64(time.Since(begun)) }
	if b.shard, err = traffic.NewShard(traffic.Config{Hosts: c.Hosts + 1}, seed, table, now); err != nil {
		return r, err
	}
	if b.merger, err = merge.New(merge.DefaultConfig(), seed, table, now); err != nil {
		return r, errors.Join(err, b.shard.Free())
	}
	err = errors.Join(b.merger.Add(b.shard), b.epochs(&r))
	return r, errors.Join(err, b.merger.Free(), b.shard.Free())
}

// warmUp is how many epochs touch the pages of both halves before any is measured.
const warmUp = 2

// peerShare is which part of an epoch the slow peers get.
const peerShare = 50

func (b *bench) epochs(r *Result) error {
	var counted, decoded, peer, produced []float64
	for e := range b.Epochs + warmUp {
		b.sink.half = b.shard.Poll()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ns, err := b.ours(&b.sink)
		if err != nil {
			return err
		}
		b.sink.burst.Flush(b.sink.half)
		runtime.ReadMemStats(&after)
		if err := b.check(); err != nil {
			return err
		}
		bare, err := b.ours(&b.scaler)
		if err != nil {
			return err
		}
		if e < warmUp {
			continue
		}
		counted, decoded = append(counted, ns), append(decoded, bare)
		r.Allocations = max(r.Allocations, float64(after.Mallocs-before.Mallocs)/float64(b.Records))
		if b.peer == nil {
			continue
		}
		for _, p := range []struct {
			list    *[]float64
			produce bool
		}{{&peer, false}, {&produced, true}} {
			ns, err := b.peer.epoch(b.stream, b.Records/peerShare, p.produce)
			if err != nil {
				return err
			}
			*p.list = append(*p.list, ns)
		}
	}
	r.Counted, r.Decoded, r.Peer, r.Produced = figures(counted), figures(decoded), figures(peer), figures(produced)
	return nil
}

// ours decodes an epoch into sink and returns nanoseconds a record. Making the datagrams is part of it.
func (b *bench) ours(sink record.Sink) (float64, error) {
	dg := record.Datagram{Exporter: exporter, Arrived: clock * 1e9}
	if b.stream.first != nil {
		dg.Payload = b.stream.first
		if c := b.decoder.Decode(&dg, &b.stats, sink); c != record.OK {
			return 0, fmt.Errorf("%s: templates: %v", b.Protocol, c)
		}
	}
	before, n := b.stats.Records, 0
	dg.Payload = b.stream.payload
	begin := cpu()
	for ; n < b.Records; n += b.stream.records() {
		b.stream.next()
		b.decoder.Decode(&dg, &b.stats, sink)
	}
	ns := float64(cpu()-begin) / float64(n)
	if got := b.stats.Records - before; got != uint64(n) {
		return 0, fmt.Errorf("%s: %d records decoded of %d", b.Protocol, got, n)
	}
	b.Records = n
	return ns, nil
}

// check rotates the shard and holds what was counted against what was sent.
func (b *bench) check() error {
	s, err := b.merger.Tick(time.Now())
	if err != nil {
		return err
	}
	defer s.Release()
	want := uint64(b.Records) * b.stream.packets
	switch {
	case s.Conservation != nil:
		return s.Conservation
	case s.Overflowed.Packets > 0:
		return fmt.Errorf("%s: %d packets overflowed", b.Protocol, s.Overflowed.Packets)
	case s.Records.Packets != want:
		return fmt.Errorf("%s: %d packets counted of %d", b.Protocol, s.Records.Packets, want)
	}
	return nil
}

func figures(list []float64) Figures {
	if len(list) == 0 {
		return Figures{}
	}
	slices.Sort(list)
	return Figures{list[0], list[len(list)/2], list[len(list)-1]}
}

// cpu is the CPU time of this thread.
func cpu() time.Duration { return cpuTime(unix.CLOCK_THREAD_CPUTIME_ID) }

func cpuTime(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // both clocks always exist
	}
	return time.Duration(t.Nano())
}

// Cases is the table of issue 4: every protocol and family, at one host and at a million.
func Cases(epochs int) (list []Case) {
	for _, p := range Protocols() {
		for _, v6 := range []bool{false, true} {
			if v6 && p == NetFlow5 {
				continue
			}
			for _, hosts := range []int{1, 1 << 20} {
				list = append(list, Case{Protocol: p, IPv6: v6, Hosts: hosts, Records: 3_000_000, Epochs: epochs, Peer: !v6 && hosts == 1})
			}
		}
	}
	return list
}
