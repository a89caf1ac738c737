package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
)

// routeTable is what the router has from the appliance, of all unicast families.
type routeTable struct {
	at     time.Time
	routes []routertest.Route // never nil
	err    error
}

// sampleEvery is how often the traffic is shown, and the router asked when nothing is awaited.
const sampleEvery = 250 * time.Millisecond

// watchRouter asks the router for its routes until ctx ends, and hands on what changed. While awaited is set it asks without
// a pause; the time of a change is when the answer was there.
func watchRouter(ctx context.Context, r routertest.Router, awaited *atomic.Bool, out chan<- routeTable) {
	families := []routertest.Family{routertest.IPv4, routertest.IPv6}
	known := make([]int, len(families))
	for ctx.Err() == nil {
		t := routeTable{routes: []routertest.Route{}}
		for i, f := range families { // counting is cheap
			n, err := r.Count(ctx, f)
			if err == nil && n != known[i] {
				known[i], t.at = n, time.Now()
			}
			t.err = errors.Join(t.err, err)
		}
		if !t.at.IsZero() {
			for _, f := range families {
				rs, err := r.Routes(ctx, f)
				t.routes = append(t.routes, rs...)
				t.err = errors.Join(t.err, err)
			}
		}
		if ctx.Err() == nil && (!t.at.IsZero() || t.err != nil) {
			select {
			case out <- t:
			case <-ctx.Done():
			}
		}
		pause := sampleEvery
		if awaited.Load() {
			pause = 5 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
