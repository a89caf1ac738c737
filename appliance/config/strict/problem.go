package strict

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	// File is the name the text was read under; Line is 1-based, 0 when no line is to blame.
	File string `json:"file"`
	Line int    `json:"line"`
	// Path is the key that is to blame, such as hostgroups.global.threshold_pps; empty for the text as a whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong and, where it can, what to write instead.
	Message string `json:"message"`
	// Soft is set when the rest of the section could be read all the same: a key too many or given twice.
	Soft bool `json:"-"`
}

// String is "file:line: path: message", leaving out what is unknown.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is a list of problems that is an error when it is not empty.
type Problems []Problem

// Error lists every problem, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err is ps as an error, sorted by line and without repetition, or nil when there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.Sorted()
}

// Sorted returns the problems by line, then path, each once.
func (ps Problems) Sorted() Problems {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(out)
}

// Lines knows the line of every key that was bound.
type Lines map[string]int

// Of returns the line of path, or of its nearest ancestor that has one, or 0.
func (l Lines) Of(path string) int {
	for {
		if n, ok := l[path]; ok {
			return n
		}
		if path == "" {
			return 0
		}
		path = Parent(path)
	}
}

// Join appends a key to a path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	if key == "" {
		return path
	}
	if key[0] == '[' {
		return path + key
	}
	return path + "." + key
}

// Index appends a list index to a path.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// Parent is the path without its last key or index; the parent of a single key is "".
func Parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// Split takes a path apart into keys and indexes; an index is written as [n].
func Split(path string) []string {
	var out []string
	for part := range strings.SplitSeq(path, ".") {
		key, rest, found := strings.Cut(part, "[")
		if key != "" {
			out = append(out, key)
		}
		for found {
			var idx string
			idx, rest, _ = strings.Cut(rest, "]")
			out = append(out, "["+idx+"]")
			_, rest, found = strings.Cut(rest, "[")
		}
	}
	return out
}

// FromError turns an error of a Validate method into problems below base. Joined errors are taken apart. A message that begins
// with a key ("queues: ...", "peers[0].asn: ...") has the key moved into the path; lines come from where the keys stand.
func FromError(file, base string, err error, lines Lines) Problems {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok && isJoin(err, many.Unwrap()) {
		var out Problems
		for _, e := range many.Unwrap() {
			out = append(out, FromError(file, base, e, lines)...)
		}
		return out
	}
	var out Problems
	for msg := range strings.SplitSeq(err.Error(), "\n") {
		if strings.TrimSpace(msg) == "" {
			continue
		}
		path := base
		for {
			key, rest, ok := strings.Cut(msg, ": ")
			if !ok || !isPath(key) {
				break
			}
			path, msg = Join(path, key), rest
		}
		out = append(out, Problem{File: file, Line: lines.Of(path), Path: path, Message: msg})
	}
	return out
}

// isJoin tells errors.Join from fmt.Errorf with several %w: only the former is nothing but its parts.
func isJoin(err error, parts []error) bool {
	msgs := make([]string, len(parts))
	for i, p := range parts {
		msgs[i] = p.Error()
	}
	return err.Error() == strings.Join(msgs, "\n")
}

// isPath says whether s looks like a configuration key or a path of keys rather than like words.
func isPath(s string) bool {
	return len(s) <= 200 && pathLike.MatchString(s)
}

var pathLike = regexp.MustCompile(`^([a-z\[]|[0-9][a-z])[A-Za-z0-9_.\[\]-]*$`)
