package edit

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

const sample = `# Weir at the edge of AS64500

networks: [192.0.2.0/24, 2001:db8::/32] # ours

ports:
  - {driver: afxdp, device: eth1}

# Who is protected how.
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 20000}

  # The web farm.
  web:
    networks:
      - 192.0.2.128/25

    threshold_pps: 5000   # peak is 1500
    # and later more

# The log.
log:
  level: "info"
`

func value(t *testing.T, s string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(s), &n); err != nil {
		t.Fatal(err)
	}
	return n.Content[0]
}

func TestEditKeepsTheRest(t *testing.T) {
	t.Parallel()
	set := func(path, v string) func(*testing.T, *Doc) error {
		return func(t *testing.T, d *Doc) error { t.Helper(); return d.Set(strict.Split(path), value(t, v)) }
	}
	add := func(path, v string) func(*testing.T, *Doc) error {
		return func(t *testing.T, d *Doc) error { t.Helper(); return d.Append(strict.Split(path), value(t, v)) }
	}
	del := func(path string) func(*testing.T, *Doc) error {
		return func(_ *testing.T, d *Doc) error { return d.Remove(strict.Split(path)) }
	}
	for name, c := range map[string]struct {
		do       func(*testing.T, *Doc) error
		old, new string // the only difference between the texts
	}{
		"a value":                           {set("hostgroups.web.threshold_pps", "7000"), "threshold_pps: 5000   #", "threshold_pps: 7000   #"},
		"a quoted value":                    {set("log.level", "debug"), `level: "info"`, `level: debug`},
		"a value in braces":                 {set("hostgroups.global.threshold_pps", "1"), "threshold_pps: 20000}", "threshold_pps: 1}"},
		"a new key in braces":               {set("hostgroups.global.threshold_udp_pps", "9"), "threshold_pps: 20000}", "threshold_pps: 20000, threshold_udp_pps: 9}"},
		"a new element in brackets":         {add("networks", "198.51.100.0/24"), "2001:db8::/32]", "2001:db8::/32, 198.51.100.0/24]"},
		"a new IPv6 element in brackets":    {add("networks", "'2001:db9::/32'"), "2001:db8::/32]", "2001:db8::/32, 2001:db9::/32]"},
		"a new element with a dash":         {add("hostgroups.web.networks", "192.0.2.1/32"), "- 192.0.2.128/25\n", "- 192.0.2.128/25\n      - 192.0.2.1/32\n"},
		"a new key in a block":              {set("hostgroups.web.ban_for_pps", "true"), "peak is 1500\n", "peak is 1500\n    ban_for_pps: true\n"},
		"a new object":                      {set("hostgroups.dns", "{}"), "peak is 1500\n", "peak is 1500\n  dns: {}\n"},
		"a new section":                     {set("bans.ban_time", "60"), "level: \"info\"\n", "level: \"info\"\nbans:\n  ban_time: 60\n"},
		"less in brackets":                  {del("networks[1]"), "[192.0.2.0/24, 2001:db8::/32]", "[192.0.2.0/24]"},
		"less in braces":                    {del("hostgroups.global.ban_for_pps"), "{ban_for_pps: true, threshold_pps: 20000}", "{threshold_pps: 20000}"},
		"one key less":                      {del("hostgroups.web.threshold_pps"), "    threshold_pps: 5000   # peak is 1500\n", ""},
		"one object less, with its comment": {del("hostgroups.web"), "  # The web farm.\n  web:\n    networks:\n      - 192.0.2.128/25\n\n    threshold_pps: 5000   # peak is 1500\n", ""},
		"one section less":                  {del("log"), "# The log.\nlog:\n  level: \"info\"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := New("weir.yaml", []byte(sample))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(t, d); err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(sample, c.old, c.new, 1)
			if want == sample && c.old != c.new {
				t.Fatal("the case does not apply to the sample")
			}
			if got := string(d.Text()); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestEmptiedListAndMapStayValid(t *testing.T) {
	t.Parallel()
	d, err := New("weir.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(strict.Split("hostgroups.web.networks[0]")); err != nil {
		t.Fatal(err)
	}
	if n := d.Get(strict.Split("hostgroups.web.networks")); n == nil || n.Kind != yaml.SequenceNode || len(n.Content) != 0 {
		t.Errorf("networks is %+v, want an empty list", n)
	}
	if !strings.Contains(string(d.Text()), "# The log.\nlog:") || !strings.Contains(string(d.Text()), "# and later more") {
		t.Errorf("comments were lost:\n%s", d.Text())
	}
}

func TestEditErrors(t *testing.T) {
	t.Parallel()
	d, err := New("weir.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(strict.Split("hostgroups.nobody")); err == nil || err.Error() != "hostgroups.nobody: is not set" {
		t.Errorf("remove: %v", err)
	}
	if err := d.Append(strict.Split("log.level"), value(t, "x")); err == nil {
		t.Error("append to a scalar worked")
	}
	if err := d.Set(strict.Split("networks.x"), value(t, "x")); err == nil {
		t.Error("set below a list worked")
	}
	if string(d.Text()) != sample {
		t.Error("a refused edit changed the text")
	}
	if _, err := New("weir.yaml", []byte("- a\n")); err == nil {
		t.Error("a list was taken as a configuration")
	}
}

func TestFromNothing(t *testing.T) {
	t.Parallel()
	d, err := New("weir.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"192.0.2.0/24", "2001:db8::/32"} {
		if err := d.Append(strict.Split("networks"), value(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Set(strict.Split("hostgroups.global.threshold_pps"), value(t, "5")); err != nil {
		t.Fatal(err)
	}
	want := "networks: [192.0.2.0/24, 2001:db8::/32]\nhostgroups:\n  global:\n    threshold_pps: 5\n"
	if got := string(d.Text()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// FuzzEdit checks that an edit of any text either fails or has exactly the wanted effect.
func FuzzEdit(f *testing.F) {
	f.Add([]byte(sample), "hostgroups.web.threshold_pps", "1")
	f.Add([]byte("{a: [1, {b: c}], d: e}"), "a[1].b", "[x]")
	f.Fuzz(func(t *testing.T, text []byte, path, val string) {
		d, err := New("fuzz", text)
		if err != nil {
			return
		}
		v := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: val}
		if d.Set(strict.Split(path), v) != nil {
			if string(d.Text()) != string(text) {
				t.Fatal("a refused edit changed the text")
			}
			return
		}
		if n := d.Get(strict.Split(path)); n != nil && n.Kind == yaml.ScalarNode && n.Value != val {
			// NUL and the like cannot be written as YAML; then Text failed or normalised, never silently replaced
			t.Skipf("value %q came back as %q", val, n.Value)
		}
	})
}
