package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// session is one call of weirctl or one interactive session.
type session struct {
	client *client
	in     *os.File
	out    io.Writer
	errs   io.Writer
	// fcli speaks as FastNetMon's client does; json prints answers as they come; colour marks states on a terminal.
	fcli, json, colour bool
	limit              int
	name               string
}

// errUsage is an error that is the caller's way of asking.
type errUsage struct{ text string }

func (e errUsage) Error() string { return e.text }

func usagef(format string, args ...any) error { return errUsage{fmt.Sprintf(format, args...)} }

// errShown has been printed already.
var errShown = errors.New("shown")

const help = `usage: %[1]s [--socket PATH] [--json] [--limit N] WORDS...

  show WHAT              what is there and what happens
    show total_traffic_counters[_v4|_v6]
    show host_counters[_v4|_v6] [packets|bytes|flows] [incoming|outgoing]
    show network_counters[_v4|_v6], show hostgroup_counters   (as above)
    show single_host_counters IP          one host, all counters
    show ip_hostgroup IP                  which hostgroup an address is in
    show incidents [all|ID]               attacks, and why they are attacks
    show mitigations|blackhole|flowspec [UUID], show refusals
    show bgp_peers, show interfaces, show system_counters, show kill_switch
    show exporters [IP], show flow_sockets            routers that send flows
    show exporter_interfaces [IP]         what they report of their interfaces (sFlow)
    show flow_filter                      what flows.filter did with their records
    show netflow_sampling_rates|ipfix_sampling_rates|sflow_sampling_rates
    show netflow5_packets_per_device|netflow9_...|ipfix_...|sflow_packets_per_device
    show main [OPTION], show hostgroup|bgp|port [NAME [OPTION]]
    show history [NUMBER], show version
  set main OPTION VALUE                   configuration: a list grows, another value is replaced
  set hostgroup|bgp|port NAME [OPTION VALUE]
  delete main OPTION [VALUE]              a list shrinks, another option returns to its default
  delete hostgroup|bgp|port NAME [OPTION [VALUE]]
  diff, commit, discard                   what would change; do it, without a restart; forget it
  rollback [NUMBER]                       back to the configuration before, or to that number, at once
  export [FILE], import FILE, reload      the configuration as text; reload reads weir.yaml again
  set blackhole IP|NETWORK [TIME]         announce by hand; delete blackhole UUID ends it
  set kill_switch enable|disable          withdraw everything and announce nothing
  completion bash|zsh                     shell completion, to be sourced
Without words it is interactive: TAB completes, history is kept in ~/.weirctl_history.
`

// Main is the whole program: args[0] is its name. It returns the exit status.
func Main(args []string, in, out, errs *os.File) int {
	s := &session{in: in, out: out, errs: errs, name: filepath.Base(args[0]), limit: 20}
	s.fcli = s.name == "fcli"
	s.colour = term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	words, err := s.flags(args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(out, help, s.name)
		return 0
	}
	if err != nil {
		return s.report(usagef("%v; `%s --help` shows how", err, s.name))
	}
	if len(words) == 0 {
		return s.interactive()
	}
	return s.report(s.run(words))
}

// flags reads the options, which may stand anywhere among the words.
func (s *session) flags(args []string) ([]string, error) {
	fl := flag.NewFlagSet(s.name, flag.ContinueOnError)
	fl.SetOutput(io.Discard)
	socket := fl.String("socket", firstOf(os.Getenv("WEIR_SOCKET"), DefaultSocket), "")
	json := fl.Bool("json", os.Getenv("JSON_MODE") == "on", "")
	plain := fl.Bool("no-color", false, "")
	limit := fl.Int("limit", s.limit, "")
	var words []string
	for rest := args; len(rest) > 0; {
		if err := fl.Parse(rest); err != nil {
			return nil, err
		}
		rest = fl.Args()
		if len(rest) == 0 {
			break
		}
		if rest[0] == "__complete" { // words being typed are not options of ours
			words = rest
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	if *limit < 1 || *limit > 10000 {
		return nil, fmt.Errorf("--limit %d is outside 1..10000", *limit)
	}
	s.client, s.json, s.limit = newClient(*socket), *json, *limit
	s.colour = s.colour && !*plain
	return words, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// report prints an error and turns it into the exit status.
func (s *session) report(err error) int {
	var u errUsage
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errShown):
		return 1
	case errors.As(err, &u):
		fmt.Fprintf(s.errs, "%s: %s\n", s.name, u.text)
		return 2
	}
	fmt.Fprintf(s.errs, "%s: %v\n", s.name, err)
	return 1
}

// verbs are the first words there are.
var verbs = []string{
	"show", "set", "delete", "commit", "diff", "discard", "rollback", "export", "import", "reload", "history",
	"completion", "help", "version", "exit", "quit",
}

// run executes one command.
func (s *session) run(words []string) error {
	verb, rest := words[0], words[1:]
	switch verb {
	case "help", "--help":
		fmt.Fprintf(s.out, help, s.name)
		return nil
	case "completion":
		return s.completion(rest)
	case "__complete":
		fmt.Fprintln(s.out, strings.Join(s.complete(rest), "\n"))
		return nil
	case "show":
		if len(rest) == 0 {
			return usagef("show what? `%s help` lists it", s.name)
		}
		return s.show(rest)
	case "diff", "history", "version":
		return s.show(words)
	case "set":
		if len(rest) == 0 {
			return usagef("set what? `%s help` lists it", s.name)
		}
		if isVerb(rest[0]) {
			return usagef("%q is a command by itself: %s %s", rest[0], s.name, strings.Join(rest, " "))
		}
		return s.change(http.MethodPut, rest, nil)
	case "delete":
		if len(rest) == 0 {
			return usagef("delete what? `%s help` lists it", s.name)
		}
		return s.change(http.MethodDelete, rest, nil)
	case "commit", "discard", "rollback", "reload":
		return s.change(http.MethodPut, words, nil)
	case "export":
		return s.export(rest)
	case "import":
		return s.importFile(rest)
	}
	return usagef("%q is not a command%s; `%s help` lists them", verb, didYouMean(verb, verbs), s.name)
}

func isVerb(w string) bool {
	return slices.Contains([]string{"commit", "discard", "rollback", "reload", "import"}, w)
}

func didYouMean(word string, known []string) string {
	for _, k := range known {
		if len(word) >= 2 && (strings.HasPrefix(k, word) || len(k) > 3 && strings.HasPrefix(word, k[:3])) {
			return fmt.Sprintf("; did you mean %s?", k)
		}
	}
	return ""
}

// failed prints a refusal: every problem of a configuration on its own line, else the text.
func (s *session) failed(a *answer) error {
	if s.json {
		return errors.Join(errShown, s.raw(a))
	}
	if len(a.Problems) > 0 {
		fmt.Fprintf(s.errs, "%s: not done:\n", s.name)
		for _, line := range strings.Split(a.Error, "\n") {
			fmt.Fprintf(s.errs, "  %s\n", line)
		}
		return errShown
	}
	return errors.New(a.Error)
}

// raw prints the answer as it came.
func (s *session) raw(a *answer) error {
	_, err := s.out.Write(a.raw)
	return err
}

func (s *session) show(words []string) error {
	query := url.Values{}
	if strings.Contains(words[0], "_counters") && words[0] != "system_counters" {
		query.Set("limit", strconv.Itoa(s.limit))
	}
	a, err := s.client.ask(http.MethodGet, words, query, nil)
	if err != nil {
		return err
	}
	if !a.Success {
		return s.failed(a)
	}
	if s.json {
		return s.raw(a)
	}
	return s.print(words, a)
}

func (s *session) change(method string, words []string, body io.Reader) error {
	a, err := s.client.ask(method, words, nil, body)
	if err != nil {
		return err
	}
	if !a.Success {
		return s.failed(a)
	}
	if s.json {
		return s.raw(a)
	}
	if a.Warning != "" {
		fmt.Fprintf(s.errs, "%s: warning: %s\n", s.name, a.Warning)
	}
	if s.fcli {
		s.fcliDone(method, words)
		return nil
	}
	if a.Values != nil {
		if err := s.printDiff(a); err != nil {
			return err
		}
	}
	fmt.Fprintln(s.out, a.Message)
	return nil
}

// fcliDone prints what fcli prints after a change.
func (s *session) fcliDone(method string, words []string) {
	switch words[0] {
	case "blackhole", "hostgroup_block", "flowspec":
		if method == http.MethodPut {
			fmt.Fprintln(s.out, "Ban executed")
		} else {
			fmt.Fprintln(s.out, "Disabled correctly")
		}
	}
}

func (s *session) export(words []string) error {
	running := slices.Contains(words, "running")
	words = slices.DeleteFunc(words, func(w string) bool { return w == "running" })
	if len(words) > 1 {
		return usagef("usage: %s export [running] [FILE]", s.name)
	}
	path := []string{"export"}
	if running {
		path = append(path, "running")
	}
	a, err := s.client.ask(http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	if !a.Success {
		return s.failed(a)
	}
	text, err := a.text()
	if err != nil {
		return err
	}
	if len(words) == 0 || words[0] == "-" {
		_, err := io.WriteString(s.out, text)
		return err
	}
	f, err := os.OpenFile(words[0], os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // it may hold passwords
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (s *session) importFile(words []string) error {
	if len(words) != 1 {
		return usagef("usage: %s import FILE (- is standard input)", s.name)
	}
	in := s.in
	if words[0] != "-" {
		f, err := os.Open(words[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxAnswer))
	if err != nil {
		return err
	}
	if !utf8.Valid(text) {
		return fmt.Errorf("%s is not text", words[0])
	}
	return s.change(http.MethodPut, []string{"import"}, strings.NewReader(string(text)))
}
