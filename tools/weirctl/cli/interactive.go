package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// maxHistory is how many lines the history file keeps.
const maxHistory = 1000

// interactive reads commands until end of file or exit. Without a terminal it reads them from standard input, stops at the
// first that fails, and returns its status, so that a script of commands does not go on after an error.
func (s *session) interactive() int {
	out, ok := s.out.(*os.File)
	if !ok || !term.IsTerminal(int(s.in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return s.script(s.in)
	}
	return s.dialog(out)
}

func (s *session) script(in io.Reader) int {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		status, done := s.line(sc.Text())
		if done {
			return 0
		}
		if status != 0 {
			fmt.Fprintf(s.errs, "%s: stopped at line %d\n", s.name, n)
			return status
		}
	}
	if err := sc.Err(); err != nil {
		return s.report(err)
	}
	return 0
}

// line runs one line. Empty ones and comments do nothing.
func (s *session) line(line string) (status int, done bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return 0, false
	}
	words, err := split(line)
	if err != nil {
		return s.report(usagef("%v", err)), false
	}
	if len(words) == 1 && (words[0] == "exit" || words[0] == "quit") {
		return 0, true
	}
	return s.report(s.run(words)), false
}

// dialog is the interactive session on a terminal. Output goes through the terminal while it is raw; each command runs cooked,
// so that ^C ends it as usual.
func (s *session) dialog(out *os.File) int {
	fd := int(s.in.Fd())
	raw, err := term.MakeRaw(fd)
	if err != nil {
		return s.report(fmt.Errorf("terminal: %w", err))
	}
	defer func() { _ = term.Restore(fd, raw) }()
	screen := struct {
		io.Reader
		io.Writer
	}{s.in, out}
	t := term.NewTerminal(screen, s.prompt())
	if w, h, err := term.GetSize(fd); err == nil && w > 0 {
		_ = t.SetSize(w, h) // a size it does not like leaves the default
	}
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) { return s.tab(t, line, pos, key) }
	hist := openHistory()
	t.History = hist
	fmt.Fprintf(t, "%s: TAB completes, help lists commands, exit ends\n", s.name)
	for {
		line, err := t.ReadLine()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return s.report(err)
			}
			fmt.Fprint(out, "\r\n")
			hist.save()
			return 0
		}
		if err := term.Restore(fd, raw); err != nil {
			return s.report(fmt.Errorf("terminal: %w", err))
		}
		_, done := s.line(line)
		if done {
			hist.save()
			return 0
		}
		if _, err := term.MakeRaw(fd); err != nil {
			return s.report(fmt.Errorf("terminal: %w", err))
		}
	}
}

func (s *session) prompt() string {
	if s.fcli {
		return "fcli> "
	}
	return s.name + "> "
}

// tab completes the word before the cursor as far as it is certain, and lists what it may become.
func (s *session) tab(w io.Writer, line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	head := line[:pos]
	words, err := split(head)
	if err != nil {
		return line, pos, true
	}
	if head == "" || strings.HasSuffix(head, " ") {
		words = append(words, "")
	}
	last := words[len(words)-1]
	found := s.complete(words)
	add := strings.TrimPrefix(common(found), last)
	switch {
	case len(found) == 1:
		add += " "
	case len(found) > 1 && add == "":
		fmt.Fprintln(w, strings.Join(found, "  "))
	}
	if len(found) == 0 {
		add = ""
	}
	return head + add + line[pos:], pos + len(add), true
}

// history keeps the lines of former sessions, newest last. It implements term.History.
type history struct {
	path  string
	lines []string
}

func openHistory() *history {
	h := &history{}
	home, err := os.UserHomeDir()
	if err != nil {
		return h
	}
	h.path = filepath.Join(home, ".weirctl_history")
	if text, err := os.ReadFile(h.path); err == nil {
		for line := range strings.Lines(string(text)) {
			h.Add(strings.TrimSuffix(line, "\n"))
		}
	}
	return h
}

// Add takes a line that was entered. Secrets are not kept, nor is the same line twice in a row.
func (h *history) Add(line string) {
	line = strings.TrimSpace(line)
	if line == "" || strings.Contains(line, "password") || (len(h.lines) > 0 && h.lines[len(h.lines)-1] == line) {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > maxHistory {
		h.lines = h.lines[len(h.lines)-maxHistory:]
	}
}

// Len is the number of lines.
func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// save writes the history for the next session. A home that cannot be written to costs the history only.
func (h *history) save() {
	if h.path == "" || len(h.lines) == 0 {
		return
	}
	tmp := h.path + ".new"
	if os.WriteFile(tmp, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600) == nil {
		_ = os.Rename(tmp, h.path)
	}
}
