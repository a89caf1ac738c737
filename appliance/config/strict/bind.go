package strict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds nesting; no configuration of ours comes near.
const maxDepth = 32

// maxProblems bounds what one hostile file can make us say.
const maxProblems = 1000

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType     = reflect.TypeFor[json.Unmarshaler]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	addrType     = reflect.TypeFor[netip.Addr]()
	durationType = reflect.TypeFor[time.Duration]()
)

// Parse reads one YAML document. An empty text gives an empty mapping. A syntax error names its line.
func Parse(file string, text []byte) (*yaml.Node, Problems) {
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	if err := dec.Decode(&doc); err != nil {
		if err.Error() == "EOF" {
			return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1}, nil
		}
		return nil, Problems{syntaxProblem(file, text, err)}
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		return nil, Problems{{File: file, Line: more.Line, Message: "a second YAML document begins here; the configuration is one document"}}
	} else if err.Error() != "EOF" {
		return nil, Problems{syntaxProblem(file, text, err)}
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1}, nil
	}
	return root, nil
}

// syntaxProblem takes the line out of the parser's "yaml: line 3: message".
// What comes without a line is about an anchor, and is looked for.
func syntaxProblem(file string, text []byte, err error) Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if num, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(num); err == nil {
				line, msg = n, text
			}
		}
	}
	if _, name, ok := strings.Cut(msg, "anchor '"); line == 0 && ok {
		name, _, _ = strings.Cut(name, "'")
		before, _, _ := strings.Cut(string(text), "*"+name)
		line = 1 + strings.Count(before, "\n")
	}
	return Problem{File: file, Line: max(line, 1), Message: "not valid YAML: " + msg}
}

// Bind fills v, a pointer to a struct, from a mapping node. Values that the node does not mention keep what v holds,
// so v starts as the defaults; a list that is mentioned replaces the default list, a map adds to the default map.
// It returns the line of every key and every problem; v is only meaningful when there is none.
func Bind(file string, root *yaml.Node, v any) (Lines, Problems) {
	b := binder{file: file, lines: Lines{"": max(root.Line, 1)}}
	b.bind(root, reflect.ValueOf(v).Elem(), "", 0)
	return b.lines, b.problems
}

type binder struct {
	file     string
	lines    Lines
	problems Problems
}

func (b *binder) fail(n *yaml.Node, path, format string, args ...any) {
	if len(b.problems) < maxProblems {
		b.problems = append(b.problems, Problem{File: b.file, Line: n.Line, Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// failSoft is fail for what leaves the rest readable.
func (b *binder) failSoft(n *yaml.Node, path, format string, args ...any) {
	before := len(b.problems)
	b.fail(n, path, format, args...)
	if len(b.problems) > before {
		b.problems[before].Soft = true
	}
}

// bind sets v from n. The kind of v decides what n may be.
func (b *binder) bind(n *yaml.Node, v reflect.Value, path string, depth int) {
	if depth > maxDepth {
		b.fail(n, path, "nested too deeply")
		return
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		b.fail(n, path, "YAML anchors and aliases are not supported; write the value out")
		return
	}
	if n.Tag != "" && !strings.HasPrefix(n.Tag, "!!") {
		b.fail(n, path, "YAML tag %s is not supported", n.Tag)
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && v.Kind() != reflect.Interface {
		b.fail(n, path, "has no value; give one or remove the key")
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		b.bind(n, fresh.Elem(), path, depth)
		v.Set(fresh)
	case v.Type() == prefixType:
		b.prefix(n, v, path)
	case v.Type() == addrType:
		b.addr(n, v, path)
	case v.Type() == durationType:
		b.duration(n, v, path)
	case v.Addr().Type().Implements(textType):
		b.text(n, v, path)
	case v.Addr().Type().Implements(jsonType):
		b.json(n, v, path)
	default:
		b.bindKind(n, v, path, depth)
	}
}

func (b *binder) bindKind(n *yaml.Node, v reflect.Value, path string, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		b.structure(n, v, path, depth)
	case reflect.Map:
		b.mapping(n, v, path, depth)
	case reflect.Slice:
		b.list(n, v, path, depth)
	case reflect.Interface:
		b.free(n, v, path)
	case reflect.String:
		if s, ok := b.scalar(n, path, "text"); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		b.boolean(n, v, path)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b.integer(n, v, path)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		b.unsigned(n, v, path)
	case reflect.Float32, reflect.Float64:
		b.float(n, v, path)
	default:
		b.fail(n, path, "cannot be configured (type %s)", v.Type())
	}
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	default:
		return strconv.Quote(n.Value)
	}
}

// pairs calls f for each key of a mapping once, and reports what is not a plain key or stands there twice.
func (b *binder) pairs(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		b.fail(n, path, "must be a map of keys and values, not %s", kindName(n))
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || k.Anchor != "":
			b.fail(k, path, "a key must be a plain word")
			continue
		case seen[k.Value] != 0:
			b.failSoft(k, Join(path, k.Value), "is given twice; the first is in line %d", seen[k.Value])
			continue
		}
		seen[k.Value] = k.Line
		b.lines[Join(path, k.Value)] = k.Line
		f(k, val)
	}
}

func (b *binder) structure(n *yaml.Node, v reflect.Value, path string, depth int) {
	fields := Fields(v.Type())
	b.pairs(n, path, func(k, val *yaml.Node) {
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == k.Value })
		if i < 0 {
			names := make([]string, len(fields))
			for j := range fields {
				names[j] = fields[j].Name
			}
			b.failSoft(k, Join(path, k.Value), "unknown key%s", suggestion(k.Value, names))
			return
		}
		b.bind(val, v.FieldByIndex(fields[i].Index), Join(path, k.Value), depth+1)
	})
}

func suggestion(word string, known []string) string {
	near := Near(word, known)
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

func (b *binder) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	m := reflect.MakeMap(v.Type())
	for it := v.MapRange(); it.Next(); {
		m.SetMapIndex(it.Key(), it.Value())
	}
	b.pairs(n, path, func(k, val *yaml.Node) {
		elem := reflect.New(v.Type().Elem()).Elem()
		key := reflect.ValueOf(k.Value).Convert(v.Type().Key())
		if old := m.MapIndex(key); old.IsValid() {
			elem.Set(old)
		}
		if val.Kind == yaml.ScalarNode && val.Tag == "!!null" && elem.Kind() == reflect.Struct {
			m.SetMapIndex(key, elem) // "customer:" with nothing below is an object with all defaults
			return
		}
		b.bind(val, elem, Join(path, k.Value), depth+1)
		m.SetMapIndex(key, elem)
	})
	v.Set(m)
}

func (b *binder) list(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		b.fail(n, path, "must be a list, not %s; write [%s]", kindName(n), strings.TrimSpace(n.Value))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		p := Index(path, i)
		b.lines[p] = item.Line
		b.bind(item, out.Index(i), p, depth+1)
	}
	v.Set(out)
}

// free decodes into an interface: a driver's own options. The driver checks them.
func (b *binder) free(n *yaml.Node, v reflect.Value, path string) {
	if hasAlias(n, 0) {
		b.fail(n, path, "YAML anchors and aliases are not supported; write the value out")
		return
	}
	b.noteLines(n, path)
	var x any
	if err := n.Decode(&x); err != nil {
		b.fail(n, path, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if x != nil {
		v.Set(reflect.ValueOf(x))
	}
}

func hasAlias(n *yaml.Node, depth int) bool {
	if depth > maxDepth || n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge" {
		return true
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return hasAlias(c, depth+1) })
}

func (b *binder) noteLines(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			p := Join(path, n.Content[i].Value)
			b.lines[p] = n.Content[i].Line
			b.noteLines(n.Content[i+1], p)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			p := Index(path, i)
			b.lines[p] = c.Line
			b.noteLines(c, p)
		}
	}
}

// BindValue says what is wrong with n as a value of type t; "" when nothing is.
func BindValue(n *yaml.Node, t reflect.Type) string {
	b := binder{lines: Lines{}}
	b.bind(n, reflect.New(t).Elem(), "", 0)
	if len(b.problems) == 0 {
		return ""
	}
	if p := b.problems[0]; p.Path != "" {
		return p.Path + ": " + p.Message
	}
	return b.problems[0].Message
}
