package filter

import (
	"fmt"
	"strings"
)

// Error is a mistake in the rules.
type Error struct {
	// Source names the text: a file, or rules[2] for the third rule of the configuration.
	Source string
	// Line and Column count from 1; Column counts bytes.
	Line, Column int
	// Problem says what was expected and what was found.
	Problem string
}

// Error returns source:line:column: problem.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Source, e.Line, e.Column, e.Problem)
}

// tokenKind is what sort of token a token is.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota // the end of the line
	tokenWord
	tokenComma
	tokenOpen
	tokenClose
	tokenNot     // !
	tokenCompare // = == != < <= > >=
)

// token is one token of a line. text is as written.
type token struct {
	kind   tokenKind
	text   string
	column int // from 1
}

// String describes the token for an error message.
func (t token) String() string {
	if t.kind == tokenEnd {
		return "the end of the rule"
	}
	return fmt.Sprintf("%q", clip(t.text))
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// lex cuts one line into tokens; # starts a comment. bad is the column of a byte that begins no token, 0 when there is none.
func lex(line string) (tokens []token, bad int) {
	for i := 0; i < len(line); {
		start, c := i, line[i]
		var kind tokenKind
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == '#':
			return append(tokens, token{kind: tokenEnd, column: start + 1}), 0
		case c == ',':
			kind, i = tokenComma, i+1
		case c == '(':
			kind, i = tokenOpen, i+1
		case c == ')':
			kind, i = tokenClose, i+1
		case strings.IndexByte("=<>!", c) >= 0:
			kind, i = tokenCompare, i+1
			if i < len(line) && line[i] == '=' {
				i++
			} else if c == '!' {
				kind = tokenNot
			}
		case isWord(c):
			for i < len(line) && isWord(line[i]) {
				i++
			}
			kind = tokenWord
		default:
			return tokens, start + 1
		}
		tokens = append(tokens, token{kind: kind, text: line[start:i], column: start + 1})
	}
	return append(tokens, token{kind: tokenEnd, column: len(line) + 1}), 0
}

// isWord says that c may stand in a word: names, numbers, ranges, addresses, prefixes, flags.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._:/-", c) >= 0
}
