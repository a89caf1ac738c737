package routertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// frrProgram and frrClient are where Debian puts them.
const (
	frrProgram = "/usr/lib/frr/bgpd"
	frrClient  = "/usr/bin/vtysh"
)

var frrConfig = template.Must(template.New("frr").Parse(`log file {{.Dir}}/log informational
router bgp {{.ASN}}
 bgp router-id {{.RouterID}}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart-disable
 neighbor {{.PeerAddress}} remote-as {{.PeerASN}}
 neighbor {{.PeerAddress}} passive
 neighbor {{.PeerAddress}} graceful-restart-helper
 {{- if .Multihop}}
 neighbor {{.PeerAddress}} disable-connected-check
 neighbor {{.PeerAddress}} ebgp-multihop 5
 {{- end}}
 {{- if .Password}}
 neighbor {{.PeerAddress}} password {{.Password}}
 {{- end}}
 {{- if .TTLSecurity}}
 neighbor {{.PeerAddress}} ttl-security hops 1
 {{- end}}
 {{.Extra}}
{{- range .Families}}
 address-family {{.Name}}
  neighbor {{$.PeerAddress}} activate
  {{- if and $.MaxRoutes .Unicast}}
  neighbor {{$.PeerAddress}} maximum-prefix {{$.MaxRoutes}}
  {{- end}}
  {{- range .Networks}}
  network {{.}}
  {{- end}}
 exit-address-family
{{- end}}
`))

// FRR is a running bgpd of FRR, without zebra: it shows what it received and installs nothing.
type FRR struct{ *process }

var _ Router = (*FRR)(nil)

// StartFRR starts one and returns when it answers; ctx bounds the start only. The error wraps ErrMissing when FRR is not
// installed.
func StartFRR(ctx context.Context, cfg Config) (*FRR, error) {
	if cfg.Name == "" {
		cfg.Name = "frr"
	}
	if _, err := os.Stat(frrClient); err != nil {
		return nil, fmt.Errorf("%s %w", frrClient, ErrMissing)
	}
	p, err := newProcess(cfg, frrProgram)
	if err != nil {
		return nil, err
	}
	type family struct {
		Name     string
		Unicast  bool
		Networks []netip.Prefix
	}
	v4, v6 := family{Name: "ipv4 unicast", Unicast: true}, family{Name: "ipv6 unicast", Unicast: true}
	for _, o := range cfg.Originate {
		if o.Addr().Is4() {
			v4.Networks = append(v4.Networks, o)
		} else {
			v6.Networks = append(v6.Networks, o)
		}
	}
	data := struct {
		Config
		Dir      string
		Families []family
	}{p.cfg, p.dir, []family{v4, v6, {Name: "ipv4 flowspec"}, {Name: "ipv6 flowspec"}}}
	f, err := os.OpenFile(p.path("conf"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := frrConfig.Execute(f, data); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	r := &FRR{p}
	err = p.start(ctx, func(ctx context.Context) error { _, err := r.Client(ctx, "show bgp summary"); return err },
		frrProgram, "-f", p.path("conf"), "-Z", "-S", "-p", strconv.Itoa(int(p.cfg.Port)), "-l", p.cfg.Address.String(),
		"-P", "0", "--vty_socket", p.dir, "-i", p.path("pid"))
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Client runs vtysh with a command.
func (r *FRR) Client(ctx context.Context, command string) (string, error) {
	return r.ask(ctx, frrClient, "--vty_socket", r.dir, "-d", "bgpd", "-c", command)
}

// Established reports whether the session is up.
func (r *FRR) Established(ctx context.Context) (bool, error) {
	out, err := r.Client(ctx, "show bgp neighbors "+r.cfg.PeerAddress.String())
	return strings.Contains(out, "BGP state = Established"), err
}

func frrFamily(f Family) string {
	return map[Family]string{
		IPv4: "ipv4 unicast", IPv6: "ipv6 unicast", IPv4FlowSpec: "ipv4 flowspec", IPv6FlowSpec: "ipv6 flowspec",
	}[f]
}

// Count is the number of routes from the appliance.
func (r *FRR) Count(ctx context.Context, f Family) (int, error) {
	rs, err := r.list(ctx, f)
	return len(rs), err
}

// Routes lists the routes from the appliance, with communities.
func (r *FRR) Routes(ctx context.Context, f Family) ([]Route, error) {
	rs, err := r.list(ctx, f)
	if err != nil || f == IPv4FlowSpec || f == IPv6FlowSpec {
		return sorted(rs), err
	}
	for i := range rs {
		if err := r.detail(ctx, f, &rs[i]); err != nil {
			return nil, err
		}
	}
	return sorted(rs), nil
}

func (r *FRR) list(ctx context.Context, f Family) ([]Route, error) {
	if f == IPv4FlowSpec || f == IPv6FlowSpec {
		out, err := r.Client(ctx, "show bgp "+frrFamily(f)+" detail")
		return parseFRRFlow(out), err
	}
	out, err := r.Client(ctx, "show bgp "+frrFamily(f)+" json")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Routes map[string][]struct {
			PeerID string `json:"peerId"`
			Stale  bool   `json:"stale"`
		} `json:"routes"`
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return nil, fmt.Errorf("frr: %s: %w", out, err)
	}
	var rs []Route
	for text, paths := range doc.Routes {
		for _, path := range paths {
			if path.PeerID != r.cfg.PeerAddress.String() {
				continue
			}
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("frr: %w", err)
			}
			rs = append(rs, Route{Prefix: prefix, Stale: path.Stale})
		}
	}
	return rs, nil
}

func (r *FRR) detail(ctx context.Context, f Family, route *Route) error {
	out, err := r.Client(ctx, fmt.Sprintf("show bgp %s %s json", frrFamily(f), route.Prefix))
	if err != nil {
		return err
	}
	type list struct {
		List []string `json:"list"`
	}
	var doc struct {
		Paths []struct {
			Community, LargeCommunity list
			Nexthops                  []struct{ IP netip.Addr }
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		return fmt.Errorf("frr: %s: %w", out, err)
	}
	for _, p := range doc.Paths {
		for _, c := range p.Community.List {
			route.Communities = append(route.Communities, frrCommunity(c))
		}
		route.Communities = append(route.Communities, p.LargeCommunity.List...)
		for _, n := range p.Nexthops {
			if !route.NextHop.IsValid() || route.NextHop.IsLinkLocalUnicast() {
				route.NextHop = n.IP
			}
		}
	}
	slices.Sort(route.Communities)
	return nil
}

// frrCommunity turns FRR's names back into numbers.
func frrCommunity(c string) string {
	if n, ok := map[string]string{
		"blackhole": "65535:666", "noExport": "65535:65281", "no-export": "65535:65281",
		"noAdvertise": "65535:65282", "no-advertise": "65535:65282",
	}[c]; ok {
		return n
	}
	return c
}

// parseFRRFlow reads `show bgp ... flowspec detail`: an entry begins with "BGP flowspec entry", its components follow, then
// the actions behind "FS:".
func parseFRRFlow(out string) (rs []Route) {
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "BGP flowspec entry"):
			rs = append(rs, Route{})
		case len(rs) == 0 || line == "":
		case strings.HasPrefix(line, "FS:"):
			rs[len(rs)-1].Actions = strings.TrimSpace(strings.TrimPrefix(line, "FS:"))
		case rs[len(rs)-1].Actions == "":
			r := &rs[len(rs)-1]
			r.Rule = strings.TrimSpace(r.Rule + " " + strings.Join(strings.Fields(line), " "))
		}
	}
	return rs
}
