package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// Key describes one configuration key.
type Key struct {
	// Path is dotted; the name of a hostgroup or of a list's element is a *.
	Path string `json:"path"`
	// Type is text, number, bool, duration, address, network, size, map, or "list of" one of these.
	Type string `json:"type"`
	// List is set when values are added and removed one by one.
	List bool `json:"list,omitempty"`
}

// Keys lists every key that holds a value, in the order of the documentation.
func Keys() []Key {
	var out []Key
	walkType(reflect.TypeFor[Config](), "", &out)
	return out
}

func walkType(t reflect.Type, path string, out *[]Key) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := TypeName(t)
	switch {
	case name != "":
		*out = append(*out, Key{Path: path, Type: name, List: t.Kind() == reflect.Slice})
	case t.Kind() == reflect.Struct:
		for _, f := range strict.Fields(t) {
			walkType(f.Type, strict.Join(path, f.Name), out)
		}
	default: // a map or list of structs
		walkType(t.Elem(), path+".*", out)
	}
}

// TypeName says in a word what a value of type t is; empty for structs and for maps and lists of structs.
func TypeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[netip.Prefix]():
		return "network"
	case reflect.TypeFor[netip.Addr]():
		return "address"
	case reflect.TypeFor[Size]():
		return "size"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Struct:
		return ""
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return "map"
		}
		return ""
	case reflect.Slice:
		if inner := TypeName(t.Elem()); inner != "" {
			return "list of " + inner
		}
		return ""
	default:
		return "number"
	}
}

// TypeAt walks the struct types to the value at a path of keys; list elements are any part that begins with "[".
func TypeAt(parts []string) (reflect.Type, error) {
	t := reflect.TypeFor[Config]()
	for i, part := range parts {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch {
		case t.Kind() == reflect.Slice && strings.HasPrefix(part, "["):
			t = t.Elem()
		case t.Kind() == reflect.Map:
			t = t.Elem()
		case t.Kind() == reflect.Struct && TypeName(t) == "":
			fields := strict.Fields(t)
			j := slices.IndexFunc(fields, func(f strict.Field) bool { return f.Name == part })
			if j < 0 {
				return nil, fmt.Errorf("%s: unknown key%s", strings.Join(parts[:i+1], "."), near(part, names(fields)))
			}
			t = fields[j].Type
		default:
			return nil, fmt.Errorf("%s: unknown key; %s holds one value", strings.Join(parts[:i+1], "."), strings.Join(parts[:i], "."))
		}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, nil
}

func names(fields []strict.Field) []string {
	out := make([]string, len(fields))
	for i := range fields {
		out[i] = fields[i].Name
	}
	return out
}

// Value turns a word of the command line into a value of type t: a plain value as it stands, with enable and disable for
// true and false; a map or list as YAML or JSON on one line. The value is checked as the file's would be.
func Value(t reflect.Type, s string) (*yaml.Node, error) {
	var n *yaml.Node
	if k := t.Kind(); TypeName(t) == "" || TypeName(t) == "map" || k == reflect.Slice {
		root, problems := strict.Parse("value", []byte(s))
		if err := problems.Err(); err != nil {
			return nil, fmt.Errorf("%q is not a value: %s", s, problems[0].Message)
		}
		n = root
	} else {
		n = scalar(t, s)
	}
	if msg := strict.BindValue(n, t); msg != "" {
		return nil, fmt.Errorf("%s", msg)
	}
	return n, nil
}

func scalar(t reflect.Type, s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch TypeName(t) {
	case "bool":
		if v, ok := strict.ParseBool(s); ok {
			n.Tag, n.Value = "!!bool", fmt.Sprint(v)
		}
	case "number":
		var probe yaml.Node
		if yaml.Unmarshal([]byte(s), &probe) == nil && len(probe.Content) == 1 && probe.Content[0].Kind == yaml.ScalarNode {
			n.Tag = probe.Content[0].Tag
		}
	case "duration", "size":
		// 1900 is written without quotes, as a person would
		if !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) && s != "" {
			n.Tag = "!!int"
		}
	}
	return n
}
