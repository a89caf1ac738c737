package api

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/weir-ddos/weir/appliance/config"
)

func TestParsePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"/main/networks/192.0.2.0%2f24": {"main", "networks", "192.0.2.0/24"},
		"/blackhole/2001:db8::1":        {"blackhole", "2001:db8::1"},
		"/":                             {""},
		"main/":                         {"main"},
		"/a/%2e%2e/b":                   {"a", "..", "b"},
	} {
		if got, err := parsePath(path); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q (%v), want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"/a//b", "/a%0ab", "/%ff", "/%zz", "/" + strings.Repeat("a", maxWord+1), strings.Repeat("/a", maxWords+1)} {
		if got, err := parsePath(path); err == nil {
			t.Errorf("%.20q: %q", path, got)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/main/networks/192.0.2.0%2f24")
	f.Add("/%00/%e2%80%8b")
	f.Fuzz(func(t *testing.T, path string) {
		words, err := parsePath(path)
		if err != nil {
			return
		}
		if len(words) == 0 || len(words) > maxWords {
			t.Fatalf("%d words", len(words))
		}
		escaped := make([]string, len(words))
		for i, w := range words {
			if strings.ContainsFunc(w, unicode.IsControl) {
				t.Fatalf("control character in %q", w)
			}
			escaped[i] = url.PathEscape(w)
		}
		again, err := parsePath("/" + strings.Join(escaped, "/"))
		if err != nil || !reflect.DeepEqual(again, words) {
			t.Fatalf("%q came back as %q (%v)", words, again, err)
		}
	})
}

// TestWordsLeadSomewhere: every translated FastNetMon word names a key that exists.
func TestWordsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for word := range mainWords {
		if _, err := mainOption(word); err != nil {
			t.Errorf("main %s: %v", word, err)
		}
	}
	for noun, object := range map[string][]string{"hostgroup": {"hostgroups", "x"}, "bgp": {"bgp", "peers", "[0]"}} {
		c := categories[noun]
		for word := range c.words {
			if _, err := c.option(object, word); err != nil {
				t.Errorf("%s %s: %v", noun, word, err)
			}
		}
		for word := range c.never {
			if _, err := c.option(object, word); err == nil {
				t.Errorf("%s %s is said not to exist, and does", noun, word)
			}
		}
	}
	for word := range mainNever {
		if _, dup := mainWords[word]; dup {
			t.Errorf("%s both exists and does not", word)
		}
	}
	for _, k := range config.Keys() {
		if strings.Contains(k.Path, "*") {
			continue
		}
		if got, err := mainOption(k.Path); err != nil || got.path() != k.Path {
			t.Errorf("main %s: %v (%v)", k.Path, got.path(), err)
		}
	}
}
