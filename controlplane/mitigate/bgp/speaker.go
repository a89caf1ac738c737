package bgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// floor is what the speaker itself never announces, whatever the appliance asks for. The networks and the operator's own
// bounds are the planner's business; this is the last rail.
var floor = mitigate.LintLimits{BlackholeBits4: 8, BlackholeBits6: 16, FlowBits4: 8, FlowBits6: 16, Items: 64}

// result is what a reconcile came to.
type result struct {
	// Announced is how many of the wanted set an established session carries, Queued how many more wait for a session.
	Announced int `json:"announced"`
	Queued    int `json:"queued"`
	// Changes counts routes added and withdrawn, over all peers.
	Changes int `json:"changes"`
	// Refused holds the ids that no router gets, and why.
	Refused map[string]string `json:"refused,omitempty"`
}

// status is the speaker's report.
type status struct {
	result
	// Partly holds the ids that some router gets and another does not, and why not.
	Partly map[string]string     `json:"partly,omitempty"`
	Peers  []mitigate.PeerStatus `json:"peers,omitempty"`
}

// wanted is a mitigation with its end on the monotonic clock, so that a wall clock that jumps neither cuts it short nor
// makes it last.
type wanted struct {
	m   mitigate.Mitigation
	end time.Time
}

// speaker holds the sessions and the wanted set. Its methods may be called from any goroutine.
type speaker struct {
	log *slog.Logger
	now func() time.Time

	kicked chan struct{} // capacity 1: reconcile soon

	mu       sync.Mutex // held over a whole operation; guards what follows
	cfg      Config
	sessions map[string]*session // by peer name
	failed   map[string]string   // peers whose session could not be made, and why
	want     []wanted
	armed    bool              // a wanted set has come: peers may be connected
	invalid  map[string]string // mitigations that the linter refused
	closed   bool
}

func newSpeaker(log *slog.Logger, now func() time.Time) *speaker {
	return &speaker{log: log, now: now, kicked: make(chan struct{}, 1), sessions: map[string]*session{}}
}

func (s *speaker) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

// configure makes the sessions match cfg. Those that cfg does not change go on undisturbed; a peer that cannot be set up is
// reported, and the others are set up. New peers are connected once a wanted set is there.
func (s *speaker) configure(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	cfg, err := cfg.resolve()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	keep := map[string]bool{}
	for _, p := range cfg.Peers {
		if old := s.sessions[p.Name]; old != nil && old.sameSession(cfg, p) {
			old.setPeer(p)
			keep[p.Name] = true
		}
	}
	for name, old := range s.sessions {
		if !keep[name] {
			old.stop(false)
			delete(s.sessions, name)
		}
	}
	s.cfg = cfg
	err = s.setUp()
	if s.armed {
		_, aerr := s.applyAll(ctx, false)
		err = errors.Join(err, aerr)
	}
	return err
}

// setUp makes the sessions that are missing. One that could not be made (its port is taken, say) is tried again with every
// reconcile.
func (s *speaker) setUp() error {
	var errs []error
	s.failed = map[string]string{}
	for _, p := range s.cfg.Peers {
		if s.sessions[p.Name] != nil {
			continue
		}
		ses, err := newSession(s.cfg, p, s.log, s.now, s.kick)
		if err != nil {
			errs = append(errs, err)
			s.failed[p.Name] = err.Error()
			continue
		}
		s.sessions[p.Name] = ses
	}
	return errors.Join(errs...)
}

var errClosed = errors.New("the speaker is shutting down")

// reconcile makes every router's table equal to want.
func (s *speaker) reconcile(ctx context.Context, want []mitigate.Mitigation) (result, error) {
	now := s.now()
	next := make([]wanted, 0, len(want))
	invalid := map[string]string{}
	for _, m := range want {
		if m.DryRun {
			continue // the contract says there are none; announcing one would be unforgivable
		}
		if err := mitigate.Lint(m, floor); err != nil {
			invalid[m.ID] = err.Error()
			continue
		}
		next = append(next, wanted{m: m, end: now.Add(m.Expires.Sub(now.Round(0)))})
	}
	slices.SortStableFunc(next, func(a, b wanted) int { return byStrictness(&a.m, &b.m) })

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return result{}, errClosed
	}
	s.want, s.invalid = next, invalid
	restarting := !s.armed && len(next) > 0
	s.armed = true
	err := s.setUp()
	changes, aerr := s.applyAll(ctx, restarting)
	err = errors.Join(err, aerr)
	st := s.statusLocked()
	st.Changes = changes
	return st.result, err
}

// byStrictness orders mitigations so that of two which want the same route the stricter wins: set by hand, then discard
// before limit, the lower limit first, and the older, since it is announced already.
func byStrictness(a, b *mitigate.Mitigation) int {
	rank := func(m *mitigate.Mitigation) int {
		r := 0
		if !m.Manual {
			r += 2
		}
		if m.Action == mitigate.RateLimit {
			r++
		}
		return r
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Rate, b.Rate), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}

// applyAll brings every table up to date, all routers at the same time, then connects the peers that are new.
func (s *speaker) applyAll(ctx context.Context, restarting bool) (changes int, err error) {
	now := s.now()
	live := make([]mitigate.Mitigation, 0, len(s.want))
	for _, w := range s.want {
		if w.end.After(now) {
			live = append(live, w.m)
		}
	}
	type outcome struct {
		changes int
		err     error
	}
	results := make(chan outcome, len(s.sessions))
	for _, ses := range s.sessions {
		go func() {
			n, err := ses.apply(ctx, live)
			// The peer is connected even after an error: the routes that are in are worth announcing.
			if cerr := ses.connect(restarting); cerr != nil {
				err = errors.Join(err, cerr)
			}
			if err != nil {
				err = fmt.Errorf("peer %s: %w", ses.peer.Name, err)
			}
			results <- outcome{n, err}
		}()
	}
	var errs []error
	for range s.sessions {
		o := <-results
		changes += o.changes
		errs = append(errs, o.err)
	}
	return changes, errors.Join(errs...)
}

// tick enforces expiry and lets quarantined routes be tried again. The server calls it about once a second.
func (s *speaker) tick(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := s.now()
	before := len(s.want)
	s.want = slices.DeleteFunc(s.want, func(w wanted) bool { return !w.end.After(now) })
	again := len(s.want) != before
	for _, ses := range s.sessions {
		again = ses.tick() || again
	}
	select {
	case <-s.kicked:
		again = true
	default:
	}
	if !again || !s.armed {
		return
	}
	if _, err := s.applyAll(ctx, false); err != nil {
		s.log.Warn("BGP routes are not all as wanted", "err", err)
	}
}

func (s *speaker) status() status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusLocked()
}

func (s *speaker) statusLocked() status {
	st := status{result: result{Refused: map[string]string{}}, Partly: map[string]string{}}
	for id, why := range s.invalid {
		st.Refused[id] = why
	}
	inForce, held := map[string]bool{}, map[string]bool{}
	refused, refusals := map[string]string{}, map[string]int{}
	for _, p := range s.cfg.Peers {
		ses := s.sessions[p.Name]
		if ses == nil {
			st.Peers = append(st.Peers, mitigate.PeerStatus{
				Name: p.Name, Address: p.Address.String(), ASN: p.RemoteASN,
				State: "idle", LastError: s.failed[p.Name],
			})
			continue
		}
		v := ses.view()
		st.Peers = append(st.Peers, v.peer)
		for _, id := range v.inForce {
			inForce[id] = true
		}
		for _, id := range v.held {
			held[id] = true
		}
		for id, why := range v.refused {
			if refused[id] != "" {
				refused[id] += "; "
			}
			refused[id] += p.Name + ": " + why
			refusals[id]++
		}
	}
	for id, why := range refused {
		if refusals[id] < len(s.sessions) {
			st.Partly[id] = why
		} else {
			st.Refused[id] = why
		}
	}
	st.Announced, st.Queued = len(inForce), 0
	for id := range held {
		if !inForce[id] && st.Refused[id] == "" {
			st.Queued++
		}
	}
	return st
}

// close ends every session and forgets the wanted set; it is final.
func (s *speaker) close(graceful bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	var wg sync.WaitGroup
	for _, ses := range s.sessions {
		wg.Go(func() { ses.stop(graceful) })
	}
	wg.Wait()
	s.sessions, s.want = map[string]*session{}, nil
}
