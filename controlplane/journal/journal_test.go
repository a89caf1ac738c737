package journal

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// open makes a journal of the file; it is closed at the test's end.
func open(t *testing.T, path string) *Journal {
	t.Helper()
	return openWith(t, path, func(*Config) {}, func() time.Time { return epoch })
}

func openWith(t *testing.T, path string, change func(*Config), now func() time.Time) *Journal {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Path = path
	change(&cfg)
	j, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// state is a state in which nothing is zero, with n incidents, every other one IPv6.
func state(n, generation int) engine.State {
	s := engine.State{Saved: epoch.Add(time.Duration(generation) * time.Second)}
	for i := range n {
		host := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if i%2 == 1 {
			host = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		}
		prefix := netip.PrefixFrom(host, host.BitLen())
		id := fmt.Sprintf("i%05d", i)
		inc := incident.Incident{
			ID: id, Target: rule.Target{Host: host}, Direction: traffic.Outgoing, Hostgroup: "web", Network: prefix,
			State: incident.Active, Vector: incident.UDPFlood, Protocol: "udp", Attack: "udp_random", Share: 0.75, Others: []string{"threshold_mbps"},
			InitialPPS: 1.5, PeakPPS: float64(generation), Start: epoch, LastBreach: epoch, End: epoch, Until: epoch.Add(time.Hour),
			Manual: true, Whitelisted: true,
		}
		inc.Why = rule.Breach{
			Target: inc.Target, Direction: traffic.Outgoing, Hostgroup: "web", Network: prefix, Metric: rule.UDPPPS, Limit: 1, Value: 2,
			Window: time.Second,
		}
		for m := range inc.Why.In {
			inc.Why.In[m], inc.Why.Out[m] = float64(m)+0.25, float64(m)*1e9
		}
		inc.In, inc.Out = inc.Why.Out, inc.Why.In
		s.Incidents = append(s.Incidents, inc)
		m := mitigate.Mitigation{
			ID: "m" + id, Kind: mitigate.FlowSpec, Prefix: prefix, NextHop: host, Communities: []mitigate.Community{"65535:666", "64512:1:7"},
			Match: mitigate.Match{
				Destination: prefix, Source: prefix, Protocols: []uint8{6, 17}, SourcePorts: []uint16{53}, DestinationPorts: []uint16{80}, TCPFlags: 2,
				TCPFlagsNot: 16, Fragment: true, MinLength: 20, MaxLength: 1500,
			},
			Action: mitigate.RateLimit, Rate: uint64(generation), Hostgroup: "web", Incident: id, Reason: "why", Manual: true, DryRun: true,
			Created: epoch, Expires: epoch.Add(time.Hour),
		}
		s.Planner.Active = append(s.Planner.Active, mitigate.ActiveState{Mitigation: m, Owners: []string{id}})
		s.Manual = append(s.Manual, mitigate.Manual{
			ID: "q" + id, Kind: mitigate.Blackhole, Prefix: prefix, Match: m.Match, Action: m.Action, Rate: 7, Hostgroup: "web", By: "ada",
			Reason: "ticket", Created: epoch, Expires: epoch.Add(time.Hour),
		})
	}
	s.Planner.KillSwitch = mitigate.KillSwitch{On: true, By: "ada", Reason: "test", Since: epoch}
	s.Planner.Suppressed = []mitigate.Suppression{{Owner: "i1", Key: "blackhole 10.0.0.1/32"}}
	s.Planner.Admitted = []time.Time{epoch}
	return s
}

func mustSave(t *testing.T, j *Journal, s engine.State) {
	t.Helper()
	if err := j.Save(s); err != nil {
		t.Fatal(err)
	}
}

// written returns the path of a journal that holds state(n, 1) and is closed.
func written(t *testing.T, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	mustSave(t, j, state(n, 1))
	j.Close()
	return path
}

// mustLoad loads, and sorts what has no order.
func mustLoad(t *testing.T, j *Journal) engine.State {
	t.Helper()
	s, err := j.Load()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(s.Incidents, func(a, b incident.Incident) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new folder", "journal.db")
	j := open(t, path)
	if s := mustLoad(t, j); !reflect.DeepEqual(s, engine.State{}) {
		t.Fatalf("a new journal has %+v", s)
	}
	for generation, n := range []int{3, 5, 1, 0, 4} {
		want := state(n, generation+1)
		mustSave(t, j, want)
		if got := mustLoad(t, j); !reflect.DeepEqual(got, want) {
			t.Fatalf("generation %d\n got %+v\nwant %+v", generation, got, want)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, path)
		if got := mustLoad(t, j); !reflect.DeepEqual(got, want) {
			t.Fatalf("generation %d, opened again\n got %+v\nwant %+v", generation, got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder's mode %v %v", info.Mode(), err)
	}
}

// TestNothingIsForgotten fails when a field is added to the state and not to the test above, or not to the journal.
func TestNothingIsForgotten(t *testing.T) {
	t.Parallel()
	s := state(1, 1)
	var zero func(path string, v reflect.Value)
	zero = func(path string, v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[netip.Addr](), v.Type() == reflect.TypeFor[netip.Prefix]():
		case v.Kind() == reflect.Slice && v.Len() > 0:
			zero(path+"[0]", v.Index(0))
			return
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				zero(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		}
		// A target is a host or a group, and every test's target is a host.
		if v.IsZero() && !strings.HasSuffix(path, ".Target.Group") {
			t.Errorf("%s is zero in the test's state", path)
		}
	}
	zero("State", reflect.ValueOf(s))
}

func TestOnlyChangesAreWritten(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	s := state(100, 1)
	mustSave(t, j, s)
	if w := j.Stats().Written; w != 301 {
		t.Fatalf("%d records written", w)
	}
	mustSave(t, j, s)
	if w := j.Stats().Written; w != 301 {
		t.Errorf("an equal state wrote %d records", w-301)
	}
	s.Incidents[7].PeakPPS++
	s.Manual = s.Manual[1:]
	mustSave(t, j, s)
	if w := j.Stats().Written; w != 303 {
		t.Errorf("two changes wrote %d records", w-301)
	}
}

func TestPermissionsAreRepaired(t *testing.T) {
	t.Parallel()
	path := written(t, 1)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	mustLoad(t, open(t, path))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
}

func TestRecordThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	s := state(3, 1)
	s.Incidents[1].PeakPPS = math.Inf(1)
	s.Manual[2].ID = ""
	err := j.Save(s)
	if err == nil || !strings.Contains(err.Error(), "i00001") || !strings.Contains(err.Error(), "not a usable id") {
		t.Errorf("%v", err)
	}
	if got := mustLoad(t, j); len(got.Incidents) != 2 || len(got.Manual) != 2 || len(got.Planner.Active) != 3 {
		t.Errorf("the others were not saved: %+v", got)
	}
}

func TestUnreadableRecordIsSkipped(t *testing.T) {
	t.Parallel()
	path := written(t, 3)
	edit(t, path, func(tx *bolt.Tx) error {
		record, err := pack(bucketMitigations, []byte("mi00001"), map[string]any{"mitigation": map[string]string{"prefix": "nonsense"}})
		if err != nil {
			return err
		}
		if err := tx.Bucket(bucketMitigations).Put([]byte("mi00001"), record); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyRest, []byte("{"))
	})
	j := open(t, path)
	if got := mustLoad(t, j); len(got.Planner.Active) != 2 || len(got.Incidents) != 3 || j.Stats().Unreadable != 2 {
		t.Errorf("%+v, %+v", got, j.Stats())
	}
	mustSave(t, j, state(3, 1))
	if got := mustLoad(t, j); !reflect.DeepEqual(got, state(3, 1)) {
		t.Errorf("the next save did not repair it: %+v", got)
	}
}

// edit changes the file behind the journal's back.
func edit(t *testing.T, path string, f func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	now := epoch
	path := filepath.Join(t.TempDir(), "journal.db")
	limits := func(c *Config) { c.AuditEntries, c.AuditAge = 100, time.Hour }
	j := openWith(t, path, limits, func() time.Time { return now })
	for i := range 150 {
		if err := j.Audit(Entry{Who: fmt.Sprintf("uid %d", i%2), What: "block", Target: fmt.Sprintf("2001:db8::%d", i%10)}); err != nil {
			t.Fatal(err)
		}
	}
	seqs := func(q Query) (out []uint64) {
		t.Helper()
		list, err := j.History(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			out = append(out, e.Seq)
		}
		return out
	}
	if got := seqs(Query{Limit: 1000}); len(got) != 100 || got[0] != 150 || got[99] != 51 {
		t.Errorf("%d entries kept: %v", len(got), got)
	}
	if got := seqs(Query{Limit: 3}); !slices.Equal(got, []uint64{150, 149, 148}) {
		t.Errorf("%v", got)
	}
	if got := seqs(Query{Limit: 3, Before: 148}); !slices.Equal(got, []uint64{147, 146, 145}) {
		t.Errorf("%v", got)
	}
	if got := seqs(Query{Limit: 3, Before: 9999}); !slices.Equal(got, []uint64{150, 149, 148}) {
		t.Errorf("%v", got)
	}
	if got := seqs(Query{Limit: 3, Before: 51}); got != nil {
		t.Errorf("%v", got)
	}
	if got := seqs(Query{Who: "uid 1", What: "block", Target: "2001:db8::3", Limit: 2}); !slices.Equal(got, []uint64{144, 134}) {
		t.Errorf("%v", got)
	}
	if got := seqs(Query{What: "commit"}); got != nil {
		t.Errorf("%v", got)
	}
	j.Close()
	j = openWith(t, path, limits, func() time.Time { return now })
	now = now.Add(2 * time.Hour) // all of them are too old now
	if err := j.Audit(Entry{Who: "planner", What: "ban", Detail: strings.Repeat("é", maxText)}); err != nil {
		t.Fatal(err)
	}
	list, err := j.History(Query{})
	if err != nil || len(list) != 1 || list[0].Seq != 151 || !list[0].Time.Equal(now) || len(list[0].Detail) != maxText {
		t.Errorf("%v %+v", err, list)
	}
	if list, _ = j.History(Query{Since: now.Add(time.Second)}); list != nil {
		t.Errorf("%+v", list)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	mustSave(t, j, state(1, 1))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, loadErr := j.Load()
	for _, err := range []error{j.Save(state(1, 1)), j.Audit(Entry{}), loadErr} {
		if err == nil {
			t.Error("a closed journal answers")
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for key, change := range map[string]func(*Config){
		"path": func(c *Config) { c.Path = "journal.db" }, "audit_entries": func(c *Config) { c.AuditEntries = 1 },
		"audit_age": func(c *Config) { c.AuditAge = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if _, err := New(c, Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := New(DefaultConfig(), Deps{}); err == nil {
		t.Error("no log accepted")
	}
}

func BenchmarkSave(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Path = filepath.Join(b.TempDir(), "journal.db")
	j, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := state(n, 1)
			for i := range b.N {
				s.Incidents[i%n].PeakPPS++ // one changes a tick
				if err := j.Save(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
