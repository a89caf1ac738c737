package routertest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// Peer is a router inside this process, a GoBGP that takes everything and announces only what it is told to originate. It
// needs no privilege on a port above 1023. Name, Prefix, TTLSecurity, Kernel and Extra of the Config mean nothing to it.
type Peer struct {
	cfg    Config
	srv    *server.BgpServer
	cancel context.CancelFunc
	stop   sync.Once
}

var _ Router = (*Peer)(nil)

var peerFamilies = map[Family]bgp.Family{
	IPv4: bgp.RF_IPv4_UC, IPv6: bgp.RF_IPv6_UC, IPv4FlowSpec: bgp.RF_FS_IPv4_UC, IPv6FlowSpec: bgp.RF_FS_IPv6_UC,
}

// StartPeer starts one. It listens when StartPeer returns.
func StartPeer(ctx context.Context, cfg Config) (*Peer, error) {
	if cfg.Port == 0 {
		cfg.Port = 179
	}
	if !cfg.RouterID.IsValid() {
		cfg.RouterID = cfg.Address
	}
	level := new(slog.LevelVar)
	p := &Peer{cfg: cfg, srv: server.NewBgpServer(server.LoggerOption(slog.New(slog.DiscardHandler), level))}
	go p.srv.Serve()
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	if err := p.start(run); err != nil {
		_ = p.Stop()
		return nil, fmt.Errorf("peer %s: %w", cfg.Address, err)
	}
	return p, nil
}

func (p *Peer) start(ctx context.Context) error {
	err := p.srv.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: p.cfg.ASN, RouterId: p.cfg.RouterID.String(), ListenPort: int32(p.cfg.Port),
		ListenAddresses: []string{p.cfg.Address.String()},
	}})
	if err != nil {
		return err
	}
	for _, o := range p.cfg.Originate {
		if err := p.originate(o); err != nil {
			return err
		}
	}
	peer := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.cfg.PeerAddress.String(), PeerAsn: p.cfg.PeerASN, AuthPassword: p.cfg.Password},
		Transport: &api.Transport{PassiveMode: true, LocalAddress: p.cfg.Address.String()},
		Timers:    &api.Timers{Config: &api.TimersConfig{IdleHoldTimeAfterReset: 1, HoldTime: 30, KeepaliveInterval: 10}},
		GracefulRestart: &api.GracefulRestart{
			Enabled: true, RestartTime: 120, HelperOnly: true,
		},
	}
	if p.cfg.Multihop {
		peer.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: 255}
	}
	for _, f := range []Family{IPv4, IPv6, IPv4FlowSpec, IPv6FlowSpec} {
		fam := peerFamilies[f]
		a := &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: apiutil.ToApiFamily(fam.Afi(), fam.Safi()), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
		}
		if p.cfg.MaxRoutes > 0 {
			a.PrefixLimits = &api.PrefixLimit{Family: a.Config.Family, MaxPrefixes: uint32(p.cfg.MaxRoutes)}
		}
		peer.AfiSafis = append(peer.AfiSafis, a)
	}
	return p.srv.AddPeer(ctx, &api.AddPeerRequest{Peer: peer})
}

func (p *Peer) originate(prefix netip.Prefix) error {
	nlri, err := bgp.NewIPAddrPrefix(prefix)
	if err != nil {
		return err
	}
	family, nextHop := bgp.RF_IPv4_UC, "192.0.2.2"
	if prefix.Addr().Is6() {
		family, nextHop = bgp.RF_IPv6_UC, "100::2"
	}
	mp, err := bgp.NewPathAttributeMpReachNLRI(family, []bgp.PathNLRI{{NLRI: nlri}}, netip.MustParseAddr(nextHop))
	if err != nil {
		return err
	}
	_, err = p.srv.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{{
		Family: family, Nlri: nlri, Attrs: []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0), mp},
	}}})
	return err
}

// Established reports whether the session is up.
func (p *Peer) Established(ctx context.Context) (bool, error) {
	up := false
	err := p.srv.ListPeer(ctx, &api.ListPeerRequest{}, func(n *api.Peer) {
		up = up || n.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED
	})
	return up, err
}

// Count is the number of routes from the appliance.
func (p *Peer) Count(_ context.Context, f Family) (n int, err error) {
	err = p.list(f, func(bgp.NLRI, *apiutil.Path) { n++ })
	return n, err
}

// Routes lists the routes from the appliance.
func (p *Peer) Routes(_ context.Context, f Family) (rs []Route, err error) {
	err = p.list(f, func(nlri bgp.NLRI, path *apiutil.Path) {
		r := Route{Stale: path.Stale}
		if ip, ok := nlri.(*bgp.IPAddrPrefix); ok {
			r.Prefix = ip.Prefix
		} else {
			r.Rule = nlri.String()
		}
		for _, a := range path.Attrs {
			r.read(a)
		}
		slices.Sort(r.Communities)
		rs = append(rs, r)
	})
	return sorted(rs), err
}

func (p *Peer) list(f Family, fn func(bgp.NLRI, *apiutil.Path)) error {
	req := apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: peerFamilies[f]}
	return p.srv.ListPath(req, func(nlri bgp.NLRI, paths []*apiutil.Path) {
		for _, path := range paths {
			if path.PeerAddress == p.cfg.PeerAddress {
				fn(nlri, path)
			}
		}
	})
}

// read takes over what an attribute says.
func (r *Route) read(a bgp.PathAttributeInterface) {
	switch a := a.(type) {
	case *bgp.PathAttributeNextHop:
		r.NextHop = a.Value
	case *bgp.PathAttributeMpReachNLRI:
		if a.SAFI == bgp.SAFI_UNICAST {
			r.NextHop = a.Nexthop
		}
	case *bgp.PathAttributeCommunities:
		for _, c := range a.Value {
			r.Communities = append(r.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
		}
	case *bgp.PathAttributeLargeCommunities:
		for _, c := range a.Values {
			r.Communities = append(r.Communities, fmt.Sprintf("%d:%d:%d", c.ASN, c.LocalData1, c.LocalData2))
		}
	case *bgp.PathAttributeExtendedCommunities:
		var actions []string
		for _, c := range a.Value {
			actions = append(actions, c.String())
		}
		r.Actions = strings.Join(actions, ", ")
	}
}

// Log is empty: what happens is in the appliance's log as well.
func (p *Peer) Log() string { return "" }

// Stop ends it.
func (p *Peer) Stop() (err error) {
	p.stop.Do(func() {
		err = p.srv.StopBgp(context.Background(), &api.StopBgpRequest{})
		p.cancel()
	})
	return err
}
