package cli

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Words that follow others whatever the appliance says; everything else is asked of it.
var (
	orders     = []string{"packets", "bytes", "flows"}
	directions = []string{"incoming", "outgoing"}
	switches   = []string{"enable", "disable"}
	objects    = []string{"hostgroup", "bgp", "port"}
)

// complete lists what the last of words may become. Words before it are complete. It asks the appliance for names and
// options and stays silent when that does not answer.
func (s *session) complete(words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var out []string
	for _, c := range s.candidates(words[:len(words)-1]) {
		if strings.HasPrefix(c, last) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// candidates are the words that may follow before.
func (s *session) candidates(before []string) []string {
	if len(before) == 0 {
		return verbs
	}
	verb, rest := before[0], before[1:]
	switch verb {
	case "show":
		return s.showCandidates(rest)
	case "set", "delete":
		return s.changeCandidates(verb, rest)
	case "rollback":
		if len(rest) == 0 {
			return s.column("number", "history")
		}
	case "commit":
		if len(rest) == 0 {
			return []string{"force"}
		}
	case "export":
		return []string{"running"}
	case "completion":
		if len(rest) == 0 {
			return []string{"bash", "zsh"}
		}
	}
	return nil
}

func (s *session) showCandidates(rest []string) []string {
	if len(rest) == 0 {
		names := s.strings("nouns")
		for _, n := range []string{"total_traffic_counters", "host_counters", "network_counters", "single_host_counters"} {
			if slices.Contains(names, n) {
				names = append(names, n+"_v4", n+"_v6")
			}
		}
		return names
	}
	noun := rest[0]
	switch {
	case noun == "main" || slices.Contains(objects, noun):
		if len(rest) <= 2 {
			return s.configCandidates(rest)
		}
	case strings.HasSuffix(noun, "_counters") || strings.Contains(noun, "_counters_"):
		if strings.HasPrefix(noun, "single") || noun == "system_counters" || strings.HasPrefix(noun, "total") {
			return nil
		}
		if len(rest) == 1 {
			return orders
		}
		if len(rest) == 2 {
			return directions
		}
	case len(rest) == 1 && (noun == "blackhole" || noun == "flowspec"):
		return s.column("uuid", noun)
	case len(rest) == 1 && noun == "mitigations":
		return s.column("id", noun)
	case len(rest) == 1 && noun == "incidents":
		return append(s.column("id", noun, "all"), "all")
	case len(rest) == 1 && noun == "history":
		return s.column("number", noun)
	}
	return nil
}

func (s *session) changeCandidates(verb string, rest []string) []string {
	if len(rest) == 0 {
		return append([]string{"main", "blackhole", "kill_switch"}, objects...)
	}
	noun := rest[0]
	switch {
	case noun == "kill_switch" && verb == "set" && len(rest) == 1:
		return switches
	case noun == "blackhole" && verb == "delete" && len(rest) == 1:
		return s.column("uuid", "blackhole")
	case noun == "main" && len(rest) == 2, slices.Contains(objects, noun) && len(rest) == 3:
		if verb == "delete" {
			return s.strings(rest...)
		}
		return s.valueCandidates(noun, rest[len(rest)-1])
	case noun == "main" && len(rest) == 1, slices.Contains(objects, noun) && len(rest) <= 2:
		return s.configCandidates(rest)
	}
	return nil
}

// configCandidates are options of main, names of objects, or options of one.
func (s *session) configCandidates(rest []string) []string {
	noun := rest[0]
	if noun != "main" && len(rest) == 1 {
		return s.strings(noun)
	}
	if noun == "main" && len(rest) > 1 {
		return nil
	}
	var out []string
	for _, k := range s.keys() {
		rest, inside := strings.CutPrefix(k.Path, prefixOf[noun])
		if inside && (noun != "main" || !strings.Contains(k.Path, "*")) {
			out = append(out, rest)
		}
	}
	return out
}

var prefixOf = map[string]string{"main": "", "hostgroup": "hostgroups.*.", "bgp": "bgp.peers.*.", "port": "ports.*."}

func (s *session) valueCandidates(noun, option string) []string {
	for _, k := range s.keys() {
		if k.Path == prefixOf[noun]+option && k.Type == "bool" {
			return switches
		}
	}
	return nil
}

type key struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

func (s *session) keys() []key {
	list, _ := decode[[]key](s.quiet("keys").Values)
	return list
}

func (s *session) strings(words ...string) []string {
	list, _ := decode[[]string](s.quiet(words...).Values)
	return list
}

// column is one field of every object of a list.
func (s *session) column(field string, words ...string) []string {
	list, _ := decode[[]map[string]any](s.quiet(words...).Values)
	var out []string
	for _, o := range list {
		if v, ok := o[field]; ok {
			out = append(out, inline(v))
		}
	}
	return out
}

// patience is how long completion waits: somebody is typing.
const patience = 2 * time.Second

// quiet asks and takes every failure for an empty answer.
func (s *session) quiet(words ...string) *answer {
	c := newClient(s.client.socket)
	c.http.Timeout = patience
	a, err := c.ask(http.MethodGet, words, nil, nil)
	if err != nil || !a.Success {
		return &answer{}
	}
	return a
}

const bashCompletion = `# %[1]s completion for bash: source <(%[1]s completion bash)
_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} word
	local IFS=$'\n'
	# a colon is part of our words (2001:db8::1), not their end
	if declare -F _get_comp_words_by_ref >/dev/null; then
		local words cword
		_get_comp_words_by_ref -n : cur words cword
		COMPREPLY=($(%[1]s __complete "${words[@]:1:cword}" 2>/dev/null))
		declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
	else
		COMPREPLY=($(%[1]s __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
	fi
	case ${COMP_WORDS[1]} in import|export) COMPREPLY+=($(compgen -f -- "$cur"));; esac
}
complete -F _%[1]s %[1]s
`

const zshCompletion = `#compdef %[1]s
# %[1]s completion for zsh: source <(%[1]s completion zsh)
_%[1]s() {
	local -a found
	found=("${(@f)$(%[1]s __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	(( ${#found} )) && compadd -- $found
	[[ ${words[2]} == (import|export) ]] && _files
}
compdef _%[1]s %[1]s
`

func (s *session) completion(words []string) error {
	if len(words) != 1 || (words[0] != "bash" && words[0] != "zsh") {
		return usagef("usage: %s completion bash|zsh", s.name)
	}
	script := bashCompletion
	if words[0] == "zsh" {
		script = zshCompletion
	}
	fmt.Fprintf(s.out, script, s.name)
	return nil
}
