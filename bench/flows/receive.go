package flows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/listen/freeport"
)

// ReceiveCase is one measurement over loopback.
type ReceiveCase struct {
	Protocol Protocol
	IPv6     bool // the records' family; datagrams go over the same
	Hosts    int
	// Spread gives records a duration of half a minute, which the collector spreads over the time to come; else they report one moment.
	Spread bool
	// Single sends each datagram by itself. Else those that are sent together stay together up to the socket, as network cards join what
	// one exporter sends in a row.
	Single bool
	// For is how long is sent.
	For time.Duration
}

// ReceiveResult is what a ReceiveCase gave.
type ReceiveResult struct {
	ReceiveCase
	// Records and Datagrams are how many were received, in Took; Lost datagrams were not, by the kernel's count or by ours.
	Records, Datagrams, Lost uint64
	Took                     time.Duration
	// CPU is what the process used besides the sender's thread and the ticks: receiving, decoding, counting. Ticks is the ticks' part.
	CPU, Ticks time.Duration
	// MaxTick is the longest tick meanwhile.
	MaxTick time.Duration
}

// PerCore is records a second of CPU time.
func (r ReceiveResult) PerCore() float64 { return float64(r.Records) / r.CPU.Seconds() }

// ahead is how many datagrams may be under way: far fewer than the socket's buffer holds.
const ahead = 4096

// pause is how long the sender waits between two looks at what was received: each look holds the worker up.
const pause = 500 * time.Microsecond

// Receive measures one case: one socket, one worker, and a sender on a thread of its own that keeps the socket's queue filled. The
// kernel's receive path runs on the sender's thread, as on another CPU with a real network card.
func Receive(ctx context.Context, c ReceiveCase) (r ReceiveResult, err error) {
	r.ReceiveCase = c
	s, err := newStream(c.Protocol, c.IPv6, c.Hosts, c.Spread)
	if err != nil {
		return r, err
	}
	site, err := newSite(c, 0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, site.free()) }()
	if err = site.collector.Start(ctx); err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ticked := make(chan error, 1)
	go func() { ticked <- site.ticks(ctx, &r.MaxTick) }()
	sent, err := send(ctx, s, site, &r)
	stopped := site.collector.Stop()
	cancel()
	if err = errors.Join(err, stopped, <-ticked); err != nil {
		return r, err
	}
	return r, site.check(s, sent, &r)
}

// site is a running collector and its merger.
type site struct {
	collector *collector.Collector
	merger    *merge.Merger
	counted   traffic.Counter // by the merger's goroutine
	ticker    chan int        // the thread of that goroutine
}

// newSite makes a collector of one socket, at a free port of loopback when port is 0.
func newSite(c ReceiveCase, port uint16) (*site, error) {
	table, err := networks()
	if err != nil {
		return nil, err
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if c.IPv6 {
		loopback = netip.IPv6Loopback()
	}
	if port == 0 {
		at, err := freeport.UDP(loopback)
		if err != nil {
			return nil, err
		}
		port = at.Port()
	}
	cfg := collector.DefaultConfig()
	cfg.Templates.Path, cfg.SpreadHosts = "", 1<<17
	cfg.Listeners = []collector.Listener{{Address: loopback, Ports: []uint16{port}, Sockets: 1, Buffer: 64 << 20}}
	seed, begun := traffic.NewSeed(rand.New(rand.NewPCG(7, 7)).Uint64), time.Now()
	clock := func() int64 { return int64(time.Since(begun)) }
	s := &site{ticker: make(chan int, 1)}
	s.collector, err = collector.New(cfg, collector.Deps{
		Nets: table, Seed: seed, Clock: clock, Traffic: traffic.Config{Hosts: c.Hosts + 1, Prefault: true}, Tick: time.Second, Now: time.Now,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if s.merger, err = merge.New(merge.DefaultConfig(), seed, table, clock); err != nil {
		return nil, errors.Join(err, s.collector.Free())
	}
	for _, shard := range s.collector.Shards() {
		err = errors.Join(err, s.merger.Add(shard))
	}
	return s, err
}

func (s *site) free() error {
	return errors.Join(s.collector.Stop(), s.merger.Free(), s.collector.Free())
}

// ticks rotates the shards every second, as the engine does, and once more at the end, which is not in the figures.
func (s *site) ticks(ctx context.Context, longest *time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.ticker <- threadID()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		last := false
		select {
		case <-ctx.Done():
			last = true
		case <-t.C:
		}
		begin := time.Now()
		snap, err := s.merger.Tick(begin)
		if err != nil {
			return err
		}
		if took := time.Since(begin); !last {
			*longest = max(*longest, took)
		}
		s.counted.Add(snap.Records)
		bad := snap.Conservation
		snap.Release()
		if last || bad != nil {
			return bad
		}
	}
}

// segments is how many datagrams one call sends: they are cut by the kernel (UDP_SEGMENT), which takes 64 KiB at most.
func segments(s *stream) int { return 65000 / len(s.payload) }

// send sends for the case's time, and waits until all is received. It returns how many datagrams were sent.
func send(ctx context.Context, s *stream, site *site, r *ReceiveResult) (sent uint64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	to := site.collector.Addresses()[0]
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if s.first != nil {
		if _, err = conn.Write(s.first); err != nil {
			return 0, err
		}
		sent++
	}
	c, oob := r.ReceiveCase, segmentSize(len(s.payload))
	batch := make([]byte, 0, segments(s)*len(s.payload))
	received := uint64(0)
	process, thread, ticker, begin := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID), cpu(), <-site.ticker, time.Now()
	ticked := threadTime(ticker)
	for time.Since(begin) < r.For && ctx.Err() == nil {
		for sent-received > ahead && ctx.Err() == nil {
			time.Sleep(pause)
			received = site.collector.Stats().Sums.Datagrams
		}
		batch = batch[:0]
		for range segments(s) {
			s.next()
			batch = append(batch, s.payload...)
		}
		if err = write(conn, batch, oob, c.Single, len(s.payload)); err != nil {
			return sent, fmt.Errorf("send to %s: %w", to, err)
		}
		sent += uint64(segments(s))
	}
	for deadline := time.Now().Add(2 * time.Second); received < sent && time.Now().Before(deadline); time.Sleep(pause) {
		received = site.collector.Stats().Sums.Datagrams
	}
	r.Took = time.Since(begin)
	r.Ticks = threadTime(ticker) - ticked
	r.CPU = cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) - process - (cpu() - thread) - r.Ticks
	return sent, ctx.Err()
}

// write sends datagrams of size bytes, in one piece or each by itself.
func write(conn *net.UDPConn, batch, oob []byte, single bool, size int) error {
	if !single {
		_, _, err := conn.WriteMsgUDPAddrPort(batch, oob, netip.AddrPort{})
		return err
	}
	for ; len(batch) > 0; batch = batch[size:] {
		if _, err := conn.Write(batch[:size]); err != nil {
			return err
		}
	}
	return nil
}

// segmentSize is the control message that has the kernel cut a payload into datagrams.
func segmentSize(n int) []byte {
	const udpSegment = 103 // UDP_SEGMENT in linux/udp.h
	b := make([]byte, unix.CmsgSpace(2))
	h := unix.Cmsghdr{Level: unix.IPPROTO_UDP, Type: udpSegment}
	h.SetLen(unix.CmsgLen(2))
	if _, err := binary.Encode(b, native, h); err != nil {
		panic(err) // only when it does not fit
	}
	native.PutUint16(b[unix.CmsgLen(0):], uint16(n))
	return b
}

// check holds what the collector counted against what was sent.
func (s *site) check(st *stream, sent uint64, r *ReceiveResult) error {
	stats := s.collector.Stats()
	r.Datagrams, r.Records, r.Lost = stats.Sums.Datagrams, stats.Sums.Records, sent-stats.Sums.Datagrams
	want := r.Records * st.packets
	if stats.Counted.Packets != want {
		return fmt.Errorf("%s: %d packets charged of %d received", r.Protocol, stats.Counted.Packets, want)
	}
	if !r.Spread && s.counted.Packets != want { // what is spread comes over the next half minute
		return fmt.Errorf("%s: %d packets in the counters of %d received", r.Protocol, s.counted.Packets, want)
	}
	return nil
}

// ReceiveCases are those of issue 4: v9 and IPFIX at a million hosts and the others beside, and records that are spread.
func ReceiveCases(long time.Duration) (list []ReceiveCase) {
	for _, p := range Protocols() {
		list = append(list, ReceiveCase{Protocol: p, Hosts: 1 << 20, For: long})
	}
	return append(list,
		ReceiveCase{Protocol: NetFlow9, Hosts: 1 << 20, Single: true, For: long},
		ReceiveCase{Protocol: IPFIX, Hosts: 1 << 20, Single: true, For: long},
		ReceiveCase{Protocol: IPFIX, IPv6: true, Hosts: 1 << 20, For: long},
		ReceiveCase{Protocol: IPFIX, Hosts: 1, For: long},
		ReceiveCase{Protocol: IPFIX, Hosts: 1 << 16, Spread: true, For: long},
	)
}
