package flowtrack_test

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

func newShard(t *testing.T, flows int) (*traffic.Shard, *flowtrack.Tracker) {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Int64
	s, err := traffic.NewShard(traffic.Config{Hosts: 16}, traffic.NewSeed(rand.New(rand.NewPCG(1, 1)).Uint64), n, func() int64 { return now.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	tr, err := flowtrack.New(flowtrack.Config{Flows: flows})
	if err != nil {
		t.Fatal(err)
	}
	s.AttachFlows(tr)
	t.Cleanup(func() {
		if err := s.Free(); err != nil {
			t.Error(err)
		}
		if err := tr.Free(); err != nil {
			t.Error(err)
		}
	})
	return s, tr
}

func spread(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 }

// see shows the tracker flows 0 to n-1 and counts the new ones in the half.
func see(s *traffic.Shard, tr *flowtrack.Tracker, n uint64) {
	h := s.Poll()
	set := tr.Set(h.FlowSet())
	for i := range n {
		if set.Insert(spread(i)) == flowtrack.Added {
			h.Totals[traffic.IPv6][traffic.Incoming].Flows++
		}
	}
}

// TestSetsLiveAsAsked: a set goes on as long as it is kept, and the next is empty.
func TestSetsLiveAsAsked(t *testing.T) {
	t.Parallel()
	s, tr := newShard(t, 100)
	s.Enter()
	defer s.Leave()
	var now uint64
	for i, step := range []struct {
		keep bool // what is said for the epoch after
		see  uint64
		want uint64
	}{
		{true, 10, 10}, {true, 10, 0}, {false, 30, 20}, {false, 30, 30}, {true, 30, 30}, {true, 0, 0}, {true, 30, 0}, {false, 40, 10}, {true, 5, 5}, {true, 5, 0},
	} {
		see(s, tr, step.see)
		s.SetKeepFlows(step.keep)
		s.Request()
		s.Poll()
		h := s.Collect()
		if h == nil {
			t.Fatal("no half")
		}
		if now = h.Totals[traffic.IPv6][traffic.Incoming].Flows; now != step.want {
			t.Fatalf("step %d: %d flows, want %d", i, now, step.want)
		}
		s.Clear()
	}
}

// TestLateOwnerGetsANewSet: what was asked for while the owner did not answer comes with its next epoch, and never a set that
// still holds flows.
func TestLateOwnerGetsANewSet(t *testing.T) {
	t.Parallel()
	s, tr := newShard(t, 100)
	s.Enter()
	defer s.Leave()
	epoch := func(keep bool) uint64 {
		s.SetKeepFlows(keep)
		s.Request()
		s.Poll()
		n := s.Collect().Totals[traffic.IPv6][traffic.Incoming].Flows
		s.Clear()
		return n
	}
	see(s, tr, 10)
	s.SetKeepFlows(true)
	s.Request() // the owner is late: it answers two ticks after
	for _, keep := range []bool{false, true} {
		if s.Collect() != nil {
			t.Fatal("the owner is not late")
		}
		s.SetKeepFlows(keep)
		s.Request()
	}
	see(s, tr, 10) // the answer; the set goes on
	if h := s.Collect(); h == nil || h.Totals[traffic.IPv6][traffic.Incoming].Flows != 10 {
		t.Fatal("the first epoch is lost")
	}
	s.Clear()
	if n := epoch(true); n != 0 { // flows were seen before
		t.Fatalf("%d flows counted twice", n)
	}
	see(s, tr, 10)
	if n := epoch(true); n != 10 {
		t.Fatalf("%d flows, want a new set with 10", n)
	}
	see(s, tr, 10)
	if n := epoch(true); n != 0 {
		t.Fatalf("%d flows, want none: new sets are owed once", n)
	}
}

// TestWhileTheOwnerRuns: with an owner that never stops, every set counts each of its flows once. The race detector watches.
func TestWhileTheOwnerRuns(t *testing.T) {
	t.Parallel()
	const flows = 50
	s, tr := newShard(t, 1000)
	var stop atomic.Bool
	done := make(chan struct{})
	s.Enter()
	go func() {
		defer close(done)
		defer s.Leave()
		for !stop.Load() {
			see(s, tr, flows)
		}
	}()
	var total uint64
	sets := uint64(1)
	ticks := 2000
	if testing.Short() {
		ticks = 300
	}
	for tick := range ticks {
		keep := tick%3 != 0
		if !keep {
			sets++
		}
		s.SetKeepFlows(keep)
		s.Request()
		h := s.Collect()
		for deadline := time.Now().Add(time.Minute); h == nil; h = s.Collect() {
			if time.Now().After(deadline) {
				t.Fatal("the owner does not answer")
			}
			time.Sleep(time.Microsecond)
		}
		n := h.Totals[traffic.IPv6][traffic.Incoming].Flows
		if total += n; n != 0 && n != flows {
			t.Fatalf("tick %d: %d flows, want none or all", tick, n)
		}
		s.Clear()
	}
	stop.Store(true)
	<-done
	s.Request()
	total += s.Collect().Totals[traffic.IPv6][traffic.Incoming].Flows
	s.Clear()
	// A set that lived for no round of the owner saw nothing.
	if total > sets*flows || total < sets*flows/10 {
		t.Fatalf("%d flows in %d sets of %d", total, sets, flows)
	}
}

// TestReady: a set that has been full is written to, every page of it, and holds no flow afterwards; one that holds flows, or has not
// been used much, is left alone.
func TestReady(t *testing.T) {
	t.Parallel()
	const flows = 50_000
	_, tr := newShard(t, flows)
	set := tr.Set(1)
	fill := func(n uint64) (added int) {
		for i := range n {
			if set.Insert(spread(i)) == flowtrack.Added {
				added++
			}
		}
		return added
	}
	for round := range 300 { // more than there are tags
		n := uint64(1000 + round%2*30_000)
		tr.Ready(1)
		added := fill(n)
		tr.Ready(1)
		if again := fill(n); set.Len() != added || again != 0 || added < int(n)*99/100 {
			t.Fatalf("round %d: %d flows of %d, %d after Ready", round, added, n, again)
		}
		tr.Clear(1)
	}
}
