package routertest

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// birdProgram and birdClient are where Debian puts them.
const (
	birdProgram = "/usr/sbin/bird"
	birdClient  = "/usr/sbin/birdc"
)

// birdConfig: the next hops that blackholes use resolve to a discard, as on a real edge router; what the appliance announces
// is taken as it is, and nothing of the router's own goes into the kernel unless asked for.
var birdConfig = template.Must(template.New("bird").Parse(`log "{{.Dir}}/log" all;
router id {{.RouterID}};
flow4 table fl4; flow6 table fl6;
protocol device {}
protocol static sink4 { ipv4; route 192.0.2.1/32 blackhole; }
protocol static sink6 { ipv6; route 100::1/128 blackhole; }
{{- range .Originate4}}
protocol static { ipv4; route {{.}} blackhole; }
{{- end}}
{{- range .Originate6}}
protocol static { ipv6; route {{.}} blackhole; }
{{- end}}
{{- if .Kernel}}
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
{{- end}}
filter taken {
  if (65535, 666) ~ bgp_community then dest = RTD_BLACKHOLE;
  accept;
}
protocol bgp weir {
  local {{.Address}} port {{.Port}} as {{.ASN}};
  neighbor {{.PeerAddress}}{{if .PeerPort}} port {{.PeerPort}}{{end}} as {{.PeerASN}};
  {{if .Multihop}}multihop;{{else}}direct;{{end}}
  {{if not .PeerPort}}passive;{{end}} strict bind;
  error wait time 1, 5; connect delay time 1;
  interpret communities off;
  debug { states, events };
  {{- if .Password}}
  password "{{.Password}}";{{end}}
  {{- if .TTLSecurity}}
  ttl security on;{{end}}
  {{.Extra}}
  ipv4 { gateway recursive; import filter taken; {{.Limit}} export {{if .Originate4}}all{{else}}none{{end}}; };
  ipv6 { gateway recursive; import filter taken; {{.Limit}} export {{if .Originate6}}all{{else}}none{{end}}; };
  flow4 { table fl4; import all; {{.Limit}} export none; };
  flow6 { table fl6; import all; {{.Limit}} export none; };
}
`))

// BIRD is a running BIRD 2.
type BIRD struct{ *process }

var _ Router = (*BIRD)(nil)

// StartBIRD starts one and returns when it answers; ctx bounds the start only. The error wraps ErrMissing when BIRD is not
// installed.
func StartBIRD(ctx context.Context, cfg Config) (*BIRD, error) {
	if cfg.Name == "" {
		cfg.Name = "bird"
	}
	p, err := newProcess(cfg, birdProgram)
	if err != nil {
		return nil, err
	}
	data := struct {
		Config
		Dir, Limit             string
		Originate4, Originate6 []netip.Prefix
	}{Config: p.cfg, Dir: p.dir}
	if cfg.MaxRoutes > 0 {
		data.Limit = fmt.Sprintf("import limit %d action restart;", cfg.MaxRoutes)
	}
	for _, o := range cfg.Originate {
		if o.Addr().Is4() {
			data.Originate4 = append(data.Originate4, o)
		} else {
			data.Originate6 = append(data.Originate6, o)
		}
	}
	f, err := os.OpenFile(p.path("conf"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := birdConfig.Execute(f, data); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	b := &BIRD{p}
	err = p.start(ctx, func(ctx context.Context) error { _, err := b.Client(ctx, "show status"); return err },
		birdProgram, "-f", "-c", p.path("conf"), "-s", p.path("ctl"), "-P", p.path("pid"))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Client runs birdc with a command.
func (b *BIRD) Client(ctx context.Context, command string) (string, error) {
	return b.ask(ctx, append([]string{birdClient, "-s", b.path("ctl")}, strings.Fields(command)...)...)
}

// Established reports whether the session is up.
func (b *BIRD) Established(ctx context.Context) (bool, error) {
	out, err := b.Client(ctx, "show protocols weir")
	return strings.Contains(out, "Established"), err
}

func birdTable(f Family) string {
	return map[Family]string{IPv4: "master4", IPv6: "master6", IPv4FlowSpec: "fl4", IPv6FlowSpec: "fl6"}[f]
}

var birdCount = regexp.MustCompile(`(\d+) of \d+ routes for`)

// Count is the number of routes from the appliance.
func (b *BIRD) Count(ctx context.Context, f Family) (int, error) {
	out, err := b.Client(ctx, "show route table "+birdTable(f)+" protocol weir count")
	if err != nil {
		return 0, err
	}
	m := birdCount.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("bird: count in %q", out)
	}
	return strconv.Atoi(m[1])
}

// Routes lists the routes from the appliance.
func (b *BIRD) Routes(ctx context.Context, f Family) ([]Route, error) {
	out, err := b.Client(ctx, "show route table "+birdTable(f)+" protocol weir all")
	if err != nil {
		return nil, err
	}
	rs, err := parseBIRD(out)
	if err != nil {
		return nil, err
	}
	// BIRD marks no route as stale; what it has without a session is what it keeps for a peer that restarts.
	up, err := b.Established(ctx)
	for i := range rs {
		rs[i].Stale = !up
	}
	return sorted(rs), err
}

// parseBIRD reads `show route all`: a route begins at the margin, its attributes are indented.
func parseBIRD(out string) (rs []Route, err error) {
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" || strings.HasPrefix(line, "BIRD ") || strings.HasPrefix(line, "Table ") || strings.HasPrefix(line, "Access restricted"):
		case line[0] != '\t' && line[0] != ' ':
			var r Route
			if rule, _, ok := strings.Cut(line, "}"); ok && strings.HasPrefix(line, "flow") {
				r.Rule = rule + "}"
			} else if r.Prefix, err = netip.ParsePrefix(strings.Fields(line)[0]); err != nil {
				return nil, fmt.Errorf("bird: %q: %w", line, err)
			}
			rs = append(rs, r)
		case len(rs) > 0:
			if err := birdAttribute(&rs[len(rs)-1], strings.TrimSpace(line)); err != nil {
				return nil, err
			}
		}
	}
	return rs, lines.Err()
}

var birdCommunity = regexp.MustCompile(`\((\d+), ?(\d+)(?:, ?(\d+))?\)`)

func birdAttribute(r *Route, line string) (err error) {
	name, value, _ := strings.Cut(line, ": ")
	switch name {
	case "BGP.next_hop":
		first, _, _ := strings.Cut(value, " ")
		r.NextHop, err = netip.ParseAddr(first)
	case "BGP.community", "BGP.large_community":
		for _, m := range birdCommunity.FindAllStringSubmatch(value, -1) {
			c := m[1] + ":" + m[2]
			if m[3] != "" {
				c += ":" + m[3]
			}
			r.Communities = append(r.Communities, c)
		}
		slices.Sort(r.Communities)
	case "BGP.ext_community":
		r.Actions = value
	}
	return err
}
