package send

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

const (
	maxBatch   = 64
	maxRetries = 2000 // of 50 µs each for one frame
)

// Run sends all frames of g, or until ctx ends, which is no error. It returns what it sent together with any error.
func Run(ctx context.Context, g *gen.Generator, cfg Config) (Stats, error) {
	fd, err := open(cfg)
	if err != nil {
		return Stats{}, err
	}
	defer unix.Close(fd)
	if cfg.Speed <= 0 {
		cfg.Speed = 1
	}
	if cfg.Quantum <= 0 {
		cfg.Quantum = 500 * time.Microsecond
	}
	s := &sender{cfg: cfg, fd: fd, seen: make([]bool, len(g.Streams()))}
	err = s.run(ctx, g)
	return s.stats, err
}

func open(cfg Config) (int, error) {
	dev, err := net.InterfaceByName(cfg.Device)
	if err != nil {
		return -1, fmt.Errorf("send on %q: %w", cfg.Device, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("send on %q: packet socket: %w (CAP_NET_RAW is needed)", cfg.Device, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("send on %q: bind: %w", cfg.Device, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20) // the default works too
	if !cfg.ThroughQdisc {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("send on %q: PACKET_QDISC_BYPASS: %w", cfg.Device, err)
		}
	}
	return fd, nil
}

// sender is the state of one Run.
type sender struct {
	cfg    Config
	fd     int
	stats  Stats
	seen   []bool // streams whose start was reported
	origin int64  // time of the scenario's first frame
	start  time.Time
	batch  [maxBatch]pending
	n      int
	bytes  []byte // the frames of the batch, one after the other
	mm     mmsg
}

// pending is a frame that waits in the batch, with its own copy of the label.
type pending struct {
	frame        gen.Frame
	outer, inner gen.Header
	from, to     int
}

func (s *sender) run(ctx context.Context, g *gen.Generator) error {
	var f gen.Frame
	for g.Next(&f) {
		if s.origin == 0 {
			s.origin, s.start = f.Time, time.Now()
			s.stats.Start = s.start
		}
		due := s.start.Add(time.Duration(float64(f.Time-s.origin) / s.cfg.Speed))
		if !s.cfg.FlatOut {
			if err := s.wait(ctx, due); err != nil {
				return err
			}
		}
		s.add(&f)
		if s.n == maxBatch {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	err := s.flush()
	s.stats.End = time.Now()
	return err
}

// wait sends what is there and sleeps when the next frame is not due yet.
func (s *sender) wait(ctx context.Context, due time.Time) error {
	ahead := time.Until(due)
	s.stats.Behind = max(s.stats.Behind, -ahead)
	if ahead <= s.cfg.Quantum {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	timer := time.NewTimer(time.Until(due) - s.cfg.Quantum/2)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (s *sender) add(f *gen.Frame) {
	p := &s.batch[s.n]
	s.n++
	p.frame = *f
	p.from = len(s.bytes)
	s.bytes = append(s.bytes, f.Data...)
	p.to = len(s.bytes)
	if f.Inner != nil {
		p.inner, p.outer = *f.Inner, *f.Outer
		p.frame.Inner, p.frame.Outer = &p.inner, &p.outer
		if f.Inner == f.Outer {
			p.frame.Outer = &p.inner
		}
	}
}

// flush hands the batch over.
func (s *sender) flush() error {
	now := time.Now()
	for i := range s.n {
		p := &s.batch[i]
		p.frame.Data, p.frame.Time = s.bytes[p.from:p.to], now.UnixNano()
		if p.frame.Attack && !s.seen[p.frame.Stream] {
			s.seen[p.frame.Stream] = true
			if s.cfg.AttackStarts != nil {
				s.cfg.AttackStarts(p.frame.Stream, now)
			}
		}
	}
	retries := 0
	for done := 0; done < s.n; {
		sent, err := s.mm.send(s.fd, s.batch[done:s.n])
		if sent > 0 {
			s.report(s.batch[done : done+sent])
			done, retries = done+sent, 0
			continue
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case (errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN)) && retries < maxRetries:
			retries++
			s.stats.Retries++
			time.Sleep(50 * time.Microsecond)
		case errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EMSGSIZE):
			s.stats.Refused++
			done, retries = done+1, 0
		default:
			s.n, s.bytes = 0, s.bytes[:0]
			return fmt.Errorf("send on %q: %w", s.cfg.Device, err)
		}
	}
	s.n, s.bytes = 0, s.bytes[:0]
	return nil
}

func (s *sender) report(sent []pending) {
	for i := range sent {
		s.stats.Sent++
		s.stats.Bytes += uint64(len(sent[i].frame.Data))
		if s.cfg.Sent != nil {
			s.cfg.Sent(&sent[i].frame)
		}
	}
}
