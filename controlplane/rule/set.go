package rule

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Directions are the directions that are judged.
var Directions = [2]traffic.Direction{traffic.Incoming, traffic.Outgoing}

// MaxGroups bounds how many hostgroups a Set may have.
const MaxGroups = 65536

// limits are a group's compiled limits: +Inf where a metric is not limited, so that judging is one comparison a metric.
type limits [2][NumMetrics]float64

func noLimits() (l limits) {
	for d := range l {
		for m := range l[d] {
			l[d][m] = math.Inf(1)
		}
	}
	return l
}

// group is one compiled hostgroup.
type group struct {
	name        string
	description string
	parent      int // index, -1 for global
	calculation Calculation
	networks    []netip.Prefix
	// own are the group's limits after inheritance.
	own limits
	// hostFrom is the index of the group whose limits judge this group's hosts, -1 when none does.
	hostFrom int
}

// Set is every hostgroup's limits, compiled. It is immutable and safe for any number of readers.
type Set struct {
	groups []group
	index  map[string]int
	floor  Floor
	totals []int
}

// Compile checks the hostgroups and resolves inheritance. Every problem is reported at once (errors.Join of *Problem).
// A missing "global" means one without limits.
func Compile(configs map[string]GroupConfig) (*Set, error) {
	if len(configs) > MaxGroups {
		return nil, fmt.Errorf("hostgroups: %d are more than %d", len(configs), MaxGroups)
	}
	names := make([]string, 0, len(configs)+1)
	var problems []error
	for name, c := range configs {
		problems = append(problems, c.check(name)...)
		if name != GlobalGroup {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Insert(names, 0, GlobalGroup)
	s := &Set{groups: make([]group, len(names)), index: make(map[string]int, len(names))}
	for i, name := range names {
		s.index[name] = i
	}
	for i, name := range names {
		c := configs[name]
		s.groups[i] = group{
			name: name, description: c.Description, networks: slices.Clone(c.Networks),
			calculation: c.Calculation, parent: -1, own: noLimits(), hostFrom: -1,
		}
		g := &s.groups[i]
		if g.calculation == "" {
			g.calculation = PerHost
		}
		if i == nets.Global {
			continue
		}
		g.parent = nets.Global
		if c.Parent != "" {
			p, ok := s.index[c.Parent]
			if !ok {
				problems = append(problems, &Problem{Group: name, Key: "parent", Text: fmt.Sprintf("there is no hostgroup %q", c.Parent)})
				continue
			}
			g.parent = p
		}
	}
	problems = append(problems, s.checkMembers()...)
	if loops := s.checkLoops(); len(loops) > 0 {
		return nil, errors.Join(sortProblems(append(problems, loops...))...)
	}
	for i := range s.groups {
		problems = append(problems, s.resolve(i, configs)...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(sortProblems(problems)...)
	}
	s.finish()
	return s, nil
}

// sortProblems makes the order of problems independent of map order.
func sortProblems(problems []error) []error {
	slices.SortStableFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return problems
}

// checkMembers refuses one prefix in two groups, since neither would be the longest.
func (s *Set) checkMembers() (problems []error) {
	owner := make(map[netip.Prefix]string)
	for i := range s.groups {
		for _, p := range s.groups[i].networks {
			if first, dup := owner[p]; dup {
				problems = append(problems, &Problem{
					Group: s.groups[i].name, Key: "networks", Text: fmt.Sprintf("%v is already in hostgroup %s", p, first),
				})
				continue
			}
			owner[p] = s.groups[i].name
		}
	}
	return problems
}

// checkLoops reports groups that are their own ancestor.
func (s *Set) checkLoops() (problems []error) {
	for i := range s.groups {
		at := i
		for steps := 0; at >= 0; steps++ {
			if steps > len(s.groups) {
				problems = append(problems, &Problem{Group: s.groups[i].name, Key: "parent", Text: "the chain of parents is a loop"})
				break
			}
			at = s.groups[at].parent
		}
	}
	return problems
}

// resolve compiles the limits of group i, and reports a switch that has no limit anywhere up its chain.
func (s *Set) resolve(i int, configs map[string]GroupConfig) (problems []error) {
	g := &s.groups[i]
	chain := s.chain(i, configs)
	if !first(chain, true, func(c *GroupConfig) *bool { return c.EnableBan }) {
		return nil
	}
	for di, d := range Directions {
		enabled := first(chain, true, func(c *GroupConfig) *bool {
			if d == traffic.Outgoing {
				return c.EnableBanOutgoing
			}
			return c.EnableBanIncoming
		})
		for m := range NumMetrics {
			if !first(chain, false, func(c *GroupConfig) *bool { return c.Switch(m, d) }) {
				continue
			}
			limit := first(chain, 0, func(c *GroupConfig) *uint64 { return c.Limit(m, d) })
			if limit == 0 {
				if sw := chain[0].Switch(m, d); sw != nil && *sw && !zeroSet(chain, m, d) {
					problems = append(problems, &Problem{
						Group: g.name, Key: m.Ban(d),
						Text: fmt.Sprintf("is on, and %s is set neither here nor in a group it inherits from", m.Threshold(d)),
					})
				}
				continue
			}
			if enabled {
				g.own[di][m] = float64(limit)
			}
		}
	}
	return problems
}

// zeroSet reports whether a limit of zero is in the chain: check has reported that already.
func zeroSet(chain []*GroupConfig, m Metric, d traffic.Direction) bool {
	return slices.ContainsFunc(chain, func(c *GroupConfig) bool { return c.Limit(m, d) != nil })
}

// chain lists the configuration of group i and of its ancestors, itself first, global last.
func (s *Set) chain(i int, configs map[string]GroupConfig) (chain []*GroupConfig) {
	for ; i >= 0; i = s.groups[i].parent {
		c := configs[s.groups[i].name]
		chain = append(chain, &c)
	}
	return chain
}

// first returns the first value that is set along the chain, or the default.
func first[T any](chain []*GroupConfig, value T, get func(*GroupConfig) *T) T {
	for _, c := range chain {
		if v := get(c); v != nil {
			return *v
		}
	}
	return value
}

// finish derives what judging needs from the groups.
func (s *Set) finish() {
	for i := range s.groups {
		for at := i; at >= 0; at = s.groups[at].parent {
			if s.groups[at].calculation == PerHost {
				s.groups[i].hostFrom = at
				break
			}
		}
		if s.groups[i].calculation == Total {
			s.totals = append(s.totals, i)
		}
	}
	for d := range s.floor {
		s.floor[d] = rateFloor{math.Inf(1), math.Inf(1), math.Inf(1)}
	}
	for i := range s.groups {
		from := s.groups[i].hostFrom
		if from < 0 {
			continue
		}
		for d := range Directions {
			for m, l := range s.groups[from].own[d] {
				s.floor[d].lower(Metric(m), l)
			}
		}
	}
}

// Names lists the hostgroups: global first, the others sorted. The position is the group's index in all methods here.
func (s *Set) Names() []string {
	names := make([]string, len(s.groups))
	for i := range s.groups {
		names[i] = s.groups[i].name
	}
	return names
}

// Index returns the index of the named group; nets.Global and false when there is none.
func (s *Set) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Len is the number of groups, global included.
func (s *Set) Len() int { return len(s.groups) }

// Name is the name of group i.
func (s *Set) Name(i int) string { return s.groups[i].name }

// Description is the description of group i.
func (s *Set) Description(i int) string { return s.groups[i].description }

// Parent is the index of the parent of group i, -1 for global.
func (s *Set) Parent(i int) int { return s.groups[i].parent }

// Calculation is how group i is judged.
func (s *Set) Calculation(i int) Calculation { return s.groups[i].calculation }

// HostLimits is the group whose limits judge the hosts of group i: itself, or its nearest per_host ancestor. -1 when there is none.
func (s *Set) HostLimits(i int) int { return s.groups[i].hostFrom }

// Networks are the prefixes of group i; the slice must not be changed.
func (s *Set) Networks(i int) []netip.Prefix { return s.groups[i].networks }

// Totals lists the groups whose calculation is total; the slice must not be changed.
func (s *Set) Totals() []int { return s.totals }

// Limit is the compiled limit of group i itself, in the metric's unit; false when it is off.
func (s *Set) Limit(i int, m Metric, d traffic.Direction) (float64, bool) {
	l := s.groups[i].own[side(d)][m]
	return l, !math.IsInf(l, 1)
}

// Members are the groups besides global, in index order, as nets.Spec wants them: nets group i is then group i here.
func (s *Set) Members() []nets.Group {
	members := make([]nets.Group, 0, len(s.groups)-1)
	for _, g := range s.groups[1:] {
		members = append(members, nets.Group{Name: g.name, Prefixes: g.networks})
	}
	return members
}

// side is the index of a judged direction.
func side(d traffic.Direction) int {
	if d == traffic.Outgoing {
		return 1
	}
	return 0
}

// Subject is what is judged: one target's measured rates.
type Subject struct {
	Target Target
	// Group is the index of the host's group, or of the group whose total this is.
	Group int
	// Network is the configured network of the host; invalid for a group.
	Network netip.Prefix
	// Window is how long the rates were measured.
	Window  time.Duration
	In, Out Rates
}

// limits returns which limits apply, and the name of the group they are from.
func (s *Set) limits(sub *Subject) (*limits, string) {
	if sub.Group < 0 || sub.Group >= len(s.groups) {
		return nil, ""
	}
	g := &s.groups[sub.Group]
	if !sub.Target.Host.IsValid() {
		if g.calculation != Total {
			return nil, ""
		}
		return &g.own, g.name
	}
	if g.hostFrom < 0 {
		return nil, ""
	}
	return &s.groups[g.hostFrom].own, s.groups[g.hostFrom].name
}

// rates returns the rates of one direction.
func (sub *Subject) rates(d int) *Rates {
	if d == 1 {
		return &sub.Out
	}
	return &sub.In
}

// Judge appends a Breach for every limit that the subject exceeds (strictly), incoming first, in metric order.
// It allocates only to grow dst.
func (s *Set) Judge(dst []Breach, sub *Subject) []Breach {
	l, name := s.limits(sub)
	if l == nil {
		return dst
	}
	for di, d := range Directions {
		r := sub.rates(di)
		for m, v := range r {
			// A NaN compares false and so never fires.
			if v > l[di][m] {
				dst = append(dst, Breach{
					Target: sub.Target, Direction: d, Hostgroup: name, Network: sub.Network,
					Metric: Metric(m), Limit: l[di][m], Value: v, Window: sub.Window, In: sub.In, Out: sub.Out,
				})
			}
		}
	}
	return dst
}

// Level is how near the subject is to its limits in direction d: the largest value/limit over all limits that are on.
// Above 1 is a breach; 0 when nothing is limited.
func (s *Set) Level(sub *Subject, d traffic.Direction) (level float64) {
	l, _ := s.limits(sub)
	if l == nil {
		return 0
	}
	di := side(d)
	for m, v := range sub.rates(di) {
		if q := v / l[di][m]; q > level {
			level = q
		}
	}
	return level
}
