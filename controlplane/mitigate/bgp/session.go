package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// Timers of a session. GoBGP's own defaults (120 s, 30 s, 360 s) are far too slow for this work.
const (
	connectRetry  = 5 // seconds
	idleAfterDown = 5 // seconds
	// deferral is how long a restarted speaker waits for the router's end-of-RIB before it announces (RFC 4724 section 4.1).
	deferral = 5 // seconds
	// settle is how long a session must stay up with a rule in it before the rule counts as accepted by the router.
	settle = 5 * time.Second
	// noAnswer is after how long without a TCP connection the status says so.
	noAnswer = 10 * time.Second
)

// session is one GoBGP server with one peer. The speaker calls connect, apply, expire, tick and stop under its own lock;
// GoBGP's watcher calls onPeer; status is safe at any time.
type session struct {
	cfg  Config // without its Peers
	log  *slog.Logger
	now  func() time.Time
	kick func() // asks the speaker to reconcile soon; never blocks

	srv    *server.BgpServer
	cancel context.CancelFunc
	peered bool

	established atomic.Bool // onPeer writes, the log tap reads

	mu sync.Mutex // guards what follows
	// peer changes only in what does not need a new session.
	peer       Peer
	state      gobgp.FSMState
	since      time.Time // of state
	negotiated []gobgp.Family
	lastErr    string // of the last loss, or of the first attempts
	// noted is the NOTIFICATION that ended the session or the attempt. GoBGP's events do not always have it: they call the
	// loss of a session with graceful restart a graceful restart, whatever ended it.
	noted    notification
	dialErr  string // of the last attempt to connect
	flaps    uint64
	stopping bool
	// routes are what is in the server's table, by route.key.
	routes  map[string]*held
	breaker breaker
	// learned are the limits that the router turned out to have, where max_routes says more than is true.
	learned map[gobgp.Family]int
	refused map[string]string // mitigation id -> why this router does not get it
}

// held is a route in the table.
type held struct {
	id     string   // the mitigation's
	also   []string // mitigations that want the same route
	route  *route
	added  time.Time
	proven bool // the session has stayed up with it
}

// newSession starts a server with its policies, and no peer yet: first the routes, then the peer, or the router would get
// the end-of-RIB of an empty table and drop what it kept for us over a restart.
func newSession(cfg Config, peer Peer, log *slog.Logger, now func() time.Time, kick func()) (*session, error) {
	cfg.Peers = nil
	s := &session{
		cfg: cfg, peer: peer, log: log.With("peer", peer.Name), now: now, kick: kick,
		state: gobgp.BGP_FSM_IDLE, since: now(),
		routes: map[string]*held{}, refused: map[string]string{}, breaker: breaker{}, learned: map[gobgp.Family]int{},
	}
	listener := &tap{Handler: s.log.Handler(), established: &s.established, notify: s.onNotification, dialed: s.onDialError}
	s.srv = server.NewBgpServer(server.LoggerOption(slog.New(listener), new(slog.LevelVar)))
	go s.srv.Serve()
	if err := s.start(); err != nil {
		s.stop(false)
		return nil, fmt.Errorf("peer %s: %w", peer.Name, err)
	}
	return s, nil
}

func (s *session) start() error {
	global := &api.Global{Asn: s.cfg.ASN, RouterId: s.cfg.RouterID.String(), ListenPort: -1}
	if s.peer.Passive {
		global.ListenPort = int32(s.cfg.ListenPort)
		if a := s.peer.LocalAddress; a.IsValid() {
			global.ListenAddresses = []string{a.String()}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.srv.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := denyAllButOurs(ctx, s.srv); err != nil {
		return err
	}
	err := s.srv.WatchEvent(ctx, server.WatchEventMessageCallbacks{OnPeerUpdate: s.onPeer}, server.WatchPeer())
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// denyAllButOurs makes the server take in and give out local routes only: a bare GoBGP is a transit router.
// The import side needs the accepting statement, since its default would drop our own routes as well, silently.
func denyAllButOurs(ctx context.Context, srv *server.BgpServer) error {
	local := &api.Policy{Name: "ours", Statements: []*api.Statement{{
		Name:       "ours",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	if err := srv.AddPolicy(ctx, &api.AddPolicyRequest{Policy: local}); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	for _, dir := range []api.PolicyDirection{api.PolicyDirection_POLICY_DIRECTION_IMPORT, api.PolicyDirection_POLICY_DIRECTION_EXPORT} {
		err := srv.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: dir, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
			Policies: []*api.Policy{{Name: "ours"}},
		}})
		if err != nil {
			return fmt.Errorf("policy %s: %w", dir, err)
		}
	}
	return nil
}

// connect adds the peer, once. restarting says that the routes in the table are those of a speaker that died, so that a
// router which kept them goes on without a gap.
func (s *session) connect(restarting bool) error {
	if s.peered {
		return nil
	}
	p := s.peer
	hold := uint64(p.HoldTime / time.Second)
	peer := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.RemoteASN, AuthPassword: p.Password},
		Transport: &api.Transport{
			RemotePort: uint32(p.Port), PassiveMode: p.Passive,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleAfterDown, HoldTime: hold, KeepaliveInterval: max(hold/3, 1),
		}},
	}
	if p.LocalAddress.IsValid() {
		peer.Transport.LocalAddress = p.LocalAddress.String()
	}
	if p.MultihopTTL > 0 {
		peer.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.MultihopTTL)}
	}
	if p.TTLSecurity {
		peer.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	graceful := s.cfg.GracefulRestart > 0
	if graceful {
		peer.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(s.cfg.GracefulRestart / time.Second), DeferralTime: deferral,
			LocalRestarting: restarting,
		}
	}
	for _, f := range families {
		if !p.Families.has(f) {
			continue
		}
		peer.AfiSafis = append(peer.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: apiutil.ToApiFamily(f.Afi(), f.Safi()), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: graceful}},
		})
	}
	if err := s.srv.AddPeer(context.Background(), &api.AddPeerRequest{Peer: peer}); err != nil {
		return fmt.Errorf("peer %s: %w", p.Name, err)
	}
	s.peered = true
	return nil
}

// sameSession reports whether the change from the session's configuration to (cfg, peer) needs no new session.
func (s *session) sameSession(cfg Config, peer Peer) bool {
	strip := func(p Peer) Peer {
		p.MaxRoutes, p.Profile, p.Limits, p.Communities = 0, "", Limits{}, nil
		p.NextHopIPv4, p.NextHopIPv6 = netip.Addr{}, netip.Addr{}
		return p
	}
	return cfg.ASN == s.cfg.ASN && cfg.RouterID == s.cfg.RouterID && cfg.GracefulRestart == s.cfg.GracefulRestart &&
		(!peer.Passive || cfg.ListenPort == s.cfg.ListenPort) && reflect.DeepEqual(strip(s.peer), strip(peer))
}

func (s *session) setPeer(peer Peer) {
	s.mu.Lock()
	if peer.MaxRoutes != s.peer.MaxRoutes {
		clear(s.learned)
	}
	s.peer = peer
	s.mu.Unlock()
}

// plan encodes what of want this router gets; the rest it refuses, with the reason. want is ordered: what comes first is
// kept when the router's limit is reached.
func (s *session) plan(want []mitigate.Mitigation, now time.Time) (map[string]*held, map[string]string) {
	routes, refused := map[string]*held{}, map[string]string{}
	count := map[gobgp.Family]int{}
	// A tenth of headroom: the router counts other things as well, and exceeding its limit costs the session.
	limit := max(s.peer.MaxRoutes-max(s.peer.MaxRoutes/10, 1), 1)
	s.breaker.begin()
	admit := func(id string, r *route) {
		if first, dup := routes[r.key]; dup {
			first.also = append(first.also, id) // want is ordered by strictness: the stricter serves both
			return
		}
		if why := s.breaker.refuses(r.key, now); why != "" {
			refused[id] = why
			return
		}
		if most, ok := s.learned[r.family]; ok && count[r.family] >= most {
			refused[id] = fmt.Sprintf("router %s reset the session at its own limit; no more than %d routes for %s until max_routes is set",
				s.peer.Name, most, familyName(r.family))
			return
		}
		if count[r.family] >= limit {
			refused[id] = fmt.Sprintf("limit of %d routes for %s (a tenth below max_routes %d)", limit, familyName(r.family), s.peer.MaxRoutes)
			return
		}
		count[r.family]++
		routes[r.key] = &held{id: id, route: r, added: now}
	}
	// What is announced already keeps its place before what is new.
	type pending struct {
		id    string
		route *route
	}
	var later []pending
	for i := range want {
		id := want[i].ID
		r, err := encode(&want[i], &s.peer, s.cfg.ASN)
		if err != nil {
			refused[id] = err.Error()
		} else if _, has := s.routes[r.key]; has {
			admit(id, r)
		} else {
			later = append(later, pending{id, r})
		}
	}
	for _, p := range later {
		admit(p.id, p.route)
	}
	return routes, refused
}

// apply makes the table equal to what of want this router can have. It compares with the table itself, not with what it
// believes to be there, and returns how many routes it added and deleted.
func (s *session) apply(ctx context.Context, want []mitigate.Mitigation) (changes int, err error) {
	now := s.now()
	s.mu.Lock()
	routes, refused := s.plan(want, now)
	s.breaker.forget(now, routes)
	s.mu.Unlock()

	actual, err := s.table()
	if err != nil {
		return 0, err
	}
	var errs []error
	for key, p := range actual {
		if _, ok := routes[key]; ok {
			continue
		}
		if err := s.srv.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{p}}); err != nil {
			errs = append(errs, fmt.Errorf("withdraw %s: %w", p.Nlri, err))
			continue
		}
		changes++
	}
	for key, h := range routes {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		if p, ok := actual[key]; ok {
			if sig, err := signature(p.Attrs); err == nil && sig == h.route.sig {
				continue
			}
		}
		// One path a call: on a bad path in a batch GoBGP reports an error though the others are in.
		if _, err := s.srv.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{h.route.path(now)}}); err != nil {
			errs = append(errs, fmt.Errorf("announce %s: %w", h.route.nlri, err))
			refused[h.id] = err.Error()
			delete(routes, key)
			continue
		}
		changes++
	}
	s.settleApply(routes, refused)
	return changes, errors.Join(errs...)
}

// settleApply records what the table now holds, and keeps the age of what was there before.
func (s *session) settleApply(routes map[string]*held, refused map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, h := range routes {
		if old, ok := s.routes[key]; ok && old.route.sig == h.route.sig {
			h.added, h.proven = old.added, old.proven
		}
	}
	s.routes, s.refused = routes, refused
}

// table lists our own routes in the server's table by key.
func (s *session) table() (map[string]*apiutil.Path, error) {
	got := map[string]*apiutil.Path{}
	for _, f := range families {
		var bad error
		err := s.srv.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: f},
			func(nlri gobgp.NLRI, paths []*apiutil.Path) {
				b, err := nlri.Serialize()
				if err != nil {
					bad = err
					return
				}
				for _, p := range paths {
					p.Family, p.Nlri = f, nlri
					got[tableKey(f, b)] = p // the import policy lets only local routes in
				}
			})
		if err = errors.Join(err, bad); err != nil {
			return nil, fmt.Errorf("list %s: %w", familyName(f), err)
		}
	}
	return got, nil
}

// stop ends the session. Graceful leaves the routes with a router that does graceful restart; otherwise they are withdrawn
// one by one and the session is closed with a Cease.
func (s *session) stop(graceful bool) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	if !graceful {
		// Even if the router would take the Cease for a restart (RFC 8538), the routes are gone. An error means that the
		// server has not started, and then there is nothing to withdraw.
		_ = s.srv.DeletePath(apiutil.DeletePathRequest{DeleteAll: true})
	}
	if err := s.srv.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: graceful}); err != nil {
		s.log.Warn("BGP server does not stop", "err", err)
	}
	if s.cancel != nil {
		s.cancel()
	}
}
