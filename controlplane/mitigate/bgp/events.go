package bgp

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// What happens to a session, what follows from it, and what is shown of it.

// onPeer follows the session's state; GoBGP's watcher goroutine calls it.
func (s *session) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if ev.Type != apiutil.PEER_EVENT_STATE && ev.Type != apiutil.PEER_EVENT_INIT {
		return
	}
	st := ev.Peer.State
	s.mu.Lock()
	was := s.state
	if st.SessionState != was {
		s.state, s.since = st.SessionState, s.now()
	}
	down := was == gobgp.BGP_FSM_ESTABLISHED && st.SessionState != gobgp.BGP_FSM_ESTABLISHED
	up := was != gobgp.BGP_FSM_ESTABLISHED && st.SessionState == gobgp.BGP_FSM_ESTABLISHED
	if isFault(st) {
		s.lastErr = cmp.Or(s.noted.text, st.DisconnectMessage)
	}
	rejected := 0
	s.established.Store(st.SessionState == gobgp.BGP_FSM_ESTABLISHED)
	if up {
		s.dialErr, s.noted = "", notification{}
		if s.flaps == 0 {
			s.lastErr = "" // the first attempts did not matter
		}
		s.negotiated = negotiated(st.RemoteCap, s.peer.Families)
	}
	if down {
		s.negotiated = nil
		s.flaps++
		rejected = s.blame()
		s.learnLimit()
	}
	names, lastErr, stopping := familyNames(s.negotiated), s.lastErr, s.stopping
	s.mu.Unlock()

	switch {
	case up:
		s.log.Info("BGP session is up", "families", names)
	case down && !stopping:
		s.log.Warn("BGP session is down", "reason", lastErr, "quarantined", rejected)
	}
	if rejected > 0 {
		s.kick()
	}
}

// onNotification and onDialError are called by whatever goroutine of GoBGP's logs.
func (s *session) onNotification(n notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.noted, s.lastErr = n, n.text
	}
}

func (s *session) onDialError(reason string) {
	s.mu.Lock()
	s.dialErr = reason
	s.mu.Unlock()
}

// isFault tells a reason worth showing from the state machine's ordinary steps: GoBGP gives each step a reason.
func isFault(st apiutil.PeerState) bool {
	switch st.DisconnectReason {
	case api.PeerState_DISCONNECT_REASON_UNSPECIFIED, api.PeerState_DISCONNECT_REASON_IDLE_TIMER_EXPIRED:
		return false
	default:
		return st.SessionState != gobgp.BGP_FSM_ESTABLISHED
	}
}

// blame quarantines the routes that may have made the router reset the session with an UPDATE error (RFC 4271 6.3):
// those that the session has not yet survived. A blackhole is blamed only when there is no such rule.
func (s *session) blame() (rejected int) {
	if !s.noted.received || s.noted.code != gobgp.BGP_ERROR_UPDATE_MESSAGE_ERROR {
		return 0
	}
	now := s.now()
	for _, flow := range []bool{true, false} {
		for key, h := range s.routes {
			isFlow := h.route.family == gobgp.RF_FS_IPv4_UC || h.route.family == gobgp.RF_FS_IPv6_UC
			if !h.proven && isFlow == flow {
				s.breaker.trip(key, fmt.Sprintf("rejected by router %s: %s", s.peer.Name, s.noted.text), now)
				rejected++
			}
		}
		if rejected > 0 {
			break
		}
	}
	return rejected
}

// learnLimit keeps a router that closed the session for too many routes (RFC 4486, Cease 6/1) from doing so for ever: next time
// it gets no more than what it had accepted before, or half as many when it had accepted none.
func (s *session) learnLimit() {
	n := s.noted
	if !n.received || n.code != gobgp.BGP_ERROR_CEASE || n.sub != gobgp.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED {
		return
	}
	all, proven := map[gobgp.Family]int{}, map[gobgp.Family]int{}
	for _, h := range s.routes {
		all[h.route.family]++
		if h.proven {
			proven[h.route.family]++
		}
	}
	for f, n := range all {
		if proven[f] == n {
			continue // nothing was new in this family: it is not the one
		}
		most := proven[f]
		if most == 0 {
			most = n / 2
		}
		s.learned[f] = max(most, 1)
	}
	s.kick()
}

// tick marks routes that the session has survived as proven. It reports whether a route on probation has become proven, or
// a quarantine is over, so that the next one can be tried.
func (s *session) tick() (again bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == gobgp.BGP_FSM_ESTABLISHED && now.Sub(s.since) >= settle {
		for key, h := range s.routes {
			if !h.proven && now.Sub(h.added) >= settle {
				h.proven = true
				again = s.breaker.clear(key) || again
			}
		}
	}
	return again || s.breaker.due(now)
}

// negotiated lists the families that both sides want.
func negotiated(caps []gobgp.ParameterCapabilityInterface, ours Families) (fs []gobgp.Family) {
	for _, c := range caps {
		if mp, ok := c.(*gobgp.CapMultiProtocol); ok && ours.has(mp.CapValue) && !slices.Contains(fs, mp.CapValue) {
			fs = append(fs, mp.CapValue)
		}
	}
	slices.Sort(fs)
	return fs
}

func familyNames(fs []gobgp.Family) []string {
	var names []string
	for _, f := range fs {
		names = append(names, familyName(f))
	}
	return names
}

// view is what the session contributes to the speaker's status and results.
type view struct {
	peer    mitigate.PeerStatus
	refused map[string]string
	// inForce are the ids whose route an established session carries; held are all that the table holds.
	inForce, held []string
}

func (s *session) view() view {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{
		peer: mitigate.PeerStatus{
			Name: s.peer.Name, Address: s.peer.Address.String(), ASN: s.peer.RemoteASN,
			State: stateName(s.state), Since: s.since.Round(0), Families: familyNames(s.negotiated),
			LastError: s.lastErr, Flaps: s.flaps,
		},
		refused: maps.Clone(s.refused),
	}
	if s.state != gobgp.BGP_FSM_ESTABLISHED && s.peered {
		v.peer.LastError = s.trouble(now)
	}
	for _, h := range s.routes {
		v.held = append(append(v.held, h.id), h.also...)
		switch {
		case s.state != gobgp.BGP_FSM_ESTABLISHED:
		case slices.Contains(s.negotiated, h.route.family):
			v.inForce = append(append(v.inForce, h.id), h.also...)
		default:
			v.refused[h.id] = "the router does not speak " + familyName(h.route.family)
		}
	}
	return v
}

// trouble says why the session is not up: how it ended, and what became of the attempts since.
func (s *session) trouble(now time.Time) string {
	text := s.lastErr
	add := func(more string) {
		if text != "" {
			text += "; "
		}
		text += more
	}
	switch silent := now.Sub(s.since) > noAnswer && s.state <= gobgp.BGP_FSM_ACTIVE; {
	case s.dialErr != "":
		add(s.dialErr)
	case silent && s.lastErr == "" && s.peer.Passive:
		add("the router has not connected")
	case silent && s.lastErr == "":
		add("no TCP connection to " + netip.AddrPortFrom(s.peer.Address, s.peer.Port).String())
	}
	if s.peer.Password != "" && text != "" && s.lastErr == "" {
		text += " (another password on the router looks like this too)"
	}
	return text
}

// stateName is the FSM state in mitigate.PeerStatus's words.
func stateName(st gobgp.FSMState) string {
	return strings.ToLower(strings.TrimPrefix(st.String(), "BGP_FSM_"))
}
