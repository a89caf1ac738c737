package flows

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weir-ddos/weir/bench/cable"
	processor "github.com/weir-ddos/weir/dataplane/cpu"
	"github.com/weir-ddos/weir/flowcollect/listen/freeport"
)

// Side is a collector that gets the same datagrams as the others.
type Side string

// The sides. Each runs as a process of its own on the receivers' processor, with a configuration as its manual has it.
const (
	Weir       Side = "Weir"
	Nfcapd     Side = "nfcapd"     // writes files; sfcapd for sFlow
	Nfacctd    Side = "nfacctd"    // counts by destination in memory; sfacctd for sFlow
	FastNetMon Side = "FastNetMon" // as packaged, bans off
)

// Sides are all of them, in the order in which they are measured.
func Sides() []Side { return []Side{Weir, Nfcapd, Nfacctd, FastNetMon} }

// BesideCase is one protocol at one collector: datagrams with records of 65,536 hosts, each sent by itself.
type BesideCase struct {
	Protocol Protocol
	Side     Side
	// Rate is records a second, For how long they are sent.
	Rate int
	For  time.Duration
}

// BesideResult is what a BesideCase gave.
type BesideResult struct {
	BesideCase
	// Missing says why nothing was measured: what is not installed.
	Missing string
	// Sent and Lost are datagrams; the kernel counts those that found the socket's buffer full.
	Sent, Lost uint64
	// Records were received, Offered is how many a second were sent in fact.
	Records uint64
	Offered float64
	// CPU is what the collector's processes used from the first datagram to the last one read, system calls and ticks included.
	CPU time.Duration
}

// Nanoseconds is CPU time a record that was received.
func (r BesideResult) Nanoseconds() float64 {
	return float64(r.CPU.Nanoseconds()) / float64(max(r.Records, 1))
}

// BesideCases are every protocol at every collector at one rate, at which FastNetMon loses (BASELINE.md 4).
func BesideCases(long time.Duration) (list []BesideCase) {
	for _, p := range Protocols() {
		for _, s := range Sides() {
			list = append(list, BesideCase{Protocol: p, Side: s, Rate: 500_000, For: long})
		}
	}
	return list
}

// besideHosts is how many hosts the records are of.
const besideHosts = 1 << 16

// patience is how long a program may take for a step.
const patience = time.Minute

// RunBeside measures one case. A program that is not installed is no error.
func RunBeside(ctx context.Context, c BesideCase) (r BesideResult, err error) {
	r.BesideCase = c
	s, err := newStream(c.Protocol, false, besideHosts, false)
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "weir-bench-flows-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at, err := freeport.UDP(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return r, err
	}
	port := at.Port()
	args, err := c.command(dir, port)
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		r.Missing = missing.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	p, err := launch(dir, c, args)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if err = p.until(ctx, "its socket", func() bool { return socketOf(port).found }); err != nil {
		return r, err
	}
	return r, r.measure(ctx, s, p, port)
}

// measure sends, waits until all is read, and takes the counts.
func (r *BesideResult) measure(ctx context.Context, s *stream, p *process, port uint16) error {
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing of it is lost
	if s.first != nil {
		if _, err := conn.Write(s.first); err != nil {
			return err
		}
	}
	drained := func() bool { return socketOf(port).queued == 0 }
	if err := p.until(ctx, "the template", drained); err != nil {
		return err
	}
	used, dropped := p.cpu(), socketOf(port).dropped
	paced := make(chan error, 1)
	go func() { paced <- r.pace(ctx, s, conn) }()
	if err := <-paced; err != nil {
		return err
	}
	if err := p.until(ctx, "the last datagram", drained); err != nil {
		return err
	}
	r.Lost, r.CPU = socketOf(port).dropped-dropped, p.cpu()-used
	r.Records = (r.Sent - min(r.Lost, r.Sent)) * uint64(s.records())
	return nil
}

// pace sends at the case's rate, a millisecond's datagrams at a time. A sender that was held up offers less and makes up for nothing: a
// burst would be lost for its own sake. It keeps its thread, which ends with it.
func (r *BesideResult) pace(ctx context.Context, s *stream, conn *net.UDPConn) error {
	runtime.LockOSThread()
	if err := processor.Pin(cable.SenderCPU()); err != nil {
		return fmt.Errorf("pin the sender: %w", err)
	}
	const slice = time.Millisecond
	each := float64(r.Rate) * slice.Seconds() / float64(s.records()) // datagrams
	begin, due := time.Now(), 0.0
	for next := begin; time.Since(begin) < r.For && ctx.Err() == nil; {
		for due += each; due >= 1; due-- {
			s.next()
			if _, err := conn.Write(s.payload); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			r.Sent++
		}
		next = next.Add(slice)
		if late := time.Since(next); late > slice {
			next = next.Add(late)
		}
		time.Sleep(time.Until(next))
	}
	r.Offered = float64(r.Sent) * float64(s.records()) / time.Since(begin).Seconds()
	return ctx.Err()
}

// socketState is what the kernel says of the UDP sockets at a port.
type socketState struct {
	found           bool
	queued, dropped uint64 // bytes and datagrams
}

func socketOf(port uint16) (st socketState) {
	for _, name := range []string{"udp", "udp6"} {
		text, err := os.ReadFile("/proc/self/net/" + name)
		if err != nil { // no IPv6
			continue
		}
		st.parse(string(text), port)
	}
	return st
}

// parse adds the sockets at the port in a text like /proc/net/udp.
func (st *socketState) parse(text string, port uint16) {
	for line := range strings.Lines(text) {
		// sl local rem st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops
		f := strings.Fields(line)
		if len(f) < 13 {
			continue
		}
		_, at, _ := strings.Cut(f[1], ":")
		_, remote, _ := strings.Cut(f[2], ":")
		if n, err := strconv.ParseUint(at, 16, 16); err != nil || uint16(n) != port || remote != "0000" {
			continue
		}
		_, rx, _ := strings.Cut(f[4], ":")
		queued, _ := strconv.ParseUint(rx, 16, 64)
		dropped, _ := strconv.ParseUint(f[12], 10, 64)
		st.found = true
		st.queued += queued
		st.dropped += dropped
	}
}
