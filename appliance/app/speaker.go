package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp"
)

// speaker is the BGP client, which exists only once a peer is configured: an appliance that announces nothing starts no
// speaker. It implements mitigate.Mitigator.
type speaker struct {
	socket  string
	command []string // for tests; empty means this binary
	log     *slog.Logger

	mu     sync.Mutex // guards client
	client *bgp.Client
}

func (s *speaker) get() *bgp.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// configure follows the configuration: it starts a client with the first peer, and reconfigures it after that.
// A speaker that does not come up is no error: detection goes on, the client keeps trying, and the status says so.
func (s *speaker) configure(ctx context.Context, cfg bgp.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client.Reconfigure(ctx, cfg)
	}
	if len(cfg.Peers) == 0 {
		return nil
	}
	c, err := bgp.New(bgp.Options{Socket: s.socket, Config: cfg, Command: s.command, Log: s.log, Now: time.Now})
	if err != nil {
		return err
	}
	s.client = c
	if err := c.Start(ctx); err != nil {
		s.log.Error("the BGP speaker is not up yet; detection goes on and it is tried again", "err", err)
	}
	return nil
}

// Name implements mitigate.Mitigator.
func (s *speaker) Name() string { return "bgp" }

// Reconcile implements mitigate.Mitigator. Without a router there is nobody to tell, and that is no fault: the notify
// script may be all that is wanted. The API shows such mitigations as having no router.
func (s *speaker) Reconcile(ctx context.Context, want []mitigate.Mitigation) error {
	if c := s.get(); c != nil {
		return c.Reconcile(ctx, want)
	}
	return nil
}

// Status implements mitigate.Mitigator.
func (s *speaker) Status() mitigate.Status {
	if c := s.get(); c != nil {
		return c.Status()
	}
	return mitigate.Status{}
}

// stop leaves the speaker with its routes, or has it withdraw them and end.
func (s *speaker) stop(keep bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	err := s.client.Stop(keep)
	s.client = nil
	return err
}
