package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/peercred"
)

// link is a connection to a speaker. call may be used from any goroutine; calls wait for each other.
type link struct {
	conn     net.Conn
	patience time.Duration
	broken   chan struct{} // closed when the connection is no more

	calls   sync.Mutex // one at a time
	answers chan response

	mu   sync.Mutex // guards what follows
	last uint64     // id of the latest request
	err  error      // why broken
}

// errHung is the error of a speaker that takes connections and does not answer.
type errHung struct{ pid int }

func (e *errHung) Error() string {
	return fmt.Sprintf("the BGP speaker (pid %d) does not answer", e.pid)
}

// dial connects and takes charge.
func dial(ctx context.Context, path string, patience time.Duration) (*link, *hello, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l := &link{conn: conn, patience: patience, broken: make(chan struct{}), answers: make(chan response, 1)}
	go l.read()
	// A speaker answers this one at once, whatever else it is at.
	hurry, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	resp, err := l.call(hurry, &request{Op: opHello, PID: os.Getpid()})
	if err == nil && resp.Hello == nil {
		err = errors.New("not a speaker")
	}
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = &errHung{listener(conn)}
		}
		l.close()
		return nil, nil, err
	}
	return l, resp.Hello, nil
}

// listener is the pid of the process that listens at the other end, 0 when the kernel does not say.
func listener(conn net.Conn) int {
	cred, err := peercred.Of(conn)
	if err != nil {
		return 0
	}
	return cred.PID
}

// read delivers answers until the connection ends. An answer that nobody waits for any more is dropped.
func (l *link) read() {
	defer close(l.broken)
	for {
		var resp response
		err := readMessage(l.conn, &resp)
		if err == nil && resp.ID == 0 {
			err = errors.New(resp.Err)
			if resp.Err == superseded {
				err = ErrSuperseded
			}
		}
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
		select {
		case <-l.answers: // of a call that gave up
		default:
		}
		l.answers <- resp
	}
}

// failure is why the link is broken, nil while it is not.
func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// call sends a request and waits for its answer, up to ctx and its patience. An answer with an error in it is an error.
func (l *link) call(ctx context.Context, req *request) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	l.calls.Lock()
	defer l.calls.Unlock()
	l.mu.Lock()
	l.last++
	req.ID = l.last
	l.mu.Unlock()
	deadline, _ := ctx.Deadline()
	if err := l.conn.SetWriteDeadline(deadline); err != nil {
		return nil, err
	}
	if err := writeMessage(l.conn, req); err != nil {
		// Half a message may be out: nothing sensible can follow it.
		_ = l.conn.Close()
		return nil, err
	}
	for {
		var resp response
		select {
		case resp = <-l.answers:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.broken:
			select {
			case resp = <-l.answers: // the last word before the end
			default:
				return nil, l.failure()
			}
		}
		if resp.ID != req.ID {
			continue
		}
		if resp.Err != "" {
			return &resp, errors.New(resp.Err)
		}
		return &resp, nil
	}
}

func (l *link) close() { _ = l.conn.Close() } // the reader reports how it ended

// child is a speaker that this process has started.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// spawn starts a speaker in a session of its own: neither the terminal's signals nor our end reach it.
func (c *Client) spawn() (*child, error) {
	args := append(append([]string{}, c.opt.Command[1:]...), "--socket", c.opt.Socket)
	cmd := exec.Command(c.opt.Command[0], args...)
	cmd.Env = append(os.Environ(), c.opt.Env...)
	cmd.Stderr = c.opt.Stderr
	if c.opt.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the BGP speaker: %w", err)
	}
	ch := &child{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(ch.done)
	}()
	return ch, nil
}

func (ch *child) ended() bool {
	select {
	case <-ch.done:
		return true
	default:
		return false
	}
}

// wait reports whether the process has ended within d.
func (ch *child) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch.done:
		return true
	case <-t.C:
		return false
	}
}

func (ch *child) kill() { _ = ch.cmd.Process.Kill() } // an error means that it has ended

// how says how an ended process ended.
func (ch *child) how() string { return ch.cmd.ProcessState.String() }

// attach connects to the speaker that serves the socket, or starts one and connects to that. child is nil for a speaker of
// somebody else.
func (c *Client) attach(ctx context.Context) (*link, *child, error) {
	l, h, err := dial(ctx, c.opt.Socket, c.patience)
	var hung *errHung
	if errors.As(err, &hung) && hung.pid > 0 {
		// The socket's mode says that it is ours. Without a goodbye, so that the routers keep the routes for its successor.
		c.opt.Log.Error("the BGP speaker hangs; killing it", "pid", hung.pid)
		if err := unix.Kill(hung.pid, unix.SIGKILL); err != nil {
			return nil, nil, fmt.Errorf("kill the speaker %d, which hangs: %w", hung.pid, err)
		}
	}
	if err == nil {
		if h.Version == protocolVersion {
			ch := c.ownChild(h.PID)
			c.opt.Log.Info("adopted a running BGP speaker", "pid", h.PID)
			return l, ch, nil
		}
		c.opt.Log.Info("replacing a BGP speaker of another version", "pid", h.PID, "version", h.Version)
		_, err := l.call(ctx, &request{Op: opShutdown, Graceful: true})
		l.close()
		if err != nil {
			return nil, nil, fmt.Errorf("replace the BGP speaker: %w", err)
		}
	}
	ch, err := c.spawn()
	if err != nil {
		return nil, nil, err
	}
	until := time.NewTimer(startWait)
	defer until.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		l, h, err := dial(ctx, c.opt.Socket, c.patience)
		if err == nil && h.Version != protocolVersion {
			l.close()
			err = fmt.Errorf("the BGP speaker speaks version %d, not %d", h.Version, protocolVersion)
		}
		if err == nil {
			return l, ch, nil
		}
		select {
		case <-ctx.Done():
			ch.kill()
			return nil, nil, ctx.Err()
		case <-ch.done:
			return nil, nil, fmt.Errorf("the BGP speaker ended: %s", ch.how())
		case <-until.C:
			ch.kill()
			return nil, nil, fmt.Errorf("the BGP speaker does not answer: %w", err)
		case <-poll.C:
		}
	}
}

// ownChild is the child with that pid, if it is ours.
func (c *Client) ownChild(pid int) *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child != nil && c.child.cmd.Process.Pid == pid && !c.child.ended() {
		return c.child
	}
	return nil
}
