package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// table prints rows with a label and one column an attack.
type table struct {
	s *screen
}

func (t *table) row(label string, cells ...string) {
	line := fmt.Sprintf("  %-42s", label)
	for _, c := range cells {
		line += fmt.Sprintf("  %-26s", c)
	}
	t.s.line("%s", strings.TrimRight(line, " "))
}

// between is the time from a to b in words.
func between(a, b time.Time) string {
	if a.IsZero() || b.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.2f s", b.Sub(a).Seconds())
}

// perAttack makes a row of one cell for each attack.
func (st *story) perAttack(f func(a *attack) string) []string {
	var cells []string
	for _, a := range st.attacks {
		cells = append(cells, f(a))
	}
	return cells
}

// counted waits until the appliance has counted everything that was sent, or no more is coming.
func (d *live) counted(sent uint64) (seen, dropped, faults float64, err error) {
	before := -1.0
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if seen, err = d.weir.Counter("packets_counted"); err != nil {
			return
		}
		if seen == before || seen >= float64(sent) || time.Now().After(deadline) {
			break
		}
		before = seen
	}
	if dropped, err = d.weir.Counter("port_dropped_packets"); err != nil {
		return
	}
	faults, err = d.weir.Counter("conservation_faults")
	return
}

// summary prints what was measured, and returns what did not happen.
func (d *live) summary() error {
	sent := d.total.Load()
	seen, dropped, faults, err := d.counted(sent)
	if err != nil {
		return err
	}
	st := d.story
	d.s.status()
	d.s.line("")
	d.s.line("%s", d.s.paint(bold, "SUMMARY"))
	t := table{s: d.s}
	t.row("victim", st.perAttack(func(a *attack) string { return a.addr.String() })...)
	t.row("attack", st.perAttack(func(a *attack) string { return a.name })...)
	t.row("packets of the attack", st.perAttack(func(a *attack) string { return count(a.sent) })...)
	t.row("first attack packet to breach", st.perAttack(func(a *attack) string { return between(a.start, a.breach) })...)
	t.row("first attack packet to route in BIRD", st.perAttack(func(a *attack) string { return between(a.start, a.route) })...)
	t.row("packets that came through to the victim", st.perAttack(func(a *attack) string {
		if a.sent == 0 {
			return "-"
		}
		return fmt.Sprintf("%s (%.1f %%)", count(a.reached), 100*a.reached/a.sent)
	})...)
	t.row("at most, once shielded", st.perAttack(func(a *attack) string { return count(a.worst) + " packets/s" })...)
	t.row("end of attack to route gone", st.perAttack(func(a *attack) string { return between(a.over, a.gone) })...)
	d.s.line("")
	lost := max(0, float64(sent)-seen)
	t.row("packets sent", count(float64(sent)))
	t.row("packets seen by Weir", count(seen))
	t.row("packets lost", fmt.Sprintf("%s (%s of them dropped at the port)", count(lost), count(dropped)))
	d.s.line("")
	err = st.verdict()
	if faults > 0 {
		err = errors.Join(err, fmt.Errorf("weir counted a packet twice or not at all in %.0f ticks", faults))
	}
	if seen > float64(sent) {
		err = errors.Join(err, fmt.Errorf("weir counted %s packets more than were sent", count(seen-float64(sent))))
	}
	return err
}
