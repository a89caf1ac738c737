package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/appliance/config"
)

// Record is one change for the audit, done or refused.
type Record struct {
	Time time.Time `json:"time"`
	Actor
	// Action is the change as words of the command line; secrets are hidden.
	Action string `json:"action"`
	// Error is why it was refused or failed; empty when it was done.
	Error string `json:"error,omitempty"`
}

// Deps are what the server works with. All but Log, Audit, Now and ParseOptions must be set.
type Deps struct {
	// Config is what runs, Text the file's content that it was read from, and Path the file.
	Config *config.Config
	Text   []byte
	Path   string
	// ParseOptions are those that Config was read with.
	ParseOptions []config.Option
	Runtime      Runtime
	Applier      Applier
	// Audit keeps a record of every change; it must not block for long. Nil: the log only.
	Audit func(Record)
	Log   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Stats are the server's counters since start.
type Stats struct {
	// Requests were answered, Denied of them refused for lack of rights, Failed with another error.
	Requests, Denied, Failed uint64
	// Changes were done.
	Changes uint64
}

// Server is the API.
type Server struct {
	deps Deps
	http *http.Server
	// groups is the part of the configuration that decides rights; commit replaces it.
	groups atomic.Pointer[config.API]

	requests, denied, failed, changes atomic.Uint64

	// mu guards the candidate and the listener. It is held over a whole commit.
	mu       sync.Mutex
	cand     *candidate
	listener *peerListener
	done     sync.WaitGroup
	stopped  bool
}

// Bounds of a request.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 60 * time.Second
	maxHeader      = 128 << 10
	maxPerUser     = 16 // connections of one unprivileged user
)

// New checks its dependencies; it opens nothing.
func New(d Deps) (*Server, error) {
	if d.Config == nil || d.Runtime == nil || d.Applier == nil || d.Path == "" {
		return nil, errors.New("api: Config, Path, Runtime and Applier must be set")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	cand, err := newCandidate(d.Path, d.Config, d.Text, d.Applier, d.ParseOptions)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &Server{deps: d, cand: cand}
	api := d.Config.API
	s.groups.Store(&api)
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: 2 * requestTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if pc, ok := c.(*peerConn); ok {
				return context.WithValue(ctx, peerKey{}, pc.peer)
			}
			return ctx
		},
	}
	return s, nil
}

type peerKey struct{}

// Start opens the socket and the history, and answers from then on. A history that cannot be opened is logged, and
// rollback refused; the appliance must run all the same. With an empty socket path Start does nothing.
func (s *Server) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.cand.openArchive(s.deps.Now()); err != nil {
		s.deps.Log.Warn("configuration history is not available", "error", err)
	}
	return s.listen(s.deps.Config.API.Socket)
}

// listen serves path, and then leaves the old socket. mu is held.
func (s *Server) listen(path string) error {
	old := s.listener
	if path == "" {
		s.listener = nil
	} else {
		l, err := listenUnix(path)
		if err != nil {
			return fmt.Errorf("api: %w", err)
		}
		s.listener = l
		s.done.Go(func() {
			if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.deps.Log.Error("api socket failed", "socket", path, "error", err)
			}
		})
	}
	if old != nil {
		_ = old.Close() // nobody is served there any more, whatever it says
	}
	return nil
}

// listenUnix opens a socket that everybody may connect to: who may do what is decided by who they are. A socket left by
// a crash is removed, one that answers is not ours to take.
func listenUnix(path string) (*peerListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("socket %s: there is a file of another kind", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("socket %s: another process answers there; is weir running already?", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("socket %s: %w", path, err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return &peerListener{Listener: l, perUser: make(map[uint32]int)}, nil
}

// Stop closes the socket, lets running requests finish for a moment, and returns when all goroutines are gone. It may be called twice.
func (s *Server) Stop() error {
	s.mu.Lock()
	stopped := s.stopped
	s.stopped = true
	s.mu.Unlock()
	if stopped {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.done.Wait()
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Stats is safe at any time.
func (s *Server) Stats() Stats {
	return Stats{Requests: s.requests.Load(), Denied: s.denied.Load(), Failed: s.failed.Load(), Changes: s.changes.Load()}
}

// Config is the configuration in force.
func (s *Server) Config() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cand.running
}

// Reload reads the file again and commits it, as `weirctl reload` and SIGHUP do. Uncommitted edits are dropped.
func (s *Server) Reload() error {
	_, err := s.reload(peer{Actor: Actor{UID: uint32(os.Getuid()), PID: int32(os.Getpid()), User: "signal"}})
	return err
}

// peerListener accepts connections together with who is at their other end, few from each ordinary user.
type peerListener struct {
	net.Listener
	mu      sync.Mutex
	perUser map[uint32]int // guarded by mu
}

type peerConn struct {
	net.Conn
	peer peer
	once sync.Once
	gone func()
}

// Close gives the user's place back.
func (c *peerConn) Close() error {
	c.once.Do(c.gone)
	return c.Conn.Close()
}

// Accept returns the next connection that may be served.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil || !l.enter(p.UID) {
			_ = c.Close()
			continue
		}
		return &peerConn{Conn: c, peer: p, gone: func() { l.leave(p.UID) }}, nil
	}
}

func (l *peerListener) enter(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uid != 0 && int(uid) != os.Getuid() && l.perUser[uid] >= maxPerUser {
		return false
	}
	l.perUser[uid]++
	return true
}

func (l *peerListener) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perUser[uid]--; l.perUser[uid] <= 0 {
		delete(l.perUser, uid)
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	e, err := s.serve(r)
	var f failure
	switch {
	case errors.As(err, &f) && f.status == http.StatusForbidden:
		s.denied.Add(1)
	case err != nil:
		s.failed.Add(1)
	}
	answer(w, e, err)
}

func (s *Server) serve(r *http.Request) (envelope, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		return envelope{}, fail(http.StatusForbidden, "who asks is not known")
	}
	words, err := parsePath(r.URL.EscapedPath())
	if err != nil {
		return envelope{}, failure{status: http.StatusBadRequest, err: err}
	}
	cfg := *s.groups.Load()
	may := rightsOf(p, cfg)
	q := &request{Request: r, words: words, peer: p}
	if r.Method == http.MethodGet {
		if !may.read {
			return envelope{}, denied(p, "look at this appliance", cfg.ReadGroup, cfg.WriteGroup)
		}
		return s.get(q)
	}
	if r.Method != http.MethodPut && r.Method != http.MethodDelete {
		return envelope{}, fail(http.StatusMethodNotAllowed, "%s is not used here: GET shows, PUT sets, DELETE deletes", r.Method)
	}
	if !may.change {
		err := denied(p, "change this appliance", cfg.WriteGroup)
		s.audit(q, err)
		return envelope{}, err
	}
	e, err := s.put(q)
	s.audit(q, err)
	if err == nil {
		s.changes.Add(1)
	}
	return e, err
}

func denied(p peer, what string, groups ...string) error {
	how := "run it as root"
	var named []string
	for _, g := range groups {
		if g != "" {
			named = append(named, g)
		}
	}
	if len(named) > 0 {
		how += " or become a member of group " + strings.Join(named, " or ")
	} else {
		how += ", or let root set api.read_group or api.write_group"
	}
	return fail(http.StatusForbidden, "%s may not %s; %s", p.name(), what, how)
}

// audit records a change. The words of the request are the command, but for secrets.
func (s *Server) audit(q *request, err error) {
	r := Record{Time: s.deps.Now(), Actor: q.peer.Actor, Action: q.command()}
	if err != nil {
		r.Error = err.Error()
		s.deps.Log.Warn("change refused", "action", r.Action, "uid", r.UID, "pid", r.PID, "user", r.User, "error", r.Error)
	} else {
		s.deps.Log.Info("changed", "action", r.Action, "uid", r.UID, "pid", r.PID, "user", r.User)
	}
	if s.deps.Audit != nil {
		s.deps.Audit(r)
	}
}
