package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of the rules: far above any use, low enough that compiling is quick.
const (
	maxText  = 1 << 20 // bytes of one source
	maxRules = 4096    // rules in all
	maxDepth = 64      // parentheses and nots inside each other
	maxTests = 1 << 16 // tests in all rules
)

// Verdict is what a rule says of the records that match it.
type verdict bool

const (
	drop verdict = false
	keep verdict = true
)

// rule is one line.
type rule struct {
	verdict verdict
	when    node
	text    string
}

// node is one part of a condition: a test, or an operator over other nodes. The zero node is true of every record.
type node struct {
	op   operator
	args []node
	test test
}

type operator uint8

const (
	opAlways operator = iota
	opTest
	opNot
	opAnd
	opOr
)

// test compares one field: with address ranges, with number ranges, or TCP flags under a mask.
type test struct {
	field     field
	addresses []addressRange
	numbers   []numberRange
	flags     []flagTest
}

// parser reads the rules of one line.
type parser struct {
	source string
	line   int
	tokens []token
	next   int
	depth  int
	tests  *int
}

// parse reads rules, one a line; blank lines and comments are left out. It reports every line's first mistake, tests
// counts tests over all sources.
func parse(source, text string, tests *int) ([]rule, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s: %d bytes of rules, more than %d", source, len(text), maxText)
	}
	var rules []rule
	var errs []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		p := parser{source: source, line: n, tests: tests}
		r, ok, err := p.rule(line)
		switch {
		case err != nil:
			errs = append(errs, err)
		case ok:
			rules = append(rules, r)
		}
		if len(errs) == 20 {
			errs = append(errs, fmt.Errorf("%s: too many mistakes; the rest was not read", source))
			break
		}
	}
	return rules, errors.Join(errs...)
}

// rule reads one line; ok is false for a blank one.
func (p *parser) rule(line string) (r rule, ok bool, err error) {
	var bad int
	if p.tokens, bad = lex(line); bad > 0 {
		return r, false, p.errorAt(bad, fmt.Sprintf("%q has no place in a rule", []rune(line[bad-1:])[0]))
	}
	t := p.take()
	switch {
	case t.kind == tokenEnd:
		return r, false, nil
	case t.is("keep"):
		r.verdict = keep
	case t.is("drop"):
		r.verdict = drop
	default:
		return r, false, p.expected("keep or drop", t)
	}
	r.text = strings.TrimSpace(line)
	if r.when, err = p.or(); err != nil {
		return r, false, err
	}
	if t := p.take(); t.kind != tokenEnd {
		return r, false, p.expected("and, or, or the end of the rule", t)
	}
	return r, true, nil
}

// or reads terms joined by or.
func (p *parser) or() (node, error) {
	return p.joined(opOr, "or", p.and, func() bool { return false })
}

// and reads terms joined by and, or by nothing.
func (p *parser) and() (node, error) {
	return p.joined(opAnd, "and", p.term, func() bool {
		t := p.peek()
		return t.kind == tokenOpen || t.kind == tokenNot || t.kind == tokenWord && !t.is("or")
	})
}

// joined reads operands separated by word, or by nothing where another one visibly begins.
func (p *parser) joined(op operator, word string, operand func() (node, error), begins func() bool) (node, error) {
	first, err := operand()
	if err != nil {
		return first, err
	}
	args := []node{first}
	for {
		if p.peek().is(word) {
			p.take()
		} else if !begins() {
			break
		}
		n, err := operand()
		if err != nil {
			return n, err
		}
		args = append(args, n)
	}
	if len(args) == 1 {
		return first, nil
	}
	return node{op: op, args: args}, nil
}

// term reads a test, a negation, or a condition in parentheses.
func (p *parser) term() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return node{}, p.errorAt(p.peek().column, fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	defer func() { p.depth-- }()
	t := p.take()
	switch {
	case t.kind == tokenNot || t.is("not"):
		n, err := p.term()
		return node{op: opNot, args: []node{n}}, err
	case t.kind == tokenOpen:
		n, err := p.or()
		if err != nil {
			return n, err
		}
		if end := p.take(); end.kind != tokenClose {
			return n, p.expected("and, or, or )", end)
		}
		return n, nil
	case t.kind == tokenWord:
		return p.primary(t)
	}
	return node{}, p.expected("a condition", t)
}

// primary reads one test; t is its first word.
func (p *parser) primary(t token) (node, error) {
	if *p.tests++; *p.tests > maxTests {
		return node{}, p.errorAt(t.column, fmt.Sprintf("more than %d tests in all rules", maxTests))
	}
	word := strings.ToLower(t.text)
	switch word {
	case "all", "any":
		return node{}, nil
	case "dropped":
		return flag(fieldDropped), nil
	case "fragment":
		return flag(fieldFragment), nil
	case "ipv4", "ipv6":
		return node{op: opOr, args: []node{family(fieldSrc, word == "ipv4"), family(fieldDst, word == "ipv4")}}, nil
	case "src", "dst":
		return p.side(word == "dst")
	}
	if f, ok := addresses[word]; ok {
		if f[0] != fieldSrc && (p.peek().is("net") || p.peek().is("host")) {
			p.take()
		}
		return p.addresses(f)
	}
	if f, ok := numbers[word]; ok {
		return p.numbers(f)
	}
	if slices.Contains(bare, word) {
		return node{op: opTest, test: test{field: fieldProto, numbers: ranges(ipProtocols[word])}}, nil
	}
	return node{}, p.expected("a condition (src, dst, net, port, proto, from, bytes and so on)", t)
}

// side reads what follows src or dst: a field of that side, or addresses.
func (p *parser) side(dst bool) (node, error) {
	side := 0
	if dst {
		side = 1
	}
	t := p.peek()
	word := strings.ToLower(t.text)
	if f, ok := sided[word]; ok && t.kind == tokenWord {
		p.take()
		return p.numbers(f[side : side+1])
	}
	if t.is("net") || t.is("host") {
		p.take()
	}
	return p.addresses([]field{fieldSrc, fieldDst}[side : side+1])
}

// addresses reads a list of addresses and prefixes, to be tested against any of fs.
func (p *parser) addresses(fs []field) (node, error) {
	invert, err := p.equality()
	if err != nil {
		return node{}, err
	}
	var list []addressRange
	for {
		t := p.take()
		r, err := parseAddress(t)
		if err != nil {
			return node{}, p.expected("an address or a prefix", t)
		}
		list = append(list, r...)
		if p.peek().kind != tokenComma {
			break
		}
		p.take()
	}
	return anyOf(fs, test{addresses: mergeAddresses(list)}, invert), nil
}

// equality reads the optional = or != before a list.
func (p *parser) equality() (invert bool, err error) {
	if t := p.peek(); t.kind == tokenCompare {
		p.take()
		if t.text != "=" && t.text != "==" && t.text != "!=" {
			return false, p.expected("= or != (addresses and flags have no order)", t)
		}
		return t.text == "!=", nil
	}
	return false, nil
}

// anyOf tests every field of fs alike and joins them by or.
func anyOf(fs []field, t test, invert bool) node {
	args := make([]node, len(fs))
	for i, f := range fs {
		t.field = f
		args[i] = node{op: opTest, test: t}
	}
	n := args[0]
	if len(args) > 1 {
		n = node{op: opOr, args: args}
	}
	if invert {
		n = node{op: opNot, args: []node{n}}
	}
	return n
}

// flag tests a field that is 0 or 1.
func flag(f field) node {
	return node{op: opTest, test: test{field: f, numbers: []numberRange{{1, 1}}}}
}

// family tests whether an address is IPv4, or IPv6.
func family(f field, v4 bool) node {
	n := node{op: opTest, test: test{field: f, addresses: []addressRange{v4Range}}}
	if v4 {
		return n
	}
	n.test.addresses = v6Ranges
	return n
}

func (p *parser) take() token {
	t := p.tokens[p.next]
	if p.next < len(p.tokens)-1 {
		p.next++
	}
	return t
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (t token) is(word string) bool { return t.kind == tokenWord && strings.EqualFold(t.text, word) }

func (p *parser) expected(what string, found token) error {
	return p.errorAt(found.column, fmt.Sprintf("expected %s, found %s", what, found))
}

func (p *parser) errorAt(column int, problem string) error {
	return &Error{Source: p.source, Line: p.line, Column: column, Problem: problem}
}
