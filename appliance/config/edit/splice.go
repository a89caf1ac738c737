package edit

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// The functions of this file propose an edited text for a changed tree, or nil. They may guess: the caller checks the result.

// inline writes a value on one line, in a form that is valid inside brackets too.
func inline(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.ScalarNode && plain(n.Value) { // the library quotes 2001:db8::/32 without need
		if got, problems := strict.Parse("", []byte(n.Value)); len(problems) == 0 && Equal(got, n) {
			return n.Value, true
		}
	}
	c := copyNode(n)
	bare(c)
	text, err := strict.Text(&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle, Content: []*yaml.Node{c}})
	s := strings.TrimSuffix(string(text), "\n")
	if err != nil || strings.Contains(s, "\n") || len(s) < 2 {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// plain says whether s holds nothing that could need quotes inside brackets, except what the parser then tells.
func plain(s string) bool {
	const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:"
	return s != "" && strings.Trim(s, harmless) == ""
}

func copyNode(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		c.Content[i] = copyNode(n.Content[i])
	}
	return &c
}

// bare removes comments and multi-line styles.
func bare(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	n.Style &^= yaml.LiteralStyle | yaml.FoldedStyle
	for _, c := range n.Content {
		bare(c)
	}
}

// editValue replaces the deepest node around parts that stands on one line: a plain or quoted value, or a [list] or {map}.
func editValue(text []byte, before, after *yaml.Node, parts []string) []byte {
	for k := len(parts); k > 0; k-- {
		old, fresh := find(before, parts[:k]), find(after, parts[:k])
		if old == nil || fresh == nil || old.Line == 0 || old.Kind != fresh.Kind {
			continue
		}
		repl, ok := inline(fresh)
		if !ok {
			return nil
		}
		switch {
		case old.Kind == yaml.ScalarNode:
			return replaceScalar(text, old, repl)
		case old.Style&yaml.FlowStyle != 0 && len(old.Content) > 0:
			return replaceFlow(text, old, fresh, repl, after)
		default:
			return nil
		}
	}
	return nil
}

// place is the byte offset of a node in the text.
func place(text []byte, n *yaml.Node) (start, lineEnd int) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if n.Line < 1 || n.Line > len(lines) {
		return 0, 0
	}
	for _, l := range lines[:n.Line-1] {
		start += len(l)
	}
	line := lines[n.Line-1]
	lineEnd = start + len(bytes.TrimRight(line, "\r\n"))
	for range n.Column - 1 { // columns count characters
		if start >= lineEnd {
			return 0, 0
		}
		_, size := utf8.DecodeRune(text[start:])
		start += size
	}
	return start, lineEnd
}

func replaceScalar(text []byte, old *yaml.Node, repl string) []byte {
	start, end := place(text, old)
	for _, raw := range []string{`"` + old.Value + `"`, "'" + old.Value + "'", old.Value} {
		if old.Value != "" && bytes.HasPrefix(text[start:end], []byte(raw)) {
			return splice(text, start, start+len(raw), repl)
		}
	}
	return nil
}

// replaceFlow tries each closing bracket of the line: the right one is where the text comes to mean what it should.
// What is already there keeps its form when the change is one more element or key.
func replaceFlow(text []byte, old, fresh *yaml.Node, repl string, after *yaml.Node) []byte {
	start, end := place(text, old)
	if start >= end {
		return nil
	}
	closing := byte(']')
	if old.Kind == yaml.MappingNode {
		closing = '}'
	}
	d := &Doc{name: "edit"}
	for i, tries := start+1, 0; i < end && tries < 100; i++ {
		if text[i] != closing {
			continue
		}
		tries++
		if more, ok := addition(old, fresh); ok {
			if try := splice(text, i, i, more); d.means(try, after) {
				return try
			}
		}
		if try := splice(text, start, i+1, repl); d.means(try, after) {
			return try
		}
	}
	return nil
}

// addition writes the one element or key that fresh has more than old, with the comma before it.
func addition(old, fresh *yaml.Node) (string, bool) {
	more := fresh.Content[min(len(old.Content), len(fresh.Content)):]
	switch {
	case old.Kind == yaml.SequenceNode && len(more) == 1:
		v, ok := inline(more[0])
		return ", " + v, ok
	case old.Kind == yaml.MappingNode && len(more) == 2:
		k, okKey := inline(more[0])
		v, okValue := inline(more[1])
		return ", " + k + ": " + v, okKey && okValue
	}
	return "", false
}

func splice(text []byte, start, end int, repl string) []byte {
	return slices.Concat(text[:start], []byte(repl), text[end:])
}

// editLines adds or removes whole lines: a new last key or element of a block, or one that went away.
func editLines(text []byte, before, after *yaml.Node, parts []string) []byte {
	old, fresh := lowest(before, after, parts)
	if old == nil || old.Style&yaml.FlowStyle != 0 || len(old.Content) == 0 {
		return nil
	}
	switch {
	case len(fresh.Content) > len(old.Content):
		return appendLines(text, old, fresh)
	case len(fresh.Content) < len(old.Content) && len(fresh.Content) > 0:
		return removeLines(text, old, fresh)
	}
	return nil
}

// lowest finds the deepest pair of nodes on the path whose number of children differs.
func lowest(before, after *yaml.Node, parts []string) (old, fresh *yaml.Node) {
	for k := len(parts); k >= 0; k-- {
		o, f := find(before, parts[:k]), find(after, parts[:k])
		if o != nil && f != nil && o.Kind == f.Kind && len(o.Content) != len(f.Content) {
			return o, f
		}
	}
	return nil, nil
}

// lastLine is the line in which the last word of a node stands.
func lastLine(n *yaml.Node) int {
	line := n.Line
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		line += strings.Count(strings.TrimRight(n.Value, "\n"), "\n") + 1
	}
	for _, c := range n.Content {
		line = max(line, lastLine(c))
	}
	return line
}

func appendLines(text []byte, old, fresh *yaml.Node) []byte {
	added := &yaml.Node{Kind: old.Kind, Tag: old.Tag, Content: fresh.Content[len(old.Content):]}
	block, err := strict.Text(added)
	if err != nil {
		return nil
	}
	// A block sequence's own column is that of its dashes, a block mapping's that of its keys.
	indent := strings.Repeat(" ", old.Column-1)
	var b strings.Builder
	for line := range strings.Lines(string(block)) {
		b.WriteString(indent + line)
	}
	return insertAfter(text, endOf(text, old), b.String())
}

// endOf is lastLine, moved on over closing brackets of a list or map that is written over several lines.
func endOf(text []byte, n *yaml.Node) int {
	line := lastLine(n)
	lines := bytes.Split(text, []byte("\n"))
	for line < len(lines) && strings.Trim(string(lines[line]), " \t\r]},") == "" && len(bytes.TrimSpace(lines[line])) > 0 {
		line++
	}
	return line
}

func insertAfter(text []byte, line int, block string) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if line > len(lines) {
		return nil
	}
	head := bytes.Join(lines[:line], nil)
	if len(head) > 0 && !bytes.HasSuffix(head, []byte("\n")) {
		head = append(slices.Clone(head), '\n')
	}
	return slices.Concat(head, []byte(block), bytes.Join(lines[line:], nil))
}

func removeLines(text []byte, old, fresh *yaml.Node) []byte {
	step := 1
	if old.Kind == yaml.MappingNode {
		step = 2
	}
	gone := 0 // the first key or element that is not there any more
	for gone < len(fresh.Content) && Equal(old.Content[gone], fresh.Content[gone]) {
		gone += step
	}
	first := old.Content[gone]
	last := old.Content[gone+step-1]
	from, to := first.Line, max(first.Line, endOf(text, last))
	if head := first.HeadComment; head != "" {
		from -= strings.Count(head, "\n") + 1
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if from < 1 || to > len(lines) || from > to {
		return nil
	}
	for _, l := range lines[from-1 : first.Line-1] { // only comments may go along
		if t := bytes.TrimSpace(l); len(t) == 0 || t[0] != '#' {
			return nil
		}
	}
	return slices.Concat(bytes.Join(lines[:from-1], nil), bytes.Join(lines[to:], nil))
}

// editSection writes the one top-level key anew and leaves the others alone.
func editSection(text []byte, before, after *yaml.Node, parts []string) []byte {
	if before.Style&yaml.FlowStyle != 0 {
		return nil
	}
	o, f := keyIndex(before, parts[0]), keyIndex(after, parts[0])
	lines := bytes.SplitAfter(text, []byte("\n"))
	if o < 0 {
		section, ok := section(after, f, "")
		if !ok {
			return nil
		}
		return insertAfter(text, len(lines), section)
	}
	from := before.Content[o].Line - 1
	to := len(lines)
	if o+2 < len(before.Content) {
		to = before.Content[o+2].Line - 1
	}
	for to > from+1 && (len(bytes.TrimSpace(lines[to-1])) == 0 || lines[to-1][0] == '#') {
		to-- // what stands before the next key belongs to it
	}
	repl := ""
	if f >= 0 {
		var ok bool
		if repl, ok = section(after, f, string(bytes.Join(lines[to:], nil))); !ok {
			return nil
		}
	}
	return slices.Concat(bytes.Join(lines[:from], nil), []byte(repl), bytes.Join(lines[to:], nil))
}

// section writes one top-level key. Comments that stand in rest, the text behind it, are left to that.
func section(root *yaml.Node, i int, rest string) (string, bool) {
	key, value := copyNode(root.Content[i]), copyNode(root.Content[i+1])
	key.HeadComment = ""
	drop := func(n *yaml.Node) {
		if strings.Contains(rest, n.FootComment) {
			n.FootComment = ""
		}
	}
	drop(key)
	for n := value; ; n = n.Content[len(n.Content)-1] {
		drop(n)
		if len(n.Content) >= 2 && n.Kind == yaml.MappingNode {
			drop(n.Content[len(n.Content)-2])
		}
		if len(n.Content) == 0 {
			break
		}
	}
	text, err := strict.Text(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{key, value}})
	return string(text), err == nil
}
