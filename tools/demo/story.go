package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
)

// rate is traffic in one direction.
type rate struct{ pps, mbps float64 }

// sample is what was observed at one moment.
type sample struct {
	at      time.Time
	in, out rate
	// played is when the moment of a capture was due, zero when live: a machine that is held up is late.
	played time.Time
	// incidents are all, those that are over included; their times are of the same clock as played, or live as at.
	incidents []api.Incident
	// routes are what the router has from the appliance, read at routesAt; nil while it has not been asked.
	routes   []routertest.Route
	routesAt time.Time
	// reach is how many packets per second arrive at a victim, behind the router. sees is what the appliance measures
	// towards it, in front of the router.
	reach, sees map[netip.Addr]float64
	// others is how many packets per second arrive at hosts that are not attacked; negative when nobody counts them.
	others float64
}

// attack is one victim's part of the story. A zero time has not come yet.
type attack struct {
	addr netip.Addr
	// name is how the attack is called on the screen, pps its rate; both are empty when only the detector knows of it.
	name string
	pps  float64

	// start and over are the first and the last packet; both come from whoever sends.
	start, over time.Time
	breach      time.Time
	why         api.Incident
	route       time.Time
	shown       routertest.Route
	shield      time.Time
	gone        time.Time
	back        time.Time

	sent, reached float64 // packets of the attack, and how many packets came through while it lasted
	worst         float64 // packets per second that came through after the shield, at the most
	history       []float64
}

// story follows the samples, prints the acts, and knows at the end whether everything happened.
type story struct {
	s      *screen
	start  time.Time
	router string // how the router is called
	// measured is set when reach was counted at the victim, and not computed.
	measured bool
	attacks  []*attack
	// discover has incidents on other targets become attacks of the story: a capture of which nothing is known.
	discover bool
	more     bool // there are more victims than are shown
	in, out  []float64
	top      float64 // full scale of what is drawn, packets/s
	lastRow  time.Time
	lastAct  time.Time
	innocent map[string]bool // routes that should not be there
}

func newStory(s *screen, start time.Time, router string, attacks ...*attack) *story {
	st := &story{s: s, start: start, router: router, attacks: attacks, innocent: make(map[string]bool)}
	for _, a := range attacks {
		st.top += 1.1 * a.pps
	}
	return st
}

// act prints one act of the story. Some are only known a moment later; the clock on the screen never goes back for them.
func (st *story) act(at time.Time, sgr, what, format string, args ...any) {
	if at.Before(st.lastAct) {
		at = st.lastAct
	}
	st.lastAct = at
	st.s.line("%s  %s  %s", st.clock(at), st.s.paint(sgr, fmt.Sprintf("%-9s", what)), fmt.Sprintf(format, args...))
}

func (st *story) clock(at time.Time) string {
	return fmt.Sprintf("%5.1fs", max(0, at.Sub(st.start).Seconds()))
}

// begins notes the first packet of an attack.
func (st *story) begins(a *attack, at time.Time) {
	a.start = at
	st.act(at, red, "ATTACK", "%s on %s begins: %s packets/s", a.name, a.addr, count(a.pps))
}

// ends notes the last packet of an attack.
func (st *story) ends(a *attack, at time.Time) {
	a.over = at
	st.act(at, cyan, "OVER", "%s on %s has ended after %.1f s", a.name, a.addr, a.over.Sub(a.start).Seconds())
}

// observe takes one sample.
func (st *story) observe(o *sample) {
	if st.discover {
		st.find(o)
	}
	for _, a := range st.attacks {
		st.judge(a, o)
	}
	st.strangers(o)
	st.traffic(o)
}

// find takes up victims that only the detector knows.
func (st *story) find(o *sample) {
	for _, inc := range o.incidents {
		addr, err := netip.ParseAddr(inc.Target)
		if err != nil || inc.State == "suspect" || slices.ContainsFunc(st.attacks, func(a *attack) bool { return a.addr == addr }) {
			continue
		}
		if len(st.attacks) == maxAttacks {
			if !st.more {
				st.more = true
				st.act(o.at, yellow, "MORE", "further victims are mitigated alike, and not shown: %s is the first", addr)
			}
			return
		}
		st.attacks = append(st.attacks, &attack{addr: addr})
	}
}

// maxAttacks bounds the victims of one story; a capture may have thousands.
const maxAttacks = 4

// judge moves one attack's part on.
func (st *story) judge(a *attack, o *sample) {
	i := slices.IndexFunc(o.incidents, func(inc api.Incident) bool { return inc.Target == a.addr.String() && inc.State != "suspect" })
	if i >= 0 && a.breach.IsZero() {
		st.found(a, &o.incidents[i], o.at)
	}
	if a.start.IsZero() && a.breach.IsZero() {
		return
	}
	if a.name == "" {
		st.listen(a, o, i)
	}
	st.follow(a, o)
	reach, known := o.reach[a.addr]
	if !known {
		return
	}
	attacking := a.over.IsZero()
	switch {
	case attacking && !a.route.IsZero() && a.shield.IsZero() && reach <= shielded*o.sees[a.addr]:
		a.shield = o.at
		st.act(o.at, green, "SHIELDED", "%s: %s", a.addr, st.shieldText(reach, o.sees[a.addr]))
	case attacking && !a.shield.IsZero():
		a.worst = max(a.worst, reach)
	case !a.gone.IsZero() && a.back.IsZero() && reach > 0:
		a.back = o.at
		if st.measured {
			st.act(o.at, green, "BACK", "%s receives its usual traffic again: %s packets/s", a.addr, count(reach))
		}
	}
}

// silence is after how long without a breach an attack of which only the detector knows counts as over.
const silence = 500 * time.Millisecond

// listen notices from the incident, number i or -1 when it is closed, that an attack is over, or goes on after a pause.
func (st *story) listen(a *attack, o *sample, i int) {
	if i >= 0 && o.incidents[i].LastBreach.After(a.why.LastBreach) {
		a.why.LastBreach = o.incidents[i].LastBreach
	}
	last, now := a.why.LastBreach, o.at
	if !o.played.IsZero() {
		now = o.played
	}
	switch {
	case a.over.IsZero() && (i < 0 || now.Sub(last) > silence):
		a.over = last
		st.act(o.at, cyan, "OVER", "the attack on %s is over", a.addr)
	case !a.over.IsZero() && last.After(a.over) && a.gone.IsZero():
		a.over = time.Time{}
		st.act(o.at, red, "ATTACK", "%s is attacked again", a.addr)
	}
}

// shielded is the part of an attack that may come through at the most for a victim to count as shielded.
const shielded = 0.01

func (st *story) shieldText(reach, sees float64) string {
	if st.measured {
		return fmt.Sprintf("%s packets/s reach it, while Weir still sees %s packets/s towards it", count(reach), count(sees))
	}
	return fmt.Sprintf("the router would drop all of the %s packets/s towards it", count(sees))
}

// found prints the breach and its reason.
func (st *story) found(a *attack, inc *api.Incident, now time.Time) {
	a.breach, a.why = inc.Start, *inc
	after := ""
	if !a.start.IsZero() {
		after = fmt.Sprintf(" (%.2f s after the first attack packet)", a.breach.Sub(a.start).Seconds())
	}
	st.act(now, yellow, "BREACH", "%s %s: %s %s exceeded, measured %s %s: %s, hostgroup %s%s", a.addr, inc.Direction, inc.Threshold,
		count(inc.Limit), count(inc.Value), inc.Unit, inc.Vector, inc.Hostgroup, after)
}

// follow watches the victim's route in the router.
func (st *story) follow(a *attack, o *sample) {
	if o.routes == nil {
		return
	}
	i := slices.IndexFunc(o.routes, func(r routertest.Route) bool {
		return r.Prefix == netip.PrefixFrom(a.addr, a.addr.BitLen())
	})
	switch {
	case i >= 0 && a.route.IsZero():
		a.route, a.shown = o.routesAt, o.routes[i]
		after := ""
		if !a.start.IsZero() {
			after = fmt.Sprintf(" (%.2f s after the first attack packet)", a.route.Sub(a.start).Seconds())
		}
		st.act(o.routesAt, green, "ROUTE", "%s has %s, next hop %s, communities %s%s", st.router, a.shown.Prefix, a.shown.NextHop,
			communities(a.shown), after)
	case i < 0 && !a.route.IsZero() && a.gone.IsZero():
		a.gone = o.routesAt
		after := ""
		if !a.over.IsZero() {
			after = fmt.Sprintf(" (%.1f s after the attack's end)", a.gone.Sub(a.over).Seconds())
		}
		st.act(o.routesAt, green, "WITHDRAWN", "%s no longer has %s%s", st.router, a.shown.Prefix, after)
	}
}

// communities lists a route's communities, the well-known ones by name. Large ones are left out: Weir marks its routes with one.
func communities(r routertest.Route) string {
	names := map[string]string{"65535:666": "blackhole", "65535:65281": "no-export", "65535:65282": "no-advertise"}
	var out []string
	for _, c := range r.Communities {
		if name, ok := names[c]; ok {
			out = append(out, name)
		} else if strings.Count(c, ":") == 1 {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// strangers notices routes for hosts that nobody attacks.
func (st *story) strangers(o *sample) {
	for _, r := range o.routes {
		expected := slices.ContainsFunc(st.attacks, func(a *attack) bool { return r.Prefix.IsValid() && r.Prefix.Contains(a.addr) })
		if name := r.Prefix.String() + r.Rule; !expected && !st.innocent[name] && !st.discover {
			st.innocent[name] = true
			st.act(o.at, red, "WRONG", "%s has a route for %s, which nobody attacks", st.router, name)
		}
	}
}

// traffic shows the traffic: in place on a terminal, else a row a second.
func (st *story) traffic(o *sample) {
	if o.reach == nil {
		return
	}
	st.in, st.out = appended(st.in, o.in.pps), appended(st.out, o.out.pps)
	st.top = max(st.top, o.in.pps, o.out.pps)
	for _, a := range st.attacks {
		a.history = appended(a.history, o.reach[a.addr])
	}
	if st.s.live {
		st.s.status(st.block(o)...)
		return
	}
	if o.at.Sub(st.lastRow) < rowEvery {
		return
	}
	st.lastRow, st.lastAct = o.at, o.at
	var b strings.Builder
	fmt.Fprintf(&b, "%s  in %7s pps %6.1f Mbit/s [%s]  out %6s pps %5.1f Mbit/s", st.clock(o.at), count(o.in.pps), o.in.mbps,
		bar(o.in.pps, st.top, barWidth), count(o.out.pps), o.out.mbps)
	for i, a := range st.attacks {
		sep := ","
		if i == 0 {
			sep = "  reach"
		}
		fmt.Fprintf(&b, "%s %s: %s", sep, a.addr, count(o.reach[a.addr]))
	}
	st.s.line("%s", b.String())
}

const (
	rowEvery   = 950 * time.Millisecond // a second, with room for a sample that comes a little early
	barWidth   = 20
	rowWidth   = 57 // of a row of the block before its spark line
	sparkWidth = 60 // at most
)

// appended keeps the end of a history.
func appended(h []float64, v float64) []float64 {
	if len(h) >= sparkWidth {
		h = append(h[:0], h[len(h)-sparkWidth+1:]...)
	}
	return append(h, v)
}

// block is what is renewed in place.
func (st *story) block(o *sample) []string {
	width := max(0, min(sparkWidth, st.s.width()-rowWidth))
	row := func(sgr, name string, v float64, unit string, history []float64, top float64) string {
		return fmt.Sprintf("  %-24s %9s pps %-14s %s", name, count(v), unit, st.s.paint(sgr, st.s.spark(history, top, width)))
	}
	mbps := func(r rate) string { return fmt.Sprintf("%.1f Mbit/s", r.mbps) }
	lines := []string{
		st.s.paint(dim, fmt.Sprintf("%s %s", st.clock(o.at), strings.Repeat("-", max(0, rowWidth+width-9)))),
		row(cyan, "incoming", o.in.pps, mbps(o.in), st.in, st.top),
		row(cyan, "outgoing", o.out.pps, mbps(o.out), st.out, st.top),
	}
	for _, a := range st.attacks {
		v, ok := o.reach[a.addr]
		if !ok {
			continue
		}
		sgr, note := green, ""
		switch {
		case !a.route.IsZero() && a.gone.IsZero():
			note = "blackholed"
		case !a.start.IsZero() && a.over.IsZero():
			sgr, note = red, "under attack"
		}
		lines = append(lines, row(sgr, "reach "+a.addr.String(), v, note, a.history, max(a.pps, st.top/2)))
	}
	if o.others >= 0 {
		lines = append(lines, fmt.Sprintf("  %-24s %9s pps", "reach all other hosts", count(o.others)))
	}
	return lines
}

// done tells whether nothing more is to come.
func (st *story) done() bool {
	return len(st.attacks) > 0 && !slices.ContainsFunc(st.attacks, func(a *attack) bool {
		return a.gone.IsZero() || a.over.IsZero() || (st.measured && a.back.IsZero())
	})
}

// awaits tells whether a route may arrive any moment.
func (st *story) awaits() bool {
	return slices.ContainsFunc(st.attacks, func(a *attack) bool {
		return (!a.start.IsZero() || !a.breach.IsZero()) && a.route.IsZero() && a.over.IsZero()
	})
}

// verdict is nil when the main job really happened, else everything that did not.
func (st *story) verdict() error {
	if len(st.attacks) == 0 {
		return errors.New("no attack was found: nothing exceeded a threshold")
	}
	var errs []error
	for _, a := range st.attacks {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: "+format, append([]any{a.addr}, args...)...))
		}
		switch {
		case a.name != "" && a.start.IsZero():
			fail("the attack was never sent")
		case a.breach.IsZero():
			fail("no threshold fired")
		case a.route.IsZero():
			fail("the route never arrived in %s", st.router)
		case a.shield.IsZero():
			fail("more than %.0f %% of the attack still reached the victim", shielded*100)
		case a.gone.IsZero():
			fail("the route is still in %s", st.router)
		case !a.over.IsZero() && a.gone.Before(a.over):
			fail("the route went away before the attack ended")
		case st.measured && a.back.IsZero():
			fail("no traffic reached the host after the route was gone")
		}
	}
	for name := range st.innocent {
		errs = append(errs, fmt.Errorf("%s got a route for %s, which nobody attacked", st.router, name))
	}
	return errors.Join(errs...)
}
