package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// Change is one value that differs between two configurations.
type Change struct {
	// Path is the key; for a list of values it is the list's, and the change is one element that came or went.
	Path string `json:"path"`
	// Old and New are the values as text; nil where there was or is none.
	Old *string `json:"old,omitempty"`
	New *string `json:"new,omitempty"`
}

// String is "- path: old", "+ path: new", or both lines.
func (c Change) String() string {
	var b strings.Builder
	if c.Old != nil {
		fmt.Fprintf(&b, "- %s: %s", c.Path, *c.Old)
	}
	if c.Old != nil && c.New != nil {
		b.WriteByte('\n')
	}
	if c.New != nil {
		fmt.Fprintf(&b, "+ %s: %s", c.Path, *c.New)
	}
	return b.String()
}

// Diff lists what changes from a to b, by effect and not by text: order, comments and defaults written out are no change.
// Passwords are not shown.
func Diff(a, b *Config) []Change {
	flatA, flatB := flatten(a), flatten(b)
	paths := slices.Collect(maps.Keys(flatA))
	for p := range flatB {
		if _, ok := flatA[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []Change
	for _, p := range paths {
		out = append(out, changes(p, flatA[p], flatB[p])...)
	}
	return out
}

// flat is what stands at a path: one value, or the values of a list.
type flat struct {
	list   bool
	values []string
}

func flatten(c *Config) map[string]flat {
	out := make(map[string]flat)
	if c == nil {
		return out
	}
	if n, err := strict.Encode(c); err == nil {
		flattenNode(n, "", out)
	}
	return out
}

func flattenNode(n *yaml.Node, path string, out map[string]flat) {
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 && path != "" {
			out[path] = flat{values: []string{"{}"}}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			flattenNode(n.Content[i+1], strict.Join(path, n.Content[i].Value), out)
		}
	case yaml.SequenceNode:
		flattenList(n, path, out)
	default:
		out[path] = flat{values: []string{n.Value}}
	}
}

// flattenList compares objects of a list by their name, as path[name].key, so that order is no change; values by themselves.
func flattenList(n *yaml.Node, path string, out map[string]flat) {
	f := flat{list: true}
	for i, e := range n.Content {
		if e.Kind != yaml.MappingNode {
			f.values = append(f.values, Inline(e))
			continue
		}
		at := fmt.Sprintf("%s[%s]", path, objectName(e, i))
		if _, dup := out[at]; dup {
			at = strict.Index(path, i)
		}
		out[at] = flat{values: []string{"present"}}
		flattenNode(e, at, out)
	}
	if len(f.values) > 0 || len(n.Content) == 0 {
		out[path] = f
	}
}

// objectName is what an object of a list is called: its name or its device, else its place.
func objectName(n *yaml.Node, i int) string {
	for k := 0; k+1 < len(n.Content); k += 2 {
		if key := n.Content[k].Value; (key == "name" || key == "device") && n.Content[k+1].Value != "" {
			return n.Content[k+1].Value
		}
	}
	return fmt.Sprint(i)
}

// Inline writes a value on one line: a plain value as it is, a map as {a: 1, b: 2}, a list as [a, b]. Secrets are hidden.
func Inline(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := Inline(n.Content[i+1])
			if Secret(n.Content[i].Value) {
				value = "(hidden)"
			}
			parts = append(parts, n.Content[i].Value+": "+value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, e := range n.Content {
			parts = append(parts, Inline(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return n.Value
	}
}

// Secret says whether the value at path must not be shown.
func Secret(path string) bool {
	last := path[strings.LastIndexByte(path, '.')+1:]
	return strings.HasSuffix(last, "password") || strings.HasSuffix(last, "secret") || strings.HasSuffix(last, "token")
}

func changes(path string, a, b flat) []Change {
	if !a.list && !b.list {
		c := Change{Path: path, Old: only(a), New: only(b)}
		if c.Old != nil && c.New != nil && *c.Old == *c.New {
			return nil
		}
		if Secret(path) {
			c.Old, c.New = hide(c.Old), hide(c.New)
		}
		return []Change{c}
	}
	var out []Change
	count := make(map[string]int)
	for _, v := range b.values {
		count[v]++
	}
	for _, v := range a.values {
		if count[v]--; count[v] < 0 {
			out = append(out, Change{Path: path, Old: &v})
		}
	}
	count = make(map[string]int)
	for _, v := range a.values {
		count[v]++
	}
	for _, v := range b.values {
		if count[v]--; count[v] < 0 {
			out = append(out, Change{Path: path, New: &v})
		}
	}
	return out
}

func only(f flat) *string {
	if len(f.values) == 0 {
		return nil
	}
	return &f.values[0]
}

func hide(s *string) *string {
	if s == nil {
		return nil
	}
	hidden := "(hidden)"
	return &hidden
}
