package edit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// Doc is a YAML text that is edited by path.
type Doc struct {
	name string
	text []byte
}

// New takes a text that must be one YAML document whose top is a mapping. The name is used in errors.
func New(name string, text []byte) (*Doc, error) {
	d := &Doc{name: name, text: slices.Clone(text)}
	if _, err := d.tree(); err != nil {
		return nil, err
	}
	return d, nil
}

// Text is the text as it is now.
func (d *Doc) Text() []byte { return slices.Clone(d.text) }

func (d *Doc) tree() (*yaml.Node, error) {
	root, problems := strict.Parse(d.name, d.text)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: must be a map of keys and values", d.name)
	}
	return root, nil
}

// Get returns the node at path, or nil.
func (d *Doc) Get(parts []string) *yaml.Node {
	root, err := d.tree()
	if err != nil {
		return nil
	}
	return find(root, parts)
}

// find walks down; a list element is named [n].
func find(n *yaml.Node, parts []string) *yaml.Node {
	for _, part := range parts {
		if i, ok := index(part); ok {
			if n.Kind != yaml.SequenceNode || i >= len(n.Content) {
				return nil
			}
			n = n.Content[i]
			continue
		}
		i := keyIndex(n, part)
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

func index(part string) (int, bool) {
	num, ok := strings.CutPrefix(part, "[")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSuffix(num, "]"))
	return i, err == nil && i >= 0
}

// keyIndex is the place of a key in a mapping's Content, -1 when there is none.
func keyIndex(n *yaml.Node, key string) int {
	if n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// Set gives path a value, replacing what is there; maps on the way are made.
func (d *Doc) Set(parts []string, value *yaml.Node) error {
	path := strings.Join(parts, ".")
	return d.change(parts, func(root *yaml.Node) error {
		parent, err := descend(root, parts[:len(parts)-1])
		if err != nil {
			return err
		}
		last := parts[len(parts)-1]
		if i, ok := index(last); ok {
			if parent.Kind != yaml.SequenceNode || i >= len(parent.Content) {
				return fmt.Errorf("%s: there is no such element", path)
			}
			replace(parent.Content[i], value)
			return nil
		}
		if parent.Kind != yaml.MappingNode {
			return fmt.Errorf("%s: is not a map", strings.Join(parts[:len(parts)-1], "."))
		}
		if i := keyIndex(parent, last); i >= 0 {
			replace(parent.Content[i+1], value)
			return nil
		}
		parent.Content = append(parent.Content, word(last), value)
		return nil
	})
}

// Append adds a value to the list at path, which is made when it is missing.
func (d *Doc) Append(parts []string, value *yaml.Node) error {
	path := strings.Join(parts, ".")
	return d.change(parts, func(root *yaml.Node) error {
		parent, err := descend(root, parts[:len(parts)-1])
		if err != nil {
			return err
		}
		last := parts[len(parts)-1]
		i := keyIndex(parent, last)
		if i < 0 {
			list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
			if value.Kind == yaml.ScalarNode {
				list.Style = yaml.FlowStyle
			}
			list.Content = []*yaml.Node{value}
			parent.Content = append(parent.Content, word(last), list)
			return nil
		}
		list := parent.Content[i+1]
		if list.Kind != yaml.SequenceNode {
			return fmt.Errorf("%s: is not a list", path)
		}
		list.Content = append(list.Content, value)
		return nil
	})
}

// Remove takes path, a key or a list element, out of the text.
func (d *Doc) Remove(parts []string) error {
	path := strings.Join(parts, ".")
	return d.change(parts, func(root *yaml.Node) error {
		last := parts[len(parts)-1]
		parent := find(root, parts[:len(parts)-1])
		if parent == nil {
			return fmt.Errorf("%s: is not set", path)
		}
		if i, ok := index(last); ok && parent.Kind == yaml.SequenceNode && i < len(parent.Content) {
			parent.Content = slices.Delete(parent.Content, i, i+1)
			return nil
		}
		i := keyIndex(parent, last)
		if i < 0 {
			return fmt.Errorf("%s: is not set", path)
		}
		parent.Content = slices.Delete(parent.Content, i, i+2)
		if len(parent.Content) == 0 {
			parent.Style = yaml.FlowStyle
		}
		return nil
	})
}

// descend finds the node at parts, making empty maps where there is nothing or an empty value.
func descend(n *yaml.Node, parts []string) (*yaml.Node, error) {
	for k, part := range parts {
		if i, ok := index(part); ok {
			if n.Kind != yaml.SequenceNode || i >= len(n.Content) {
				return nil, fmt.Errorf("%s: there is no such element", strings.Join(parts[:k+1], "."))
			}
			n = n.Content[i]
			continue
		}
		if n.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s: is not a map", strings.Join(parts[:k], "."))
		}
		i := keyIndex(n, part)
		if i < 0 {
			next := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			n.Content = append(n.Content, word(part), next)
			n = next
			continue
		}
		next := n.Content[i+1]
		if next.Kind == yaml.ScalarNode && next.Tag == "!!null" {
			*next = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", LineComment: next.LineComment}
		}
		if next.Kind == yaml.MappingNode && len(next.Content) == 0 {
			next.Style = 0 // "{}" opens into a block when it gets a key
		}
		n = next
	}
	return n, nil
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// replace changes a node's value and keeps its comments.
func replace(n, value *yaml.Node) {
	fresh := *value
	fresh.HeadComment, fresh.LineComment, fresh.FootComment = n.HeadComment, n.LineComment, n.FootComment
	fresh.Line, fresh.Column = n.Line, n.Column
	*n = fresh
}

// change applies f to a copy of the tree and brings the text in line with it.
func (d *Doc) change(parts []string, f func(root *yaml.Node) error) error {
	if len(parts) == 0 {
		return fmt.Errorf("%s: no key was named", d.name)
	}
	before, err := d.tree()
	if err != nil {
		return err
	}
	after, err := d.tree()
	if err != nil {
		return err
	}
	if err := f(after); err != nil {
		return err
	}
	for _, try := range []func([]byte, *yaml.Node, *yaml.Node, []string) []byte{editValue, editLines, editSection} {
		if text := try(d.text, before, after, parts); text != nil && d.means(text, after) {
			d.text = text
			return nil
		}
	}
	text, err := strict.Text(after)
	if err != nil {
		return err
	}
	d.text = text
	return nil
}

// means says whether text parses to the values of want.
func (d *Doc) means(text []byte, want *yaml.Node) bool {
	got, problems := strict.Parse(d.name, text)
	return len(problems) == 0 && Equal(got, want)
}

// Equal compares two trees by their values: kinds, tags, texts, and order; not comments, styles or lines.
func Equal(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode && (a.Value != b.Value || a.ShortTag() != b.ShortTag()) {
		return false
	}
	for i := range a.Content {
		if !Equal(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
