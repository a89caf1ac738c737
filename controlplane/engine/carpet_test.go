package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// TestCarpet attacks thousands of hosts in one tick: everything is bounded, and counted where it is cut.
func TestCarpet(t *testing.T) {
	t.Parallel()
	const hosts = 3000
	var lines bytes.Buffer
	l, f := &listener{room: 1e6}, &fakeEvidence{grow: 1000}
	set := settings(t, nil)
	set.Bans.MaxIncidents = 2000
	w := newWorld(t, set, Deps{Notifiers: []notify.Notifier{l}, Evidence: f, Log: slog.New(slog.NewTextHandler(&lines, nil))})
	for i := range hosts {
		w.steady[fmt.Sprintf("2001:db8::%x", i+1)] = uint64(1001 + i)
	}
	for i := range 200 {
		w.steady[fmt.Sprintf("198.51.100.%d", i+1)] = 1e6
	}
	began := time.Now()
	v := w.tick(2)
	if d := time.Since(began); d > time.Minute {
		t.Errorf("two ticks took %v", d)
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n > 2*maxLines+20 {
		t.Errorf("%d log lines", n)
	}
	if len(v.Incidents) != 2000 || v.Health.Incidents.Refused != 2*1200 || v.Health.Planner.Blackholes != 100 {
		t.Errorf("%d incidents, %d refused, %d blackholes", len(v.Incidents), v.Health.Incidents.Refused, v.Health.Planner.Blackholes)
	}
	for _, m := range v.Mitigations { // the strongest attacks come first
		if !m.Prefix.Addr().Is4() {
			t.Fatalf("%v is mitigated before a stronger attack", m.Prefix)
		}
	}
	for _, inc := range v.Incidents {
		if inc.Why.Value < 1001+hosts-1800 {
			t.Fatalf("%v is kept before a larger one: %v", inc.Target, inc.Why.Value)
		}
	}
	if v.Health.DetailsSkipped != 2000-maxDetails || len(v.Health.Alarms) != 1 {
		t.Errorf("%d skipped, alarms %v", v.Health.DetailsSkipped, v.Health.Alarms)
	}
	w.tick(maxDetails/detailsTick + 1)
	details := 0
	for _, e := range l.events {
		if e.Action == notify.AttackDetails {
			details++
		}
	}
	if details != maxDetails {
		t.Errorf("%d attack_details, want %d", details, maxDetails)
	}
}

// TestMovedHost: a host that moves to another hostgroup takes its incident with it.
func TestMovedHost(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		a := netip.MustParseAddr(host)
		w := newWorld(t, settings(t, nil), Deps{})
		w.steady[host] = 5000
		w.tick(1)
		network := netip.PrefixFrom(a, a.BitLen())
		err := w.e.Apply(settings(t, map[string]rule.GroupConfig{"vip": {ThresholdPPS: ptr[uint64](4000), Networks: []netip.Prefix{network}}}))
		if err != nil {
			t.Fatal(err)
		}
		v := w.tick(1)
		if len(v.Incidents) != 1 || v.Incidents[0].Hostgroup != "vip" || v.Incidents[0].ID != "id-1" || len(v.Mitigations) != 1 {
			t.Fatalf("%+v", v.Incidents)
		}
		w.steady[host] = 3000 // below 0.8 of the new limit: the attack is over
		if v = w.tick(30); len(v.Incidents) != 0 {
			t.Fatalf("%+v", v.Incidents)
		}
	}
}

func TestPacketOf(t *testing.T) {
	t.Parallel()
	frame := []byte{
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
		0x45, 0, 0, 40, 0, 0, 0, 0, 55, 6, 0, 0, 203, 0, 113, 9, 198, 51, 100, 7, // IPv4, TTL 55, TCP
		0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0, // 12345 -> 80, SYN
	}
	at := base.UnixNano()
	p, ok := PacketOf(new(wire.Decoder), 1, frame, 60, at, netip.MustParseAddr(victims[0]))
	want := notify.Packet{
		Time: time.Unix(0, at), Src: remote[0], Dst: netip.MustParseAddr(victims[0]), SrcPort: 12345, DstPort: 80, Proto: 6, TCPFlags: 2, TTL: 55,
		Length: 60, SampleRate: 1,
	}
	if !ok || p != want {
		t.Fatalf("%+v %v, want %+v", p, ok, want)
	}
	if _, ok := PacketOf(new(wire.Decoder), 1, frame[:12], 60, 0, netip.Addr{}); ok {
		t.Fatal("a packet without an IP header")
	}
	if p, ok := PacketOf(new(wire.Decoder), 1, frame, 60, 0, netip.Addr{}); !ok || !p.Time.IsZero() {
		t.Fatalf("%+v", p)
	}
}
