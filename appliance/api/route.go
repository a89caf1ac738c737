package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/strict"
)

// request is one HTTP request whose path is the words of a command.
type request struct {
	*http.Request
	words []string
	peer  peer
}

// Bounds of a path.
const (
	maxWords = 8
	maxWord  = 64 << 10
)

// parsePath splits an escaped path into words. A slash inside a word is %2f. Control characters are refused: no value of
// ours has any, and logs show these words.
func parsePath(escaped string) ([]string, error) {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")
	if len(parts) > maxWords {
		return nil, fmt.Errorf("more than %d words", maxWords)
	}
	for i, p := range parts {
		w, err := url.PathUnescape(p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is not escaped properly", p)
		case len(w) > maxWord:
			return nil, errors.New("a word is too long")
		case !utf8.ValidString(w) || strings.ContainsFunc(w, unicode.IsControl):
			return nil, errors.New("a word has characters that no value has")
		case w == "" && len(parts) > 1 && i < len(parts)-1:
			return nil, errors.New("a word is empty")
		}
		parts[i] = w
	}
	return parts, nil
}

// command is the request in words, for the audit.
func (q *request) command() string {
	words := append([]string(nil), q.words...)
	if n := len(words); n >= 2 && config.Secret(words[n-2]) {
		words[n-1] = "(hidden)"
	}
	cmd := strings.Join(words, " ")
	switch {
	case isVerb(words[0]):
		return cmd
	case q.Method == http.MethodDelete:
		return "delete " + cmd
	default:
		return "set " + cmd
	}
}

func isVerb(w string) bool {
	switch w {
	case "commit", "rollback", "discard", "import", "reload":
		return true
	}
	return false
}

// word returns the i-th word, or "".
func (q *request) word(i int) string {
	if i < len(q.words) {
		return q.words[i]
	}
	return ""
}

// want refuses a request with more or fewer words.
func (q *request) want(least, most int, usage string) error {
	if len(q.words) < least || len(q.words) > most {
		return fail(http.StatusBadRequest, "usage: %s", usage)
	}
	return nil
}

// number reads a whole number of the query string within bounds.
func (q *request) number(name string, def, most int) (int, error) {
	s := q.URL.Query().Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, fail(http.StatusBadRequest, "%s: %q is outside 1..%d", name, s, most)
	}
	return n, nil
}

// body reads the request's body, bounded as a configuration file is.
func (q *request) body() ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(q.Body, config.MaxFile+1))
	if err != nil {
		return nil, fail(http.StatusBadRequest, "reading the request: %v", err)
	}
	if len(text) > config.MaxFile {
		return nil, fail(http.StatusRequestEntityTooLarge, "larger than %d MiB", config.MaxFile>>20)
	}
	return text, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := strict.ParseAddr(s)
	if err != nil {
		return a, failure{status: http.StatusBadRequest, err: err}
	}
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := strict.ParsePrefix(s)
	if err != nil {
		return p, failure{status: http.StatusBadRequest, err: err}
	}
	return p, nil
}
