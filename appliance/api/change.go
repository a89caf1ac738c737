package api

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/edit"
	"github.com/weir-ddos/weir/appliance/config/strict"
)

// put answers PUT and DELETE.
func (s *Server) put(q *request) (envelope, error) {
	del := q.Method == http.MethodDelete
	noun := q.words[0]
	if _, ok := categories[noun]; ok {
		return s.editConfig(q, del)
	}
	switch {
	case noun == "blackhole" && del, noun == "flowspec" && del, noun == "mitigations" && del:
		return s.withdraw(q)
	case noun == "blackhole":
		return s.setBlackhole(q)
	case noun == "kill_switch":
		return s.setKillSwitch(q, del)
	case del:
		return envelope{}, fail(http.StatusNotFound, "there is nothing called %q to delete", noun)
	}
	switch noun {
	case "commit":
		return s.commit(q)
	case "rollback":
		return s.rollback(q)
	case "discard":
		return s.discard(q)
	case "import":
		return s.importText(q)
	case "reload":
		return s.reload(q.peer)
	}
	return envelope{}, fail(http.StatusNotFound, "there is nothing called %q to set%s", noun,
		orNear(noun, []string{"main", "hostgroup", "bgp", "port", "blackhole", "kill_switch", "commit", "rollback", "discard", "import", "reload"}))
}

func (s *Server) setBlackhole(q *request) (envelope, error) {
	if err := q.want(2, 3, "set blackhole IP [TIME]"); err != nil {
		return envelope{}, err
	}
	p, err := parsePrefix(q.words[1])
	if err != nil {
		return envelope{}, err
	}
	var d time.Duration
	if w := q.word(2); w != "" {
		if d, err = strict.ParseDuration(w); err != nil || d <= 0 {
			return envelope{}, fail(http.StatusBadRequest, "%q is not a time such as 10m or 2h", w)
		}
	}
	m, err := s.deps.Runtime.SetBlackhole(q.Context(), p, d, q.peer.Actor)
	if err != nil {
		return envelope{}, err
	}
	return envelope{Object: m, Message: fmt.Sprintf("Ban executed: %s, until %s", m.Prefix, m.Expires.UTC().Format(time.RFC3339))}, nil
}

func (s *Server) withdraw(q *request) (envelope, error) {
	if err := q.want(2, 2, "delete blackhole UUID"); err != nil {
		return envelope{}, err
	}
	if err := s.deps.Runtime.Withdraw(q.Context(), q.words[1], q.peer.Actor); err != nil {
		return envelope{}, err
	}
	return envelope{Message: "Disabled correctly"}, nil
}

func (s *Server) setKillSwitch(q *request, del bool) (envelope, error) {
	on, ok := strict.ParseBool(q.word(1))
	if del {
		on, ok = false, len(q.words) == 1
	} else if err := q.want(2, 2, "set kill_switch enable|disable"); err != nil {
		return envelope{}, err
	}
	if !ok {
		return envelope{}, fail(http.StatusBadRequest, "usage: set kill_switch enable|disable")
	}
	if err := s.deps.Runtime.SetKillSwitch(q.Context(), on, q.peer.Actor); err != nil {
		return envelope{}, err
	}
	if on {
		return envelope{Message: "The kill switch is on: everything is withdrawn and nothing is announced until `set kill_switch disable`"}, nil
	}
	return envelope{Message: "The kill switch is off: mitigation goes on"}, nil
}

const afterEdit = "changed in the candidate; `diff` shows it, `commit` applies it"

// editConfig handles set and delete of main, hostgroup, bgp and port.
func (s *Server) editConfig(q *request, del bool) (envelope, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	message := afterEdit
	err := s.cand.change(func(doc *edit.Doc) error {
		if q.words[0] == "main" {
			return editMain(doc, q, del)
		}
		return editObject(doc, q, del, &message)
	})
	if err != nil {
		return envelope{}, err
	}
	return envelope{Message: message}, nil
}

func editMain(doc *edit.Doc, q *request, del bool) error {
	if del {
		if err := q.want(2, 3, "delete main OPTION [VALUE]"); err != nil {
			return err
		}
	} else if err := q.want(3, 3, "set main OPTION VALUE"); err != nil {
		return err
	}
	t, err := mainOption(q.words[1])
	if err != nil {
		return err
	}
	return apply(doc, t, q, del, 2)
}

// apply sets or removes the value at word i.
func apply(doc *edit.Doc, t target, q *request, del bool, i int) error {
	if !del {
		return t.set(doc, q.words[i])
	}
	if i < len(q.words) {
		return t.remove(doc, &q.words[i])
	}
	return t.remove(doc, nil)
}

func editObject(doc *edit.Doc, q *request, del bool, message *string) error {
	noun, c := q.words[0], categories[q.words[0]]
	if err := q.want(2, 4, usage(noun, del)); err != nil {
		return err
	}
	name := q.words[1]
	if err := validName(name); err != nil {
		return err
	}
	parts, found := c.object(doc, name)
	if noun == "hostgroup" && name == "global" && !found {
		if err := doc.Set(parts, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}); err != nil {
			return err
		}
		found = true
	}
	if len(q.words) == 2 {
		return editWhole(doc, c, q, parts, found, del)
	}
	if !found {
		return fail(http.StatusNotFound, "there is no %s %q; `set %s %s` makes it", noun, name, noun, name)
	}
	if !del && len(q.words) != 4 {
		return fail(http.StatusBadRequest, "usage: %s", usage(noun, del))
	}
	if handled, err := peerSpecial(doc, q, parts, del, message); handled || err != nil {
		return err
	}
	t, err := c.peerOption(noun, parts, q.words[2])
	if err != nil {
		return err
	}
	return apply(doc, t, q, del, 3)
}

func usage(noun string, del bool) string {
	if del {
		return fmt.Sprintf("delete %s NAME [OPTION [VALUE]]", noun)
	}
	return fmt.Sprintf("set %s NAME [OPTION VALUE]", noun)
}

// editWhole makes or removes an object.
func editWhole(doc *edit.Doc, c *category, q *request, parts []string, found, del bool) error {
	noun, name := q.words[0], q.words[1]
	switch {
	case del && !found:
		return fail(http.StatusNotFound, "there is no %s %q", noun, name)
	case del && noun == "hostgroup" && name == "global":
		return fail(http.StatusConflict, "the hostgroup global always exists; delete single options of it")
	case del:
		return doc.Remove(parts)
	case found:
		return nil // as in fcli, making it twice is no error
	case c.byName == "":
		return doc.Set(parts, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle})
	}
	n, err := config.Value(reflect.TypeFor[string](), name)
	if err != nil {
		return err
	}
	return doc.Append(c.base, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: c.byName}, n,
	}})
}

// peerOption is option, and for BGP peers the option that belongs to the speaker as a whole.
func (c *category) peerOption(noun string, parts []string, word string) (target, error) {
	if noun == "bgp" {
		switch word {
		case "local_asn":
			return at([]string{"bgp", "asn"})
		case "multihop":
			word = "multihop_ttl"
		}
	}
	return c.option(parts, word)
}

// multihopTTL is what FastNetMon's switch multihop means.
const multihopTTL = "255"

// peerSpecial handles FastNetMon's switches of a BGP peer that are no switches here.
func peerSpecial(doc *edit.Doc, q *request, parts []string, del bool, message *string) (bool, error) {
	if q.words[0] != "bgp" || del || (q.words[2] != "multihop" && q.words[2] != "active") {
		return false, nil
	}
	on, ok := strict.ParseBool(q.words[3])
	switch {
	case !ok:
		return true, fail(http.StatusBadRequest, "%s: must be enable or disable, not %q", q.words[2], q.words[3])
	case q.words[2] == "active" && on:
		*message = "a peer is active as soon as it is committed; nothing to change"
		return true, nil
	case q.words[2] == "active":
		return true, fail(http.StatusConflict, "a configured peer is always active; `delete bgp %s` ends the session", q.words[1])
	}
	t, err := at(append(slices.Clone(parts), "multihop_ttl"))
	if err != nil {
		return true, err
	}
	if on {
		return true, t.set(doc, multihopTTL)
	}
	if doc.Get(t.parts) == nil {
		return true, nil
	}
	return true, doc.Remove(t.parts)
}

func (s *Server) commit(q *request) (envelope, error) {
	if err := q.want(1, 2, "commit [force]"); err != nil {
		return envelope{}, err
	}
	force := q.word(1) == "force"
	if len(q.words) == 2 && !force {
		return envelope{}, fail(http.StatusBadRequest, "usage: commit [force]")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, warning, err := s.cand.commit(s.deps.Now(), q.peer, "commit", force)
	return s.committed(changes, warning, err, "")
}

// committed makes the answer after a commit and follows the API's own part of it. mu is held.
func (s *Server) committed(changes []config.Change, warning string, err error, what string) (envelope, error) {
	if err != nil && changes == nil {
		return envelope{}, err
	}
	api := s.cand.running.API
	old := s.groups.Swap(&api)
	if old.Socket != api.Socket && s.listener != nil {
		if lerr := s.listen(api.Socket); lerr != nil {
			warning += " " + lerr.Error()
		}
	}
	n := fmt.Sprintf("%d changes", len(changes))
	if len(changes) == 1 {
		n = "1 change"
	}
	e := list(changes)
	e.Warning = warning
	e.Message = what + n + " in force"
	if len(changes) == 0 {
		e.Message = what + "nothing to change"
	}
	return e, err
}

func (s *Server) rollback(q *request) (envelope, error) {
	if err := q.want(1, 3, "rollback [NUMBER] [force]"); err != nil {
		return envelope{}, err
	}
	n, force := 0, false
	for _, w := range q.words[1:] {
		if w == "force" {
			force = true
			continue
		}
		var err error
		if n, err = revision(w); err != nil {
			return envelope{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	edits := s.cand.dirty()
	n, changes, warning, err := s.cand.rollback(s.deps.Now(), q.peer, n, force)
	if err == nil && edits {
		warning += "edits that were not committed are gone"
	}
	return s.committed(changes, warning, err, fmt.Sprintf("back to configuration %d: ", n))
}

func revision(w string) (int, error) {
	n, err := strconv.Atoi(w)
	if err != nil || n < 1 {
		return 0, fail(http.StatusBadRequest, "%q is not the number of a configuration; `show history` lists them", w)
	}
	return n, nil
}

func (s *Server) discard(q *request) (envelope, error) {
	if err := q.want(1, 1, "discard"); err != nil {
		return envelope{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return envelope{Message: "the candidate is what runs"}, s.cand.discard()
}

func (s *Server) importText(q *request) (envelope, error) {
	if err := q.want(1, 1, "import FILE"); err != nil {
		return envelope{}, err
	}
	text, err := q.body()
	if err != nil {
		return envelope{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.cand.replace(text); err != nil {
		return envelope{}, err
	}
	return envelope{Message: "read into the candidate; `diff` shows what would change, `commit` applies it"}, nil
}

// reload takes over the file as it is on disk.
func (s *Server) reload(p peer) (envelope, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := config.ReadFile(s.cand.path)
	if err != nil {
		return envelope{}, err
	}
	before := s.cand.doc
	if err := s.cand.replace(text); err != nil {
		return envelope{}, err
	}
	changes, warning, err := s.cand.commit(s.deps.Now(), p, "reload", true)
	if err != nil {
		s.cand.doc = before
	}
	return s.committed(changes, warning, err, "file read again: ")
}
