package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// writeTimeout is how long an answer may take to be taken; an appliance that is stuck loses its connection.
const writeTimeout = 10 * time.Second

// service answers appliances on the unix socket.
type service struct {
	sp  *speaker
	log *slog.Logger
	now func() time.Time

	done chan struct{} // a shutdown has been done

	mu      sync.Mutex // guards what follows
	charge  net.Conn   // the connection in charge, or nil
	pid     int        // of the appliance in charge
	since   time.Time  // when charge became nil
	timeout time.Duration
	exit    Exit
	conns   map[net.Conn]bool
}

func newService(sp *speaker, log *slog.Logger, now func() time.Time, orphan time.Duration) *service {
	return &service{
		sp: sp, log: log, now: now, done: make(chan struct{}, 1), since: now(), timeout: orphan, exit: Keep,
		conns: map[net.Conn]bool{},
	}
}

// serve accepts connections until the listener is closed.
func (v *service) serve(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		v.mu.Lock()
		v.conns[c] = true
		v.mu.Unlock()
		go v.talk(ctx, c)
	}
}

// talk answers one connection, one request after the other.
func (v *service) talk(ctx context.Context, c net.Conn) {
	defer v.hangUp(c)
	for {
		var req request
		if err := readMessage(c, &req); err != nil {
			return
		}
		resp := v.answer(ctx, c, &req)
		resp.ID = req.ID
		err := v.send(c, resp)
		if req.Op == opShutdown && resp.Err == "" {
			// Even if nobody took the answer: the sessions are closed, there is nothing left to live for.
			select {
			case v.done <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (v *service) send(c net.Conn, resp *response) error {
	if err := c.SetWriteDeadline(v.now().Add(writeTimeout)); err != nil {
		return err
	}
	return writeMessage(c, resp)
}

func (v *service) answer(ctx context.Context, c net.Conn, req *request) *response {
	var resp response
	fail := func(err error) {
		if err != nil {
			resp.Err = err.Error()
		}
	}
	if req.Op != opHello && req.Op != opStatus && !v.inCharge(c) {
		fail(errors.New("this connection is not in charge"))
		return &resp
	}
	switch req.Op {
	case opHello:
		v.takeCharge(c, req.PID)
		resp.Hello = &hello{Version: protocolVersion, PID: os.Getpid()}
	case opConfigure:
		if req.Config == nil {
			fail(errors.New("configure: no configuration"))
			break
		}
		err := v.sp.configure(ctx, *req.Config)
		fail(err)
		v.adopt(req.Config)
	case opReconcile:
		r, err := v.sp.reconcile(ctx, req.Want)
		resp.Result = &r
		fail(err)
	case opStatus:
		st := v.sp.status()
		resp.Status = &st
	case opShutdown:
		// The answer means that it is done.
		v.sp.close(req.Graceful)
	default:
		fail(fmt.Errorf("unknown operation %q", req.Op))
	}
	return &resp
}

func (v *service) adopt(cfg *Config) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if cfg.OrphanTimeout > 0 {
		v.timeout = cfg.OrphanTimeout
	}
	if cfg.OnExit != "" {
		v.exit = cfg.OnExit
	}
}

func (v *service) inCharge(c net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.charge == c
}

// takeCharge gives charge to the newest: an appliance that restarts must not be kept out by the one that hangs.
func (v *service) takeCharge(c net.Conn, pid int) {
	v.mu.Lock()
	old, oldPID := v.charge, v.pid
	v.charge, v.pid = c, pid
	v.mu.Unlock()
	if old == nil || old == c {
		return
	}
	if pid != oldPID {
		v.log.Warn("a new appliance takes charge of the BGP speaker from one that is still connected", "new", pid, "old", oldPID)
	}
	// The old one may be stuck: it gets its notice if it listens, and is hung up on either way.
	go func() {
		_ = v.send(old, &response{Err: superseded})
		_ = old.Close()
	}()
}

func (v *service) hangUp(c net.Conn) {
	_ = c.Close() // it was read to its end
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
	if v.charge == c {
		v.charge, v.since = nil, v.now()
	}
}

// orphaned reports whether no appliance has been in charge for the orphan timeout.
func (v *service) orphaned() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.charge == nil && v.now().Sub(v.since) >= v.timeout
}

func (v *service) onExit() Exit {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.exit
}

func (v *service) closeAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		_ = c.Close()
	}
}

// run is the speaker's life, until ctx ends (then on_exit decides about the routes), a shutdown is asked for, or it has been
// an orphan for too long.
func (v *service) run(ctx context.Context, l net.Listener, every time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- v.serve(ctx, l) }()
	defer v.closeAll()
	defer l.Close()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			v.sp.close(v.onExit() == Keep)
			return nil
		case <-v.done:
			return nil
		case err := <-failed:
			v.sp.close(v.onExit() == Keep)
			return err
		case <-v.sp.kicked:
			v.sp.kick()
			v.sp.tick(ctx)
		case <-tick.C:
			if v.orphaned() {
				v.log.Warn("no appliance for the orphan timeout: withdrawing every route", "timeout", v.timeout)
				v.sp.close(false)
				return nil
			}
			v.sp.tick(ctx)
		}
	}
}

// listen opens the socket with mode 0600 and takes the lock beside it, so that one speaker at most serves a socket; a socket
// that a dead one left behind is replaced.
func listen(path string) (net.Listener, func(), error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		return nil, nil, fmt.Errorf("another speaker serves %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = lock.Close()
		return nil, nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		_ = lock.Close()
		return nil, nil, err
	}
	return l, func() { _ = lock.Close() }, nil
}
