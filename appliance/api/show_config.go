package api

import (
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/strict"
)

func (s *Server) showHistory(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "show history [NUMBER]"); err != nil {
		return envelope{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.cand.revisions()
	if err != nil {
		return envelope{}, err
	}
	if q.word(1) == "" {
		return envelope{Values: append([]config.Revision{}, list...)}, nil
	}
	n, err := revision(q.word(1))
	if err != nil {
		return envelope{}, err
	}
	text, err := s.cand.archive.Text(n)
	if err != nil {
		return envelope{}, failure{status: http.StatusNotFound, err: err}
	}
	return s.text(q, text)
}

// text shows a configuration: as it is written to those who may change it, who can read passwords anyway; in canonical form
// without secrets to others.
func (s *Server) text(q *request, text []byte) (envelope, error) {
	if rightsOf(q.peer, *s.groups.Load()).change {
		return envelope{Value: string(text)}, nil
	}
	cfg, err := config.Read(s.cand.path, text)
	if err != nil {
		return envelope{}, err
	}
	tree, err := strict.Encode(cfg)
	if err != nil {
		return envelope{}, err
	}
	hideSecrets(tree, "")
	out, err := strict.Text(tree)
	return envelope{Value: string(out)}, err
}

func hideSecrets(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			hideSecrets(n.Content[i+1], strict.Join(path, n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for _, e := range n.Content {
			hideSecrets(e, path)
		}
	default:
		if config.Secret(path) && n.Value != "" {
			n.Value = "(hidden)"
		}
	}
}

func (s *Server) showDiff(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 1, "diff"); err != nil {
		return envelope{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, err := s.cand.diff()
	return list(changes), err
}

func (s *Server) showExport(q *request, _ Family) (envelope, error) {
	if err := q.want(1, 2, "export [running]"); err != nil {
		return envelope{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.word(1) == "running" {
		return s.text(q, s.cand.runningText)
	}
	return s.text(q, s.cand.doc.Text())
}

// showConfig shows what the candidate has: all options of main or of one object, one option, or the objects' names.
func (s *Server) showConfig(q *request, c *category) (envelope, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tree, err := s.cand.tree()
	if err != nil {
		return envelope{}, err
	}
	if q.words[0] == "main" {
		return showMain(q, tree)
	}
	if len(q.words) == 1 {
		return showObjects(c, tree), nil
	}
	parts, found := c.object(s.cand.doc, q.words[1])
	always := q.words[0] == "hostgroup" && q.words[1] == "global"
	if !found && !always {
		return envelope{}, s.noObject(q.words[0], q.words[1], tree)
	}
	if len(q.words) == 2 {
		return envelope{Object: plain(nodeAt(tree, parts), strings.Join(parts, "."))}, nil
	}
	if err := q.want(1, 3, "show "+q.words[0]+" NAME OPTION"); err != nil {
		return envelope{}, err
	}
	t, err := c.peerOption(q.words[0], parts, q.words[2])
	if err != nil {
		return envelope{}, err
	}
	return showOption(t, tree), nil
}

// noObject says that there is no such object, and which there are.
func (s *Server) noObject(noun, name string, tree *yaml.Node) error {
	names, _ := showObjects(categories[noun], tree).Values.([]string)
	hint := orNear(name, names)
	if hint == "" {
		hint = fmt.Sprintf("; `set %s %s` makes it", noun, name)
	}
	return fail(http.StatusNotFound, "there is no %s %q%s", noun, name, hint)
}

func showMain(q *request, tree *yaml.Node) (envelope, error) {
	if len(q.words) == 1 {
		out := plain(tree, "").(map[string]any)
		delete(out, "hostgroups")
		return envelope{Object: out}, nil
	}
	if err := q.want(2, 2, "show main [OPTION]"); err != nil {
		return envelope{}, err
	}
	t, err := mainOption(q.words[1])
	if err != nil {
		return envelope{}, err
	}
	return showOption(t, tree), nil
}

func showObjects(c *category, tree *yaml.Node) envelope {
	names := []string{}
	n := nodeAt(tree, c.base)
	if n == nil {
		return envelope{Values: names}
	}
	for i, e := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			names = append(names, e.Value)
		}
		if n.Kind == yaml.SequenceNode {
			for k := 0; k+1 < len(e.Content); k += 2 {
				if e.Content[k].Value == c.byName {
					names = append(names, e.Content[k+1].Value)
				}
			}
		}
	}
	return envelope{Values: names}
}

// showOption is a list's values or a single value; a key that is not set has none.
func showOption(t target, tree *yaml.Node) envelope {
	n := nodeAt(tree, t.parts)
	if n == nil {
		if t.list {
			return envelope{Values: []string{}}
		}
		return envelope{Value: "", Message: t.path() + " is not set"}
	}
	switch v := plain(n, t.path()).(type) {
	case []any:
		return envelope{Values: v}
	case map[string]any:
		return envelope{Object: v}
	default:
		return envelope{Value: v}
	}
}

// nodeAt walks a tree that was encoded from the configuration.
func nodeAt(n *yaml.Node, parts []string) *yaml.Node {
	for _, part := range parts {
		var next *yaml.Node
		if n.Kind == yaml.SequenceNode {
			var i int
			if _, err := fmt.Sscanf(part, "[%d]", &i); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				next = n.Content[i+1]
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

// plain turns a tree into what encoding/json writes. Secrets are hidden: whoever set them knows them.
func plain(n *yaml.Node, path string) any {
	if n == nil {
		return map[string]any{}
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = plain(n.Content[i+1], strict.Join(path, n.Content[i].Value))
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, e := range n.Content {
			out[i] = plain(e, path)
		}
		return out
	}
	if config.Secret(path) && n.Value != "" {
		return "(hidden)"
	}
	var v any
	if n.Tag == "!!str" || n.Decode(&v) != nil {
		return n.Value
	}
	return v
}
