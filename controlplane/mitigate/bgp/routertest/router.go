package routertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrMissing is wrapped by the error of a router whose program is not installed.
var ErrMissing = errors.New("is not installed")

// Family is what Routes lists.
type Family string

// The families.
const (
	IPv4         Family = "ipv4_unicast"
	IPv6         Family = "ipv6_unicast"
	IPv4FlowSpec Family = "ipv4_flowspec"
	IPv6FlowSpec Family = "ipv6_flowspec"
)

// Route is a route as the router shows it.
type Route struct {
	// Prefix is set for unicast, Rule for Flow Spec: the router's own words, on one line.
	Prefix netip.Prefix
	Rule   string
	// NextHop is the announced next hop, invalid for Flow Spec.
	NextHop netip.Addr
	// Communities are "65535:666", large ones "64512:2:7", sorted.
	Communities []string
	// Actions is what a Flow Spec rule does, in the router's own words.
	Actions string
	// Stale is set while the router keeps the route for a peer that is restarting.
	Stale bool
}

// Config describes a router and its one neighbour, the appliance.
type Config struct {
	// Name is used in files; default "router".
	Name string
	// Prefix is put before every command, such as "ip", "netns", "exec", NAME.
	Prefix []string
	// Address and Port are where the router listens; a Port of 0 means 179.
	Address netip.Addr
	Port    uint16
	ASN     uint32
	// RouterID is needed when Address is IPv6.
	RouterID netip.Addr
	// PeerAddress and PeerASN are the appliance's. It dials and the router waits, unless PeerPort says where the appliance
	// listens: then BIRD dials (the other routers always wait).
	PeerAddress netip.Addr
	PeerASN     uint32
	PeerPort    uint16
	// Multihop is for a neighbour that is not on a connected network, as on the loopback.
	Multihop bool
	// Password is the TCP-MD5 key.
	Password string
	// TTLSecurity is GTSM, for directly connected neighbours.
	TTLSecurity bool
	// MaxRoutes is the prefix limit per family; 0 means none. Exceeding it ends the session.
	MaxRoutes int
	// Originate are routes of the router's own that it announces to the appliance, to see that they go nowhere.
	Originate []netip.Prefix
	// Kernel has BIRD put blackholes (65535:666) into the kernel's table, so that the victim is really shielded.
	Kernel bool
	// Extra is added to the neighbour's configuration, in the router's language.
	Extra string
}

// Router is a running router.
type Router interface {
	// Established reports whether the session with the appliance is up.
	Established(ctx context.Context) (bool, error)
	// Routes lists what the appliance announces in a family, sorted by prefix or rule.
	Routes(ctx context.Context, f Family) ([]Route, error)
	// Count is the number of routes in a family, without reading their attributes.
	Count(ctx context.Context, f Family) (int, error)
	// Log is what the router has logged so far.
	Log() string
	// Stop ends the router and removes its directory. Idempotent.
	Stop() error
}

// process is what the external routers have in common.
type process struct {
	cfg  Config
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
	log  string // path
}

func newProcess(cfg Config, program string) (*process, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s %w", program, ErrMissing)
	}
	if cfg.Name == "" {
		cfg.Name = "router"
	}
	if cfg.Port == 0 {
		cfg.Port = 179
	}
	if !cfg.RouterID.IsValid() {
		cfg.RouterID = cfg.Address
	}
	if !cfg.RouterID.Is4() || !cfg.Address.IsValid() || !cfg.PeerAddress.IsValid() {
		return nil, fmt.Errorf("router %s: address, peer address and an IPv4 router id are needed", cfg.Name)
	}
	dir, err := os.MkdirTemp("", "weir-"+cfg.Name+"-")
	if err != nil {
		return nil, err
	}
	return &process{cfg: cfg, dir: dir, done: make(chan struct{}), log: filepath.Join(dir, "log")}, nil
}

func (p *process) path(name string) string { return filepath.Join(p.dir, name) }

// command builds a command line behind the configured prefix.
func (p *process) command(ctx context.Context, args ...string) *exec.Cmd {
	args = slices.Concat(p.cfg.Prefix, args)
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// start runs the router in the foreground and waits until it answers.
func (p *process) start(ctx context.Context, answers func(context.Context) error, args ...string) error {
	p.cmd = p.command(context.WithoutCancel(ctx), args...)
	out, err := os.Create(p.path("output"))
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	err = p.cmd.Start()
	_ = out.Close() // the router has its own handle
	if err != nil {
		return fmt.Errorf("start %s: %w", p.cfg.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // output and log say how it ended
		close(p.done)
	}()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once:\n%s", p.cfg.Name, p.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w", p.cfg.Name, err), p.Stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask runs a command and returns what it prints.
func (p *process) ask(ctx context.Context, args ...string) (string, error) {
	b, err := p.command(ctx, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w: %s", p.cfg.Name, strings.Join(args, " "), err, b)
	}
	return string(b), nil
}

// Log is what the router has logged and printed so far.
func (p *process) Log() string {
	logged, _ := os.ReadFile(p.log) // there may be none yet
	printed, _ := os.ReadFile(p.path("output"))
	return string(logged) + string(printed)
}

// PID is the router's process id.
func (p *process) PID() int { return p.cmd.Process.Pid }

// Stop ends the router and removes its directory.
func (p *process) Stop() error {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // an error means that it has ended
		<-p.done
	}
	return os.RemoveAll(p.dir)
}

// sorted puts routes into a fixed order.
func sorted(rs []Route) []Route {
	slices.SortFunc(rs, func(a, b Route) int {
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return rs
}
