package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// flowOf is a record with all parts; src and dst are addresses of one family.
func flowOf(src, dst string) *record.Record {
	return &record.Record{
		Src: netip.MustParseAddr(src).As16(), Dst: netip.MustParseAddr(dst).As16(), Proto: 17, SrcPort: 53, DstPort: 4242,
		Packets: 3, Bytes: 4500, Has: record.HasSrc | record.HasDst | record.HasProto | record.HasPorts | record.HasPackets | record.HasBytes |
			record.HasInput | record.HasOutput | record.HasDuration | record.HasTTL,
		Input: 7, Output: 9, SrcAS: 64500, DstAS: 64501, SrcVLAN: 10, DstVLAN: 20, TOS: 0xb8, TTL: 64, Duration: 2e9, SamplingRate: 100.5,
		Protocol: record.NetFlow9, Domain: 5, Direction: record.Ingress,
		Agent:   netip.MustParseAddr("10.9.9.9").As16(),
		NextHop: netip.MustParseAddr("fe80::1").As16(),
	}
}

var (
	v4  = func() *record.Record { return flowOf("192.0.2.1", "198.51.100.2") }
	v6  = func() *record.Record { return flowOf("2001:db8::1", "2001:db8:5::2") }
	tcp = func() *record.Record {
		r := v4()
		r.Proto, r.TCPFlags, r.Has = 6, 0x12, r.Has|record.HasFlags
		return r
	}
	exporter4 = netip.MustParseAddr("203.0.113.1")
	exporter6 = netip.MustParseAddr("2001:db8:ffff::1")
)

func mustCompile(t testing.TB, rules ...string) *program {
	t.Helper()
	parsed, err := parse("test", strings.Join(rules, "\n"), new(int))
	if err != nil {
		t.Fatal(err)
	}
	return compile(parsed)
}

// TestConditions writes every condition as a rule that drops.
func TestConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when     string
		r        *record.Record
		exporter netip.Addr
		match    bool
	}{
		{"all", v4(), exporter4, true},
		{"src 192.0.2.1", v4(), exporter4, true},
		{"src 192.0.2.0/24", v4(), exporter4, true},
		{"src net 192.0.2.0/24", v4(), exporter4, true},
		{"src host 192.0.2.2", v4(), exporter4, false},
		{"dst 192.0.2.0/24", v4(), exporter4, false},
		{"net 192.0.2.0/24", v4(), exporter4, true},
		{"host 198.51.100.2", v4(), exporter4, true},
		{"host != 198.51.100.2", v4(), exporter4, false},
		{"src 2001:db8::/64", v6(), exporter6, true},
		{"src 2001:db8::/64", v4(), exporter6, false},
		{"dst 2001:db8:5::2, 10.0.0.0/8", v6(), exporter6, true},
		{"dst 2001:db8:5::1", v6(), exporter6, false},
		{"src 0.0.0.0/0", v4(), exporter4, true},
		{"src 0.0.0.0/0", v6(), exporter4, false},
		{"src ::/0", v4(), exporter4, false},
		{"src ::/0", v6(), exporter4, true},
		{"src ::ffff:192.0.2.1", v4(), exporter4, true},
		{"ipv4", v4(), exporter4, true},
		{"ipv4", v6(), exporter4, false},
		{"ipv6", v4(), exporter4, false},
		{"ipv6", v6(), exporter4, true},
		{"from 203.0.113.0/24", v4(), exporter4, true},
		{"from 203.0.113.0/24", v4(), exporter6, false},
		{"exporter host 2001:db8:ffff::1", v6(), exporter6, true},
		{"agent 10.9.9.9", v4(), exporter4, true},
		{"nexthop fe80::/10", v4(), exporter4, true},
		{"src 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 192.0.2.1, 100.64.0.0/10, 198.18.0.0/15", v4(), exporter4, true},
		{"dst 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 192.0.2.1, 100.64.0.0/10, 198.18.0.0/15, ::1", v4(), exporter4, false},

		{"port 53", v4(), exporter4, true},
		{"port 4242", v6(), exporter4, true},
		{"src port 4242", v4(), exporter4, false},
		{"dst port 4000-5000", v4(), exporter4, true},
		{"dst port > 4242", v4(), exporter4, false},
		{"dst port >= 4242", v4(), exporter4, true},
		{"dst port < 4243", v4(), exporter4, true},
		{"dst port <= 4241", v4(), exporter4, false},
		{"dst port < 0", v4(), exporter4, false},
		{"port != 53", v4(), exporter4, false},
		{"port 1, 2, 3, 5, 7, 9, 53", v4(), exporter4, true},
		{"dst port 1, 3, 5, 7, 9, 53, 4241, 4243, 65535", v4(), exporter4, false},
		{"not port 53", v4(), exporter4, false},
		{"proto udp", v4(), exporter4, true},
		{"proto 17", v6(), exporter4, true},
		{"proto tcp, udp", v4(), exporter4, true},
		{"proto icmp", v4(), exporter4, false},
		{"udp", v4(), exporter4, true},
		{"tcp", tcp(), exporter4, true},
		{"UDP AND PORT 53", v4(), exporter4, true},
		{"udp port 53 from 203.0.113.1", v4(), exporter4, true},
		{"udp port 53 from 203.0.113.2", v4(), exporter4, false},
		{"tcp or udp and port 99", v4(), exporter4, false},
		{"(tcp or udp) and not port 99", v4(), exporter4, true},
		{"!(tcp or udp)", v4(), exporter4, false},
		{"not tcp and udp", v4(), exporter4, true},
		{"not (tcp or port 1) and (dst as 64501 or src as 1)", v4(), exporter4, true},

		{"packets 3", v4(), exporter4, true},
		{"bytes > 4k", v4(), exporter4, true},
		{"bytes < 1M", v6(), exporter4, true},
		{"length 1500", v4(), exporter4, true},
		{"length > 1500", v4(), exporter4, false},
		{"duration >= 2s", v4(), exporter4, true},
		{"duration > 2", v4(), exporter4, false},
		{"duration < 1m30s", v4(), exporter4, true},
		{"rate 100", v4(), exporter4, true},
		{"rate 0", v4(), exporter4, false},
		{"input 7", v4(), exporter4, true},
		{"output 7", v4(), exporter4, false},
		{"interface 9", v4(), exporter4, true},
		{"src interface 7 dst interface 9", v4(), exporter4, true},
		{"as 64501", v4(), exporter4, true},
		{"src as 64501", v4(), exporter4, false},
		{"vlan 20", v4(), exporter4, true},
		{"dst vlan 10", v4(), exporter4, false},
		{"tos 0xb8", v4(), exporter4, true},
		{"dscp 46", v4(), exporter4, true},
		{"ttl 60-64", v4(), exporter4, true},
		{"ttl < 64", v4(), exporter4, false},
		{"domain 5", v4(), exporter4, true},
		{"direction ingress", v4(), exporter4, true},
		{"direction egress, unknown", v4(), exporter4, false},
		{"protocol netflow9", v4(), exporter4, true},
		{"protocol netflow", v4(), exporter4, true},
		{"protocol sflow, ipfix", v4(), exporter4, false},
		{"kind data", v4(), exporter4, true},
		{"dropped", v4(), exporter4, false},
		{"not fragment", v4(), exporter4, true},

		{"flags S", tcp(), exporter4, true},
		{"flags SA", tcp(), exporter4, true},
		{"flags S/SA", tcp(), exporter4, false},
		{"flags A/AR", tcp(), exporter4, true},
		{"flags syn", tcp(), exporter4, true},
		{"flags R, S", tcp(), exporter4, true},
		{"flags != S", tcp(), exporter4, false},
		{"flags 0x12/0xff", tcp(), exporter4, true},
		{"flags 0/0x04", tcp(), exporter4, true},
		{"flags S", v4(), exporter4, false},
		{"flags != S", v4(), exporter4, true},
	} {
		p := mustCompile(t, "drop "+c.when)
		if rule, keep := p.run(c.exporter, c.r); keep == c.match || (rule == 0) != c.match {
			t.Errorf("%s: got match %v", c.when, !keep)
		}
	}
}

// What a record does not have matches nothing, and its opposite.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	r := &record.Record{Packets: 5}
	for _, f := range []string{
		"src 0.0.0.0/0", "src ::/0", "ipv6", "ipv4", "port 0", "proto 0", "flags 0/0xff", "input 0", "interface 0", "length 0",
		"duration 0s", "icmptype 0", "icmpcode 0", "mpls 0", "forwarding 0", "sampler 0", "ttl 0",
	} {
		if _, keep := mustCompile(t, "drop "+f).run(exporter4, r); !keep {
			t.Errorf("%s matched a record without it", f)
		}
		if _, keep := mustCompile(t, "drop not ("+f+")").run(exporter4, r); keep {
			t.Errorf("not %s did not match a record without it", f)
		}
	}
}

func TestFirstMatchDecides(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "# comment", "", "keep dst 198.51.100.2 # the web server", "drop udp", "keep all", "drop all")
	for _, c := range []struct {
		r    *record.Record
		rule uint32
		keep bool
	}{{v4(), 0, true}, {v6(), 1, false}, {flowOf("::1", "::2"), 1, false}, {&record.Record{}, 2, true}} {
		if rule, keep := p.run(exporter4, c.r); rule != c.rule || keep != c.keep {
			t.Errorf("%v: got rule %d, keep %v", c, rule, keep)
		}
	}
	if rule, keep := compile(nil).run(exporter4, v4()); rule != 0 || !keep {
		t.Errorf("no rules: got rule %d, keep %v", rule, keep)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"block all":                        `x:1:1: expected keep or drop, found "block"`,
		"drop":                             `x:1:5: expected a condition, found the end of the rule`,
		"drop port":                        `x:1:10: expected a port (0..65535), found the end of the rule`,
		"drop port 70000":                  `x:1:11: expected a port (0..65535), found "70000"`,
		"drop port 9-5":                    `x:1:11: expected a port (0..65535), found "9-5"`,
		"drop port 53,":                    `x:1:14: expected a port (0..65535), found the end of the rule`,
		"drop port < 1-2":                  `x:1:13: expected a port (0..65535), found "1-2"`,
		"drop src 10.0.0.1/8":              `x:1:10: expected an address or a prefix, found "10.0.0.1/8"`,
		"drop src 10.0.0":                  `x:1:10: expected an address or a prefix, found "10.0.0"`,
		"drop src fe80::1%eth0":            `x:1:17: '%' has no place in a rule`,
		"drop src < ::1":                   `x:1:10: expected = or != (addresses and flags have no order), found "<"`,
		"drop (port 53":                    `x:1:14: expected and, or, or ), found the end of the rule`,
		"drop port 53)":                    `x:1:13: expected and, or, or the end of the rule, found ")"`,
		"drop port 53 foo":                 `x:1:14: expected a condition (src, dst, net, port, proto, from, bytes and so on), found "foo"`,
		"drop udp or":                      `x:1:12: expected a condition, found the end of the rule`,
		"drop flags X":                     `x:1:12: expected TCP flags like S or S/SA (letters F S R P A U E C, names, or numbers), found "X"`,
		"drop flags SA/S":                  `x:1:12: expected TCP flags like S or S/SA (letters F S R P A U E C, names, or numbers), found "SA/S"`,
		"drop flags ,":                     `x:1:12: expected TCP flags like S or S/SA (letters F S R P A U E C, names, or numbers), found ","`,
		"drop bytes > 4.5k":                `x:1:14: expected a number of bytes, found "4.5k"`,
		"drop bytes 99999999999999999999":  `x:1:12: expected a number of bytes, found "99999999999999999999"`,
		"drop bytes 18446744073709552k":    `x:1:12: expected a number of bytes, found "18446744073709552k"`,
		"drop duration > -5s":              `x:1:17: expected a duration, found "-5s"`,
		"drop direction up":                `x:1:16: expected ingress, egress or unknown (egress, ingress, unknown), found "up"`,
		"drop protocol udp":                `x:1:15: expected an export protocol (ipfix, netflow, netflow1, netflow5, netflow7, netflow9, sflow, sflow2, sflow4, sflow5, unknown); write proto for an IP protocol, found "udp"`,
		"drop port 53 \"":                  `x:1:14: '"' has no place in a rule`,
		"drop é":                           `x:1:6: 'é' has no place in a rule`,
		"drop " + strings.Repeat("(", 100): `x:1:70: nested deeper than 64`,
		"keep all\ndrop nonsense\n\ndrop port x": "x:2:6: expected a condition (src, dst, net, port, proto, from, bytes and so on), found \"nonsense\"\n" +
			`x:4:11: expected a port (0..65535), found "x"`,
	} {
		_, err := parse("x", rule, new(int))
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got  %v\n want %s", clip(rule), err, want)
		}
		var e *Error
		if !errors.As(err, &e) || e.Source != "x" || e.Line < 1 || e.Column < 1 {
			t.Errorf("%s: no position in %v", clip(rule), err)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	if _, err := parse("x", strings.Repeat("#", maxText+1), new(int)); err == nil {
		t.Error("a text of any length is read")
	}
	if _, err := parse("x", "drop "+strings.Repeat("udp ", maxTests+1), new(int)); err == nil || !strings.Contains(err.Error(), "more than 65536 tests") {
		t.Errorf("too many tests: %v", err)
	}
	if _, err := parse("x", strings.Repeat("bad\n", 1000), new(int)); err == nil || strings.Count(err.Error(), "\n") != 20 {
		t.Errorf("many mistakes: %v", err)
	}
	c := Default()
	c.Rules = make([]string, maxRules+1)
	if err := c.Validate(); err == nil {
		t.Error("any number of rules is accepted")
	}
}

// Every field is reachable by some word, and every number field reads what it says.
func TestEveryFieldHasAWord(t *testing.T) {
	t.Parallel()
	seen := map[field]bool{fieldDropped: true, fieldFragment: true}
	for _, fs := range sided {
		seen[fs[0]], seen[fs[1]] = true, true
	}
	for _, m := range []map[string][]field{numbers, addresses} {
		for _, fs := range m {
			for _, f := range fs {
				seen[f] = true
			}
		}
	}
	var full record.Record
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case !f.CanSet():
		case f.CanUint():
			f.SetUint(1)
		case f.CanInt():
			f.SetInt(1)
		case f.CanFloat():
			f.SetFloat(1)
		case f.Kind().String() == "bool":
			f.SetBool(true)
		}
	}
	full.TOS = 4
	for f := fieldSrc; f < numFields; f++ {
		if !seen[f] {
			t.Errorf("field %d has no word", f)
		}
		if !f.isAddress() && f != fieldPort && (number(f, &full) == 0 || fields[f].max == 0) {
			t.Errorf("field %d is not read", f)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil || !Default().Empty() {
		t.Errorf("the default: %v", err)
	}
	c := Config{Rules: []string{"drop udp", "drop port x"}, LuaTimeout: 1, LuaMemory: 1, LuaErrors: -1}
	want := "rules[1]:1:11: expected a port (0..65535), found \"x\"\nlua_timeout: 1ns is outside 10us..1s\n" +
		"lua_memory: 1 is outside 1048576..1073741824\nlua_errors: -1 is negative"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSetCountsByRule(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Rules = []string{"drop port 443 from 203.0.113.0/24"}
	c.RulesFile = write(t, "rules", "keep ipv4\ndrop src 2001:db8::/32\n")
	s, err := New(c, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	if !a.Keep(exporter4, v4()) || a.Keep(exporter4, v6()) {
		t.Error("IPv4 is to be kept, IPv6 to be dropped")
	}
	https := v4()
	https.DstPort = 443
	for range flushEvery {
		if b.Keep(exporter4, https) {
			t.Fatal("kept")
		}
	}
	other := flowOf("2001:db9::1", "2001:db9::2")
	if !a.Keep(exporter6, other) {
		t.Error("what no rule matches is kept")
	}
	a.Flush()
	want := Stats{Records: flushEvery + 3, Dropped: flushEvery + 1, Unmatched: 1, Rules: []RuleStats{
		{"drop port 443 from 203.0.113.0/24", flushEvery}, {"keep ipv4", 1}, {"drop src 2001:db8::/32", 1},
	}}
	if got := s.Stats(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	b.Close()
	b.Close()
	if got := s.Stats(); !reflect.DeepEqual(got, want) || len(s.workers) != 1 {
		t.Errorf("after a worker has gone: got %+v", got)
	}
}

// Many goroutines use a Shared at once, while Stats looks and others close it.
func TestShared(t *testing.T) {
	t.Parallel()
	c := Default()
	c.LuaTimeout = time.Second
	c.Rules = []string{"drop udp and dst port 443"}
	c.LuaNetflow = write(t, "n.lua", "seen = {} function process_netflow(agent, flow) seen[agent] = (seen[agent] or 0) + 1 return seen[agent] % 2 == 0 end")
	s, err := New(c, Deps{Clock: ticking()})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Shared(4)
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, each = 8, 500
	var kept atomic.Uint64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			a, b, https := v4(), v6(), v4()
			https.DstPort = 443
			for range each {
				for _, k := range []bool{f.Keep(exporter4, a), f.Keep(exporter6, b), f.Keep(exporter4, https)} {
					if k {
						kept.Add(1)
					}
				}
				_ = s.Stats()
			}
		})
	}
	wg.Wait()
	f.Flush()
	// An exporter's records all see the same script, so that exactly every second one is kept.
	st := s.Stats()
	if kept.Load() != goroutines*each || st.Records != 3*goroutines*each || st.Dropped != 2*goroutines*each || st.Hooks[0].Errors != 0 {
		t.Errorf("kept %d, %+v", kept.Load(), st)
	}
	f.Close()
	if !f.Keep(exporter4, v4()) || len(s.workers) != 0 {
		t.Error("after Close")
	}
	for _, n := range []int{0, 257} {
		if _, err := s.Shared(n); err == nil {
			t.Errorf("%d workers are accepted", n)
		}
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	big := write(t, "big", strings.Repeat("#\n", maxFile))
	for _, c := range []struct {
		set  func(*Config)
		want string
	}{
		{func(c *Config) { c.RulesFile = missing }, "rules_file: open " + missing},
		{func(c *Config) { c.RulesFile = t.TempDir() }, "is no regular file"},
		{func(c *Config) { c.RulesFile = big }, "has more than 1048576 bytes"},
		{func(c *Config) { c.RulesFile = write(t, "r", "keep all\nkeep nothing") }, "r:2:6: expected a condition"},
		{func(c *Config) { c.LuaNetflow = missing }, "lua_netflow: open " + missing},
		{func(c *Config) { c.LuaSFlow = write(t, "a.lua", "function f(") }, "lua_sflow: "},
		{func(c *Config) { c.LuaSFlow = write(t, "b.lua", "x = 1") }, "it defines no function process_sflow(agent, flow)"},
		{func(c *Config) { c.LuaNetflow = write(t, "c.lua", "\nerror('no')") }, "c.lua:2: no"},
		{func(c *Config) { c.LuaNetflow = write(t, "d.lua", "while true do end") }, "took too long"},
		{func(c *Config) { c.LuaNetflow = write(t, "e.lua", strings.Repeat("--", maxScript)) }, "has more than 262144 bytes"},
	} {
		cfg := Default()
		c.set(&cfg)
		s, err := New(cfg, Deps{Clock: ticking()})
		if s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	cfg := Default()
	cfg.LuaSFlow = write(t, "s.lua", "function process_sflow() return true end")
	if _, err := New(cfg, Deps{}); err == nil {
		t.Error("hooks without a clock")
	}
}

func TestKeepDoesNotAllocate(t *testing.T) {
	w := benchWorker(t, "drop port 443 from 10.0.0.0/8, 2001:db8::/32", "drop proto tcp and dst net 10.0.0.0/8, 192.168.0.0/16 and port 53, 80-90, 99")
	for _, r := range []*record.Record{v4(), v6(), tcp()} {
		if n := testing.AllocsPerRun(3000, func() { w.Keep(exporter6, r) }); n != 0 {
			t.Errorf("%v allocations a record", n)
		}
	}
}

func benchWorker(t testing.TB, rules ...string) *Worker {
	t.Helper()
	c := Default()
	c.Rules = rules
	s, err := New(c, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Worker()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func BenchmarkKeep(b *testing.B) {
	prefixes := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("10.%d.%d.0/24", i/128, i%128*2))
		}
		return strings.Join(list, ", ")
	}
	for _, c := range []struct {
		name  string
		rules []string
	}{
		{"none", nil},
		{"one", []string{"drop port 443 from 192.0.2.0/24"}},
		{"three", []string{"drop port 443 from 192.0.2.0/24", "drop proto tcp and dst net 10.0.0.0/8 and port 53", "keep dst net 203.0.113.0/24"}},
		{"prefixes1000", []string{"drop dst net " + prefixes(1000)}},
	} {
		for family, r := range map[string]*record.Record{"v4": v4(), "v6": v6()} {
			b.Run(c.name+"/"+family, func(b *testing.B) {
				w := benchWorker(b, c.rules...)
				b.ReportAllocs()
				for b.Loop() {
					w.Keep(exporter4, r)
				}
			})
		}
	}
}
