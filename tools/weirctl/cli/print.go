package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// print shows an answer to people. A noun without a form of its own is shown as what it is: a list, a value, an object.
func (s *session) print(words []string, a *answer) error {
	noun := strings.TrimSuffix(strings.TrimSuffix(words[0], "_v4"), "_v6")
	var err error
	switch {
	case noun == "total_traffic_counters":
		err = s.printTotals(a)
	case noun == "host_counters", noun == "network_counters", noun == "hostgroup_counters", noun == "hostgroup_counters_total":
		err = s.printCounters(words, a)
	case noun == "single_host_counters":
		err = s.printHost(a)
	case noun == "system_counters":
		err = s.printSystem(a)
	case noun == "ip_hostgroup":
		err = s.printMembership(a)
	case noun == "blackhole" && len(words) == 1:
		err = s.printBlackholes(a)
	case (noun == "mitigations" || noun == "flowspec") && len(words) == 1:
		err = s.printMitigations(noun, a)
	case (noun == "blackhole" || noun == "mitigations" || noun == "flowspec") && len(words) == 2:
		err = s.printMitigation(a)
	case noun == "incidents":
		err = s.printIncidents(a)
	case noun == "refusals":
		err = s.printRefusals(a)
	case noun == "bgp_peers":
		err = s.printPeers(a)
	case noun == "interfaces":
		err = s.printPorts(a)
	case noun == "exporters" && len(words) == 1:
		err = s.printExporters(a)
	case noun == "exporter_interfaces":
		err = s.printExporterInterfaces(a)
	case noun == "flow_sockets":
		err = s.printFlowSockets(a)
	case strings.HasSuffix(noun, "_sampling_rates"):
		err = s.printRates(a)
	case strings.HasSuffix(noun, "_packets_per_device"):
		err = s.printDevices(a)
	case noun == "kill_switch":
		err = s.printSwitch(a)
	case noun == "diff":
		err = s.printDiff(a)
	case noun == "history" && len(words) == 1:
		err = s.printHistory(a)
	default:
		err = s.printPlain(a)
	}
	return err
}

func decode[T any](raw json.RawMessage) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("the answer is not understood: %w; --json shows it", err)
	}
	return v, nil
}

// text is the answer's value as a string.
func (a *answer) text() (string, error) { return decode[string](a.Value) }

// table prints rows with aligned columns. Columns whose heading begins with > are numbers and stand right. Nothing is cut off.
func (s *session) table(head []string, rows [][]string) {
	width := make([]int, len(head))
	for i, h := range head {
		width[i] = len([]rune(strings.TrimPrefix(h, ">")))
	}
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	line := func(cells []string, mark func(i int, padded string) string) {
		var b strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			switch {
			case strings.HasPrefix(head[i], ">"):
				c = pad + c
			case i < len(cells)-1:
				c += pad
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(mark(i, c))
		}
		fmt.Fprintln(s.out, strings.TrimRight(b.String(), " "))
	}
	titles := make([]string, len(head))
	for i, h := range head {
		titles[i] = strings.TrimPrefix(h, ">")
	}
	line(titles, func(_ int, c string) string { return s.paint(bold, c) })
	for _, r := range rows {
		line(r, func(_ int, c string) string { return s.paint(stateColour(strings.TrimSpace(c)), c) })
	}
}

const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s *session) paint(code, text string) string {
	if !s.colour || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func stateColour(word string) string {
	switch word {
	case "active", "refused", "idle":
		return red
	case "announced", "established":
		return green
	case "cooling", "pending", "suspect", "dry-run", "connect", "opensent", "openconfirm":
		return yellow
	}
	return ""
}

// none says that a list is empty, rather than printing only a heading.
func (s *session) none(what string) error {
	if !s.fcli {
		fmt.Fprintf(s.out, "no %s\n", what)
	}
	return nil
}

// count writes a whole number in groups of three, for people.
func count(v float64) string {
	digits := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	neg := strings.HasPrefix(digits, "-")
	digits = strings.TrimPrefix(digits, "-")
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	out := strings.Join(append([]string{digits}, parts...), ",")
	if neg {
		out = "-" + out
	}
	return out
}

// megabits is a rate in bytes/s as Mbit/s (10^6 bits).
func megabits(bytes float64) string { return strconv.FormatFloat(bytes*8/1e6, 'f', 2, 64) }

// when is a time in the reader's zone, to the second.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func (s *session) printTotals(a *answer) error {
	list, err := decode[[]struct {
		Name  string  `json:"counter_name"`
		Value float64 `json:"value"`
		Unit  string  `json:"unit"`
	}](a.Values)
	if err != nil {
		return err
	}
	var order []string
	units := map[string]map[string]float64{}
	for _, c := range list {
		if units[c.Name] == nil {
			units[c.Name] = map[string]float64{}
			order = append(order, c.Name)
		}
		units[c.Name][c.Unit] = c.Value
	}
	var rows [][]string
	for _, name := range order {
		u := units[name]
		flows := ""
		if f, ok := u["flows"]; ok {
			flows = count(f)
		}
		rows = append(rows, []string{name, count(u["pps"]), strconv.FormatFloat(u["mbps"], 'f', 2, 64), flows})
	}
	s.table([]string{"traffic", ">packets/s", ">Mbit/s", ">flows/s"}, rows)
	return nil
}

type rate struct {
	Packets float64 `json:"packets"`
	Bytes   float64 `json:"bytes"`
}

type rates struct {
	Total     rate    `json:"total"`
	TCP       rate    `json:"tcp"`
	TCPSYN    rate    `json:"tcp_syn"`
	UDP       rate    `json:"udp"`
	ICMP      rate    `json:"icmp"`
	Fragments rate    `json:"fragments"`
	Other     rate    `json:"other"`
	Flows     float64 `json:"flows"`
}

type target struct {
	Host      string `json:"host"`
	Net       string `json:"network_name"`
	GroupName string `json:"hostgroup_name"`
	Hostgroup string `json:"hostgroup"`
	Network   string `json:"network"`
	Incoming  rates  `json:"incoming"`
	Outgoing  rates  `json:"outgoing"`
}

func (s *session) printCounters(words []string, a *answer) error {
	list, err := decode[[]target](a.Values)
	if err != nil {
		return err
	}
	kind := map[string]string{"host": "host", "netw": "network"}[words[0][:4]]
	if strings.HasPrefix(words[0], "hostgroup") {
		kind = "hostgroup"
	}
	if len(list) == 0 {
		return s.none("traffic")
	}
	head := []string{kind, ">in pkt/s", ">in Mbit/s", ">in flows/s", ">out pkt/s", ">out Mbit/s", ">out flows/s"}
	if kind == "host" {
		head = append(head, "hostgroup")
	}
	var rows [][]string
	for _, t := range list {
		r := []string{
			t.Host + t.Net + t.GroupName, count(t.Incoming.Total.Packets), megabits(t.Incoming.Total.Bytes), count(t.Incoming.Flows),
			count(t.Outgoing.Total.Packets), megabits(t.Outgoing.Total.Bytes), count(t.Outgoing.Flows),
		}
		if kind == "host" {
			r = append(r, t.Hostgroup)
		}
		rows = append(rows, r)
	}
	s.table(head, rows)
	return nil
}

func (s *session) printHost(a *answer) error {
	t, err := decode[target](a.Object)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s  hostgroup %s  network %s\n", t.Host, firstOf(t.Hostgroup, "-"), firstOf(t.Network, "-"))
	var rows [][]string
	for _, c := range []struct {
		name    string
		in, out rate
	}{
		{"total", t.Incoming.Total, t.Outgoing.Total},
		{"tcp", t.Incoming.TCP, t.Outgoing.TCP},
		{"tcp_syn", t.Incoming.TCPSYN, t.Outgoing.TCPSYN},
		{"udp", t.Incoming.UDP, t.Outgoing.UDP},
		{"icmp", t.Incoming.ICMP, t.Outgoing.ICMP},
		{"fragments", t.Incoming.Fragments, t.Outgoing.Fragments},
		{"other", t.Incoming.Other, t.Outgoing.Other},
	} {
		rows = append(rows, []string{c.name, count(c.in.Packets), megabits(c.in.Bytes), count(c.out.Packets), megabits(c.out.Bytes)})
	}
	rows = append(rows, []string{"flows/s", count(t.Incoming.Flows), "", count(t.Outgoing.Flows), ""})
	s.table([]string{"class", ">in pkt/s", ">in Mbit/s", ">out pkt/s", ">out Mbit/s"}, rows)
	return nil
}

func (s *session) printSystem(a *answer) error {
	list, err := decode[[]struct {
		Name        string  `json:"counter_name"`
		Value       float64 `json:"value"`
		Unit        string  `json:"unit"`
		Description string  `json:"description"`
	}](a.Values)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, c := range list {
		v := count(c.Value)
		if c.Value != math.Trunc(c.Value) {
			v = strconv.FormatFloat(c.Value, 'f', 3, 64)
		}
		if s.fcli {
			fmt.Fprintf(s.out, "%s %s\n", c.Name, strings.ReplaceAll(v, ",", ""))
			continue
		}
		rows = append(rows, []string{c.Name, v, c.Unit, c.Description})
	}
	if !s.fcli {
		s.table([]string{"counter", ">value", "unit", "meaning"}, rows)
	}
	return nil
}

func (s *session) printMembership(a *answer) error {
	m, err := decode[struct {
		IP          string `json:"ip"`
		Inside      bool   `json:"inside"`
		Network     string `json:"network"`
		Hostgroup   string `json:"hostgroup"`
		Whitelisted bool   `json:"whitelisted"`
	}](a.Object)
	switch {
	case err != nil:
		return err
	case !m.Inside:
		return fmt.Errorf("%s is outside the configured networks", m.IP)
	case s.fcli:
		fmt.Fprintln(s.out, m.Hostgroup)
	case m.Whitelisted:
		fmt.Fprintf(s.out, "%s  hostgroup %s  network %s  whitelisted: never mitigated\n", m.IP, m.Hostgroup, m.Network)
	default:
		fmt.Fprintf(s.out, "%s  hostgroup %s  network %s\n", m.IP, m.Hostgroup, m.Network)
	}
	return nil
}

func (s *session) printSwitch(a *answer) error {
	on, err := decode[bool](a.Value)
	if err != nil {
		return err
	}
	state := "disabled: mitigations are announced"
	if on {
		state = "enabled: nothing is announced"
	}
	fmt.Fprintln(s.out, state)
	return nil
}

func (s *session) printDiff(a *answer) error {
	list, err := decode[[]struct {
		Path string  `json:"path"`
		Old  *string `json:"old"`
		New  *string `json:"new"`
	}](a.Values)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Old != nil {
			fmt.Fprintln(s.out, s.paint(red, "- "+c.Path+": "+*c.Old))
		}
		if c.New != nil {
			fmt.Fprintln(s.out, s.paint(green, "+ "+c.Path+": "+*c.New))
		}
	}
	return nil
}

func (s *session) printHistory(a *answer) error {
	list, err := decode[[]struct {
		Number int       `json:"number"`
		Time   time.Time `json:"time"`
		UID    uint32    `json:"uid"`
		User   string    `json:"user"`
		Cause  string    `json:"cause"`
	}](a.Values)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range slices.Backward(list) {
		rows = append(rows, []string{strconv.Itoa(r.Number), when(r.Time), firstOf(r.User, "uid "+strconv.FormatUint(uint64(r.UID), 10)), r.Cause})
	}
	s.table([]string{">number", "committed", "by", "cause"}, rows)
	return nil
}

// printPlain prints a value, a list one a line, or an object as option and value.
func (s *session) printPlain(a *answer) error {
	switch {
	case a.Object != nil:
		m, err := decode[map[string]any](a.Object)
		if err != nil {
			return err
		}
		flat := map[string]string{}
		flatten("", m, flat)
		keys := make([]string, 0, len(flat))
		for k := range flat {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		width := 0
		for _, k := range keys {
			width = max(width, len(k))
		}
		for _, k := range keys {
			fmt.Fprintf(s.out, "%-*s  %s\n", width, k, flat[k])
		}
	case a.Values != nil:
		list, err := decode[[]any](a.Values)
		if err != nil {
			return err
		}
		for _, v := range list {
			fmt.Fprintln(s.out, inline(v))
		}
	case a.Value != nil:
		v, err := decode[any](a.Value)
		if err != nil {
			return err
		}
		text := inline(v)
		if text == "" && a.Message != "" {
			text = a.Message
		}
		fmt.Fprintln(s.out, strings.TrimSuffix(text, "\n"))
	}
	return nil
}

func flatten(path string, v any, out map[string]string) {
	m, ok := v.(map[string]any)
	if !ok {
		out[path] = inline(v)
		return
	}
	for k, e := range m {
		p := k
		if path != "" {
			p = path + "." + k
		}
		flatten(p, e, out)
	}
}

// inline is a value on one line, booleans as fcli writes them.
func inline(v any) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "enable"
		}
		return "disable"
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = inline(e)
		}
		return strings.Join(parts, " ")
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		parts := make([]string, len(keys))
		for i, k := range keys {
			parts[i] = k + ": " + inline(v[k])
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}
