package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// Options wire a Client.
type Options struct {
	// Socket is the path of the speaker's unix socket, at most 100 bytes, in a directory that only we can write to; it is
	// made when missing. A speaker that serves it already is adopted with its routes.
	Socket string
	// Config is the speaker's configuration.
	Config Config
	// Command starts a speaker; "--socket PATH" is added. Empty means this binary with the argument "speaker".
	Command []string
	// Env is added to the speaker's environment.
	Env []string
	// Stderr takes the speaker's log. It must outlive the appliance for the log to do so; nil means our own standard error.
	Stderr *os.File
	// Log is where state changes go.
	Log *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// Errors of a Client.
var (
	// ErrNoSpeaker: no speaker is attached at the moment; the wanted set is kept and goes to the next one at once.
	ErrNoSpeaker = errors.New("the BGP speaker is not running")
	// ErrSuperseded: another appliance has taken charge of the speaker. This Client never takes it back by itself.
	ErrSuperseded = errors.New(superseded)
)

// Timings of the supervisor.
const (
	statusEvery = time.Second
	patience    = 30 * time.Second      // for an answer
	firstPause  = 50 * time.Millisecond // before the speaker is started again; doubles
	maxPause    = 10 * time.Second
	stableAfter = 30 * time.Second // a speaker that lived this long is started again without a pause
	startWait   = 10 * time.Second // for a new speaker to open its socket
)

// Client is the appliance's half: it keeps a speaker running and fed. It implements mitigate.Mitigator.
type Client struct {
	opt      Options
	patience time.Duration

	cancel context.CancelFunc
	gone   chan struct{} // closed when the supervisor has ended
	ready  chan struct{} // closed when the first speaker is attached

	feed sync.Mutex // held while a speaker is being fed: configuration and wanted set go out in order

	mu       sync.Mutex // guards what follows
	cfg      Config     // resolved
	want     []mitigate.Mitigation
	haveWant bool
	link     *link // to the speaker; nil while there is none
	child    *child
	last     status
	err      error // why there is no speaker, or what it last complained of
	restarts uint64
	stopping bool
}

var _ mitigate.Mitigator = (*Client)(nil)

// New checks the options and the configuration; it starts nothing.
func New(opt Options) (*Client, error) {
	if opt.Socket == "" || len(opt.Socket) > 100 {
		return nil, fmt.Errorf("bgp: socket path %q: 1 to 100 bytes are possible", opt.Socket)
	}
	if opt.Log == nil || opt.Now == nil {
		return nil, errors.New("bgp: no log or no clock")
	}
	if err := opt.Config.Validate(); err != nil {
		return nil, fmt.Errorf("bgp: %w", err)
	}
	cfg, err := opt.Config.resolve()
	if err != nil {
		return nil, fmt.Errorf("bgp: %w", err)
	}
	if len(opt.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("bgp: %w", err)
		}
		opt.Command = []string{self, "speaker"}
	}
	opt.Log = opt.Log.With("part", "bgp")
	return &Client{opt: opt, patience: patience, cfg: cfg, gone: make(chan struct{}), ready: make(chan struct{})}, nil
}

// Start adopts the speaker that serves the socket, or starts one, and goes on to supervise it. It returns when one is
// attached. When none comes up in ten seconds the error says why; the supervisor keeps trying nevertheless, so that the
// caller may go on with detection alone, and Stop must be called all the same.
func (c *Client) Start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(c.opt.Socket), 0o700); err != nil {
		close(c.gone)
		return fmt.Errorf("bgp: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	go c.supervise(run)
	timeout := time.NewTimer(startWait)
	defer timeout.Stop()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("bgp: %w", errors.Join(ErrNoSpeaker, c.lastErr()))
	}
}

// Name is "bgp".
func (c *Client) Name() string { return "bgp" }

// Reconcile has the speaker make every router's table equal to want. Without a speaker it keeps want for the next one and
// returns ErrNoSpeaker. What routers refuse is no error; Status has it.
func (c *Client) Reconcile(ctx context.Context, want []mitigate.Mitigation) error {
	c.feed.Lock()
	defer c.feed.Unlock()
	c.mu.Lock()
	c.want, c.haveWant = slices.Clone(want), true
	l, err := c.link, c.err
	c.mu.Unlock()
	if l == nil {
		if errors.Is(err, ErrSuperseded) {
			return err
		}
		return errors.Join(ErrNoSpeaker, err)
	}
	return c.push(ctx, l, want)
}

// push hands the wanted set to the speaker and refreshes the status. The caller holds c.feed.
func (c *Client) push(ctx context.Context, l *link, want []mitigate.Mitigation) error {
	resp, err := l.call(ctx, &request{Op: opReconcile, Want: want})
	if err != nil {
		return fmt.Errorf("reconcile %d mitigations: %w", len(want), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if resp.Result != nil && c.link == l {
		peers, partly := c.last.Peers, c.last.Partly
		c.last = status{result: *resp.Result, Peers: peers, Partly: partly}
	}
	return nil
}

// Reconfigure applies a new configuration without touching the sessions that it does not concern.
func (c *Client) Reconfigure(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	cfg, err := cfg.resolve()
	if err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	c.feed.Lock()
	defer c.feed.Unlock()
	c.mu.Lock()
	c.cfg = cfg
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return nil // the next speaker gets it before anything else
	}
	if _, err := l.call(ctx, &request{Op: opConfigure, Config: &cfg}); err != nil {
		return fmt.Errorf("bgp: configure: %w", err)
	}
	return nil
}

// Status is what is known of the routers, not older than about a second while a speaker is attached.
func (c *Client) Status() mitigate.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := mitigate.Status{
		Announced: c.last.Announced, Refused: maps.Clone(c.last.Refused), Peers: slices.Clone(c.last.Peers),
	}
	if c.link == nil {
		st.Announced = 0 // routers may still hold the routes; nobody here can say
		for i := range st.Peers {
			st.Peers[i].State = "unknown"
		}
	}
	for _, p := range st.Peers {
		st.Ready = st.Ready || p.State == "established" && len(p.Families) > 0
	}
	if c.err != nil {
		st.Err = c.err.Error()
	}
	return st
}

// Partly are the mitigations that some router got and another refused: ids, and why.
func (c *Client) Partly() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.last.Partly)
}

// Restarts is how often the speaker had to be started again.
func (c *Client) Restarts() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// Stop ends the supervision. With keep the speaker lives on with sessions and routes, for the next appliance to adopt, until
// its orphan timeout; without, every route is withdrawn and the speaker ends. Idempotent.
func (c *Client) Stop(keep bool) error {
	c.mu.Lock()
	again := c.stopping
	c.stopping = true
	c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
		<-c.gone
	}
	if keep || again || c.cancel == nil || errors.Is(c.lastErr(), ErrSuperseded) {
		return nil
	}
	return c.shutdown()
}

// shutdown has the speaker, whoever started it, withdraw everything and end. The supervisor has ended.
func (c *Client) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	l, err := c.take(ctx)
	if err != nil {
		if ch := c.child; ch != nil && !ch.ended() {
			ch.kill() // without a goodbye the routers' own timers withdraw
			return fmt.Errorf("bgp: the speaker does not answer and was killed: %w", err)
		}
		return nil // there is none
	}
	defer l.close()
	if _, err := l.call(ctx, &request{Op: opShutdown}); err != nil {
		return fmt.Errorf("bgp: shut down the speaker: %w", err)
	}
	select {
	case <-l.broken: // it hangs up as it ends
	case <-ctx.Done():
		return errors.New("bgp: the speaker has withdrawn everything and does not end")
	}
	if ch := c.child; ch != nil && !ch.wait(startWait) {
		ch.kill()
	}
	return nil
}

// take connects to the speaker that serves the socket.
func (c *Client) take(ctx context.Context) (*link, error) {
	l, _, err := dial(ctx, c.opt.Socket, c.patience)
	return l, err
}

func (c *Client) lastErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Client) setErr(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
}

// supervise keeps a speaker attached until ctx ends.
func (c *Client) supervise(ctx context.Context) {
	defer close(c.gone)
	pause := firstPause
	for first := true; ; first = false {
		began := c.opt.Now()
		err := c.attend(ctx)
		if ctx.Err() != nil || c.isStopping() {
			return
		}
		c.setErr(err)
		if errors.Is(err, ErrSuperseded) {
			c.opt.Log.Error("the BGP speaker obeys another appliance now; this one announces nothing any more")
			return
		}
		c.opt.Log.Warn("BGP speaker is gone; starting it again", "err", err, "in", pause)
		if !first {
			pause = min(2*pause, maxPause)
		}
		if c.opt.Now().Sub(began) > stableAfter {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

func (c *Client) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// attend attaches to a speaker, feeds it, and follows its status until it is gone.
func (c *Client) attend(ctx context.Context) error {
	l, ch, err := c.attach(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if err := c.feedAll(ctx, l, ch); err != nil {
		return err
	}
	defer func() {
		c.mu.Lock()
		c.link = nil
		c.mu.Unlock()
	}()
	c.mu.Lock()
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
	c.mu.Unlock()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		if err := c.poll(ctx, l); err != nil && ctx.Err() == nil {
			return c.reason(l, ch, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.broken:
			return c.reason(l, ch, l.failure())
		case <-tick.C:
		}
	}
}

// reason prefers how the process ended over how the connection did.
func (c *Client) reason(l *link, ch *child, err error) error {
	if errors.Is(l.failure(), ErrSuperseded) {
		return ErrSuperseded
	}
	if ch != nil && ch.wait(time.Second) {
		return fmt.Errorf("the BGP speaker ended: %s", ch.how())
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the BGP speaker hung up")
	}
	return fmt.Errorf("the BGP speaker: %w", err)
}

// feedAll gives a newly attached speaker the configuration and, if there is one, the wanted set. A configuration that it
// could not apply in full is reported, and it is fed all the same: the other routers are worth it.
func (c *Client) feedAll(ctx context.Context, l *link, ch *child) error {
	c.feed.Lock()
	defer c.feed.Unlock()
	c.mu.Lock()
	cfg, want, have := c.cfg, c.want, c.haveWant
	c.mu.Unlock()
	_, err := l.call(ctx, &request{Op: opConfigure, Config: &cfg})
	if err != nil && l.failure() != nil {
		return c.reason(l, ch, err)
	}
	if err == nil && have {
		_, err = l.call(ctx, &request{Op: opReconcile, Want: want})
		if err != nil && l.failure() != nil {
			return c.reason(l, ch, err)
		}
	}
	c.mu.Lock()
	c.link, c.child, c.err = l, ch, err
	c.mu.Unlock()
	if err != nil {
		c.opt.Log.Error("the BGP speaker could not do all that it was asked to", "err", err)
	}
	return nil
}

func (c *Client) poll(ctx context.Context, l *link) error {
	resp, err := l.call(ctx, &request{Op: opStatus})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if resp.Status != nil {
		c.last = *resp.Status
	}
	return nil
}
