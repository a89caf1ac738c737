package cli

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

func (s *session) printBlackholes(a *answer) error {
	list, err := decode[[]struct {
		UUID      string    `json:"uuid"`
		IP        string    `json:"ip"`
		State     string    `json:"state"`
		Hostgroup string    `json:"hostgroup"`
		Reason    string    `json:"reason"`
		Expires   time.Time `json:"expires"`
	}](a.Values)
	if err != nil {
		return err
	}
	if s.fcli {
		for _, b := range list {
			fmt.Fprintf(s.out, "%s %s\n", b.IP, b.UUID)
		}
		return nil
	}
	if len(list) == 0 {
		return s.none("blackholes")
	}
	var rows [][]string
	for _, b := range list {
		rows = append(rows, []string{b.IP, b.UUID, b.State, b.Hostgroup, when(b.Expires), b.Reason})
	}
	s.table([]string{"prefix", "uuid", "state", "hostgroup", "until", "reason"}, rows)
	return nil
}

type mitigation struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Prefix      string    `json:"prefix"`
	NextHop     string    `json:"next_hop"`
	Communities []string  `json:"communities"`
	Match       match     `json:"match"`
	Action      string    `json:"action"`
	Rate        uint64    `json:"rate"`
	Hostgroup   string    `json:"hostgroup"`
	Incident    string    `json:"incident"`
	Reason      string    `json:"reason"`
	Manual      bool      `json:"manual"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	State       string    `json:"state"`
	Refused     string    `json:"refused"`
	Threshold   string    `json:"threshold"`
	Direction   string    `json:"direction"`
	Network     string    `json:"network"`
}

type match struct {
	Destination      string   `json:"destination"`
	Source           string   `json:"source"`
	Protocols        []int    `json:"protocols"`
	SourcePorts      []uint16 `json:"source_ports"`
	DestinationPorts []uint16 `json:"destination_ports"`
	TCPFlags         uint8    `json:"tcp_flags"`
	TCPFlagsNot      uint8    `json:"tcp_flags_not"`
	Fragment         bool     `json:"fragment"`
	MinLength        uint16   `json:"min_length"`
	MaxLength        uint16   `json:"max_length"`
}

var protocolNames = map[int]string{1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}

// what says in words what a mitigation does.
func (m mitigation) what() string {
	if m.Kind != "flowspec" {
		return m.Kind
	}
	var p []string
	add := func(name, value string) {
		if value != "" {
			p = append(p, name+" "+value)
		}
	}
	add("to", m.Match.Destination)
	add("from", m.Match.Source)
	for _, n := range m.Match.Protocols {
		p = append(p, firstOf(protocolNames[n], "protocol "+strconv.Itoa(n)))
	}
	add("source port", ports(m.Match.SourcePorts))
	add("port", ports(m.Match.DestinationPorts))
	add("flags", flags(m.Match.TCPFlags))
	add("without", flags(m.Match.TCPFlagsNot))
	if m.Match.Fragment {
		p = append(p, "fragments")
	}
	if m.Match.MaxLength > 0 {
		add("length", fmt.Sprintf("%d..%d", m.Match.MinLength, m.Match.MaxLength))
	}
	action := m.Action
	if m.Action == "rate-limit" {
		action = "limit to " + megabits(float64(m.Rate)) + " Mbit/s"
	}
	return action + ": " + strings.Join(p, " ")
}

func ports(list []uint16) string {
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i] = strconv.Itoa(int(p))
	}
	return strings.Join(parts, ",")
}

func flags(bits uint8) string {
	var b strings.Builder
	for i, c := range "FSRPAUEC" {
		if bits&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (s *session) printMitigations(noun string, a *answer) error {
	var list []mitigation
	if noun == "flowspec" {
		rules, err := decode[[]struct {
			UUID     string     `json:"uuid"`
			Announce mitigation `json:"announce"`
		}](a.Values)
		if err != nil {
			return err
		}
		for _, r := range rules {
			list = append(list, r.Announce)
		}
	} else {
		var err error
		if list, err = decode[[]mitigation](a.Values); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return s.none("mitigations")
	}
	var rows [][]string
	for _, m := range list {
		rows = append(rows, []string{m.Prefix, m.ID, m.State, m.what(), m.Hostgroup, when(m.Expires), firstOf(m.Refused, m.Reason)})
	}
	s.table([]string{"prefix", "uuid", "state", "what", "hostgroup", "until", "reason"}, rows)
	return nil
}

// printMitigation shows one in fcli's form: IP, UUID, Hostgroup, Host Network, Detection Source, Threshold, Direction.
func (s *session) printMitigation(a *answer) error {
	m, err := decode[mitigation](a.Object)
	if err != nil {
		return err
	}
	source := "automatic"
	if m.Manual {
		source = "manual"
	}
	lines := [][2]string{
		{"IP", bareHost(m.Prefix)},
		{"UUID", m.ID},
		{"Hostgroup", m.Hostgroup},
		{"Host Network", m.Network},
		{"Detection Source", source},
		{"Detection Threshold", m.Threshold},
		{"Detection Direction", m.Direction},
	}
	if !s.fcli {
		lines = append(lines, [][2]string{
			{"Prefix", m.Prefix},
			{"What", m.what()},
			{"State", m.State},
			{"Refused", m.Refused},
			{"Reason", m.Reason},
			{"Next Hop", m.NextHop},
			{"Communities", strings.Join(m.Communities, " ")},
			{"Incident", m.Incident},
			{"Created", when(m.Created)},
			{"Until", when(m.Expires)},
		}...)
	}
	for _, l := range lines {
		if l[1] == "" && !s.fcli {
			continue
		}
		fmt.Fprintf(s.out, "%s: %s\n", l[0], l[1])
	}
	return nil
}

// bareHost is a host's prefix without its length.
func bareHost(prefix string) string {
	if p, err := netip.ParsePrefix(prefix); err == nil && p.IsSingleIP() {
		return p.Addr().String()
	}
	return prefix
}

type incident struct {
	ID          string    `json:"id"`
	Target      string    `json:"target"`
	Direction   string    `json:"direction"`
	Hostgroup   string    `json:"hostgroup"`
	Network     string    `json:"network"`
	State       string    `json:"state"`
	Vector      string    `json:"vector"`
	Protocol    string    `json:"protocol"`
	Threshold   string    `json:"threshold"`
	Limit       float64   `json:"limit"`
	Value       float64   `json:"value"`
	Unit        string    `json:"unit"`
	Others      []string  `json:"others"`
	PeakPPS     float64   `json:"peak_pps"`
	Start       time.Time `json:"start"`
	LastBreach  time.Time `json:"last_breach"`
	End         time.Time `json:"end"`
	Until       time.Time `json:"until"`
	Manual      bool      `json:"manual"`
	Whitelisted bool      `json:"whitelisted"`
}

// why says what fired: the measured value and the limit.
func (i incident) why() string {
	if i.Manual {
		return "set by hand"
	}
	text := fmt.Sprintf("%s: %s > %s %s", i.Threshold, count(i.Value), count(i.Limit), i.Unit)
	if i.Whitelisted {
		text += " (whitelisted)"
	}
	return text
}

func (s *session) printIncidents(a *answer) error {
	if a.Object != nil {
		return s.printIncident(a)
	}
	list, err := decode[[]incident](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("incidents")
	}
	var rows [][]string
	for _, i := range list {
		rows = append(rows, []string{i.Target, i.Direction, i.State, i.Vector, i.why(), count(i.PeakPPS), i.Hostgroup, when(i.Start), when(i.End), i.ID})
	}
	s.table([]string{"target", "direction", "state", "vector", "why", ">peak pkt/s", "hostgroup", "start", "end", "id"}, rows)
	return nil
}

func (s *session) printIncident(a *answer) error {
	i, err := decode[incident](a.Object)
	if err != nil {
		return err
	}
	for _, l := range [][2]string{
		{"Target", i.Target},
		{"Direction", i.Direction},
		{"State", i.State},
		{"Vector", i.Vector},
		{"Protocol", i.Protocol},
		{"Why", i.why()},
		{"Also over", strings.Join(i.Others, " ")},
		{"Peak", count(i.PeakPPS) + " packets/s"},
		{"Hostgroup", i.Hostgroup},
		{"Network", i.Network},
		{"Start", when(i.Start)},
		{"Last seen", when(i.LastBreach)},
		{"Not before", when(i.Until)},
		{"End", when(i.End)},
		{"ID", i.ID},
	} {
		if l[1] != "" && l[1] != "-" {
			fmt.Fprintf(s.out, "%-10s  %s\n", l[0], l[1])
		}
	}
	return nil
}

func (s *session) printRefusals(a *answer) error {
	list, err := decode[[]struct {
		Target string `json:"target"`
		Reason string `json:"reason"`
	}](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("refusals")
	}
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{r.Target, r.Reason})
	}
	s.table([]string{"target", "why it is not mitigated"}, rows)
	return nil
}

func (s *session) printPeers(a *answer) error {
	list, err := decode[[]struct {
		Name      string    `json:"name"`
		Address   string    `json:"address"`
		ASN       uint32    `json:"asn"`
		State     string    `json:"state"`
		Since     time.Time `json:"since"`
		Families  []string  `json:"families"`
		LastError string    `json:"last_error"`
		Flaps     uint64    `json:"flaps"`
	}](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("BGP peers; `set bgp NAME` makes one")
	}
	var rows [][]string
	for _, p := range list {
		rows = append(rows, []string{
			p.Name, p.Address, strconv.FormatUint(uint64(p.ASN), 10), p.State, when(p.Since), count(float64(p.Flaps)),
			strings.Join(p.Families, " "), p.LastError,
		})
	}
	s.table([]string{"peer", "address", ">asn", "state", "since", ">flaps", "families", "last error"}, rows)
	return nil
}
