package strict

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type inner struct {
	Text string `json:"text"`
	Rate *uint8 `json:"rate,omitempty"`
}

type sample struct {
	inner
	Names  map[string]inner `json:"names"`
	List   []inner          `json:"list"`
	Any    map[string]any   `json:"any"`
	Wait   time.Duration    `json:"wait"`
	Nets   []netip.Prefix   `json:"nets"`
	Addr   netip.Addr       `json:"addr,omitzero"`
	Float  float64          `json:"float"`
	Int    int16            `json:"int"`
	hidden string
	Skip   int `json:"-"`
}

var _ = sample{}.hidden // only its not being a key matters

func bindText(t *testing.T, text string) (sample, Lines, Problems) {
	t.Helper()
	root, problems := Parse("f", []byte(text))
	if problems != nil {
		return sample{}, nil, problems
	}
	s := sample{Int: 7, Names: map[string]inner{"a": {Text: "default"}}, List: []inner{{Text: "x"}}}
	lines, problems := Bind("f", root, &s)
	return s, lines, problems
}

func TestBind(t *testing.T) {
	t.Parallel()
	got, lines, problems := bindText(t, `text: 007
rate: 200
names:
  a: {rate: 1}
  b:
list:
  - text: "yes"
  - rate: 3
any: {k: [1, true, {x: y}]}
wait: 90
nets: [192.0.2.1, "2001:db8::/32"]
addr: ::ffff:192.0.2.1
float: 0.5
int: -32_768
`)
	if problems != nil {
		t.Fatal(problems)
	}
	want := sample{
		inner: inner{Text: "007", Rate: new(uint8(200))},
		Names: map[string]inner{"a": {Text: "default", Rate: new(uint8(1))}, "b": {}},
		List:  []inner{{Text: "yes"}, {Rate: new(uint8(3))}},
		Any:   map[string]any{"k": []any{1, true, map[string]any{"x": "y"}}},
		Wait:  90 * time.Second,
		Nets:  []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")},
		Addr:  netip.MustParseAddr("192.0.2.1"), Float: 0.5, Int: -32768,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for path, line := range map[string]int{"text": 1, "names.a.rate": 4, "list[1].rate": 8, "list[1]": 8, "any.k[2].x": 9, "nets[1]": 11, "nets[1].no.such": 11, "nothing": 1} {
		if lines.Of(path) != line {
			t.Errorf("line of %s is %d, want %d", path, lines.Of(path), line)
		}
	}
}

func TestBindProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"rate: 256":               "f:1: rate: 256 is out of range; the most is 255",
		"int: 32768":              "f:1: int: 32768 is out of range",
		"int: 0x10":               `f:1: int: must be a whole number, not "0x10"`,
		"float: .nan":             `f:1: float: must be a number, not ".nan"`,
		"wait: 99999999999999":    "f:1: wait: 99999999999999 seconds is too long",
		"addr: fe80::1%eth0":      `f:1: addr: "fe80::1%eth0" has a zone; write it without`,
		"hidden: 1":               "f:1: hidden: unknown key",
		"Skip: 1":                 "f:1: Skip: unknown key",
		"names: [a]":              "f:1: names: must be a map of keys and values, not a list",
		"any: {a: *x}":            "f:1: not valid YAML: unknown anchor 'x' referenced",
		"any: {a: &x 1}":          "f:1: any.a: YAML anchors and aliases are not supported; write the value out",
		"? [a]\n: b":              "f:1: a key must be a plain word",
		"text: [a]":               "f:1: text: must be text, not a list",
		"names: {a: {texd: 1}}":   "f:1: names.a.texd: unknown key; did you mean text?",
		"nets:\n  - 10.0.0.1/8\n": `f:2: nets[0]: "10.0.0.1/8" has bits set behind its length; did you mean 10.0.0.0/8?`,
	} {
		_, _, problems := bindText(t, text)
		if got := problems.Error(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	deep := "any: " + strings.Repeat("[", 500) + strings.Repeat("]", 500)
	if _, _, problems := bindText(t, deep); problems == nil {
		t.Error("500 levels are accepted")
	}
	if _, _, problems := bindText(t, strings.Repeat("text: [x]\n", 5000)); len(problems) > maxProblems {
		t.Errorf("%d problems of one file", len(problems))
	}
}

func TestFromError(t *testing.T) {
	t.Parallel()
	lines := Lines{"": 1, "bgp": 3, "bgp.peers[0].asn": 5}
	err := errors.Join(
		errors.New("peers[0].asn: must be set"),
		fmt.Errorf("peers[1]: %w", errors.New("name: used twice")),
		fmt.Errorf("in words: %w", errors.Join(errors.New("one"), errors.New("two"))),
	)
	got := FromError("f", "bgp", err, lines)
	want := Problems{
		{File: "f", Line: 5, Path: "bgp.peers[0].asn", Message: "must be set"},
		{File: "f", Line: 3, Path: "bgp.peers[1].name", Message: "used twice"},
		{File: "f", Line: 3, Path: "bgp", Message: "in words: one"},
		{File: "f", Line: 3, Path: "bgp", Message: "two"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if FromError("f", "", nil, nil) != nil {
		t.Error("no error has problems")
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	if got := Split("a.b[2].c[0][1]"); !slices.Equal(got, []string{"a", "b", "[2]", "c", "[0]", "[1]"}) {
		t.Errorf("split: %q", got)
	}
	for path, parent := range map[string]string{"a.b": "a", "a[3]": "a", "a[3].b": "a[3]", "a": ""} {
		if got := Parent(path); got != parent {
			t.Errorf("parent of %s is %q, want %q", path, got, parent)
		}
	}
	if got := Join(Join("", "a"), "[1]"); got != "a[1]" {
		t.Errorf("join: %q", got)
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	known := []string{"threshold_pps", "threshold_udp_pps", "networks", "tick"}
	for word, want := range map[string]string{"treshold_pps": "threshold_pps", "network": "networks", "tik": "tick", "quux": "", "": ""} {
		if got := strings.Join(Near(word, known), " "); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("near %q is %q, want %q", word, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 1900 * time.Second: "1900s", 2 * time.Hour: "2h", 90 * time.Minute: "90m", 100 * time.Millisecond: "100ms", 1500 * time.Microsecond: "1.5ms",
	} {
		got := Duration(d)
		if got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
		if back, err := ParseDuration(got); err != nil || back != d {
			t.Errorf("%q reads back as %v (%v)", got, back, err)
		}
	}
}
