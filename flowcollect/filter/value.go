package filter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// u128 is an address as a number: IPv4 v4-mapped.
type u128 struct{ hi, lo uint64 }

func load128(b *[16]byte) u128 {
	return u128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// less is a < b, without a branch.
func (a u128) less(b u128) bool {
	_, borrow := bits.Sub64(a.lo, b.lo, 0)
	_, borrow = bits.Sub64(a.hi, b.hi, borrow)
	return borrow != 0
}

// addressRange is the addresses from first to last, both included.
type addressRange struct{ first, last u128 }

// contains says that a lies in the range.
func (r *addressRange) contains(a u128) bool { return !a.less(r.first) && !r.last.less(a) }

// v4Range is every IPv4 address; v6Ranges is every other.
var (
	v4Range  = addressRange{u128{0, 0xffff_0000_0000}, u128{0, 0xffff_ffff_ffff}}
	v6Ranges = []addressRange{
		{u128{}, u128{0, v4Range.first.lo - 1}},
		{u128{0, v4Range.last.lo + 1}, u128{math.MaxUint64, math.MaxUint64}},
	}
)

// parseAddress reads an address or a prefix. Host bits of a prefix must be zero. An IPv6 prefix never covers IPv4 addresses, although
// they are kept as v4-mapped ones: ::/0 is every IPv6 address.
func parseAddress(t token) ([]addressRange, error) {
	if t.kind != tokenWord {
		return nil, errors.New("no address")
	}
	p, err := netip.ParsePrefix(t.text)
	if err != nil {
		a, err := netip.ParseAddr(t.text)
		if err != nil || a.Zone() != "" {
			return nil, errors.New("no address")
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p != p.Masked() || p.Addr().Is4In6() {
		return nil, errors.New("host bits are set")
	}
	length := p.Bits()
	if p.Addr().Is4() {
		length += 96
	}
	b := p.Addr().As16()
	first := load128(&b)
	mask := u128{math.MaxUint64, math.MaxUint64}
	if length <= 64 {
		mask.hi = ^(mask.hi >> length) // a shift by 64 gives 0 in Go
		mask.lo = 0
	} else {
		mask.lo = ^(mask.lo >> (length - 64))
	}
	r := addressRange{first, u128{first.hi | ^mask.hi, first.lo | ^mask.lo}}
	if p.Addr().Is4() {
		return []addressRange{r}, nil
	}
	var out []addressRange
	for _, v6 := range v6Ranges {
		if cut, ok := r.intersect(v6); ok {
			out = append(out, cut)
		}
	}
	return out, nil
}

func (r addressRange) intersect(o addressRange) (addressRange, bool) {
	if r.first.less(o.first) {
		r.first = o.first
	}
	if o.last.less(r.last) {
		r.last = o.last
	}
	return r, !r.last.less(r.first)
}

func (a u128) compare(b u128) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// mergeAddresses sorts ranges and joins those that overlap or touch.
func mergeAddresses(list []addressRange) []addressRange {
	slices.SortFunc(list, func(a, b addressRange) int { return a.first.compare(b.first) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && !out[n-1].last.less(r.first.minusOne()) {
			if out[n-1].last.less(r.last) {
				out[n-1].last = r.last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// minusOne is a-1, and 0 for 0.
func (a u128) minusOne() u128 {
	if a == (u128{}) {
		return a
	}
	lo, borrow := bits.Sub64(a.lo, 1, 0)
	return u128{a.hi - borrow, lo}
}

// numberRange is the numbers from first to last, both included.
type numberRange struct{ first, last uint64 }

func ranges(values []uint64) []numberRange {
	out := make([]numberRange, len(values))
	for i, v := range values {
		out[i] = numberRange{v, v}
	}
	return mergeNumbers(out)
}

// mergeNumbers sorts ranges and joins those that overlap or touch.
func mergeNumbers(list []numberRange) []numberRange {
	slices.SortFunc(list, func(a, b numberRange) int { return cmp.Compare(a.first, b.first) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && (r.first == 0 || r.first-1 <= out[n-1].last) {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// flagTest is true when the flags under mask are want.
type flagTest struct{ want, mask uint8 }

// numbers reads a comparison or a list, to be tested against any of fs, which are of one sort.
func (p *parser) numbers(fs []field) (node, error) {
	info := &fields[fs[0]]
	if info.unit == unitFlags {
		return p.flags(fs)
	}
	compare := ""
	if t := p.peek(); t.kind == tokenCompare {
		compare = p.take().text
	}
	switch compare {
	case "", "=", "==", "!=":
		list, err := p.numberList(info)
		return anyOf(fs, test{numbers: list}, compare == "!="), err
	}
	t := p.take()
	r, err := info.parse(t)
	if err != nil || len(r) != 1 || r[0].first != r[0].last {
		return node{}, p.expectedValue(info, t)
	}
	v := r[0].first
	list := []numberRange{}
	switch {
	case compare == "<" && v > 0:
		list = append(list, numberRange{0, v - 1})
	case compare == "<=":
		list = append(list, numberRange{0, v})
	case compare == ">" && v < math.MaxUint64:
		list = append(list, numberRange{v + 1, math.MaxUint64})
	case compare == ">=":
		list = append(list, numberRange{v, math.MaxUint64})
	}
	return anyOf(fs, test{numbers: list}, false), nil
}

// numberList reads values, ranges and names separated by commas.
func (p *parser) numberList(info *fieldInfo) ([]numberRange, error) {
	var list []numberRange
	for {
		t := p.take()
		r, err := info.parse(t)
		if err != nil {
			return nil, p.expectedValue(info, t)
		}
		list = append(list, r...)
		if p.peek().kind != tokenComma {
			return mergeNumbers(list), nil
		}
		p.take()
	}
}

// expectedValue says what values a field has.
func (p *parser) expectedValue(info *fieldInfo, found token) error {
	what := info.expect
	if info.max < math.MaxUint64 && info.names == nil {
		what += fmt.Sprintf(" (0..%d)", info.max)
	}
	if len(info.names) > 0 {
		what += " (" + info.nameList() + ")"
		// The one confusion that everybody will have.
		if _, ok := ipProtocols[strings.ToLower(found.text)]; ok && info == &fields[fieldProtocol] {
			what += "; write proto for an IP protocol"
		}
	}
	return p.expected(what, found)
}

var errNoValue = errors.New("no value of this field")

// parse reads one value, range or name of a field.
func (f *fieldInfo) parse(t token) ([]numberRange, error) {
	if t.kind != tokenWord {
		return nil, errNoValue
	}
	if v, ok := f.names[strings.ToLower(t.text)]; ok {
		return ranges(v), nil
	}
	low, high, isRange := strings.Cut(t.text, "-")
	first, err := f.number(low)
	last := first
	if isRange && err == nil {
		last, err = f.number(high)
	}
	if err != nil || first > last || last > f.max {
		return nil, errNoValue
	}
	return []numberRange{{first, last}}, nil
}

// number reads one number with its unit.
func (f *fieldInfo) number(s string) (uint64, error) {
	factor := uint64(1)
	switch f.unit {
	case unitTime:
		if d, err := time.ParseDuration(s); err == nil {
			if d < 0 {
				return 0, errNoValue
			}
			return uint64(d), nil
		}
		factor = uint64(time.Second)
	case unitCount:
		if n := len(s); n > 0 {
			if i := strings.IndexByte("kmg", s[n-1]|0x20); i >= 0 {
				factor, s = []uint64{1e3, 1e6, 1e9}[i], s[:n-1]
			}
		}
	}
	base := 10
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
		s, base = s[2:], 16
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return 0, err
	}
	high, low := bits.Mul64(n, factor)
	if high != 0 {
		return 0, errNoValue
	}
	return low, nil
}

// flags reads a list of TCP flags.
func (p *parser) flags(fs []field) (node, error) {
	invert, err := p.equality()
	if err != nil {
		return node{}, err
	}
	var list []flagTest
	for {
		t := p.take()
		f, err := parseFlags(t)
		if err != nil {
			return node{}, p.expected(fields[fieldFlags].expect+" (letters F S R P A U E C, names, or numbers)", t)
		}
		list = append(list, f)
		if p.peek().kind != tokenComma {
			return anyOf(fs, test{flags: list}, invert), nil
		}
		p.take()
	}
}

// parseFlags reads S (SYN is set, whatever else is), S/SA (of SYN and ACK only SYN is set), names, or numbers.
func parseFlags(t token) (flagTest, error) {
	if t.kind != tokenWord {
		return flagTest{}, errNoValue
	}
	want, mask, masked := strings.Cut(t.text, "/")
	w, err := flagSet(want)
	if err != nil {
		return flagTest{}, err
	}
	if !masked {
		return flagTest{w, w}, nil
	}
	m, err := flagSet(mask)
	if err != nil || w&^m != 0 {
		return flagTest{}, errNoValue
	}
	return flagTest{w, m}, nil
}

// flagLetters are the flags from the lowest bit on, as weir decode prints them.
const flagLetters = "fsrpauec"

var flagNames = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}

func flagSet(s string) (uint8, error) {
	s = strings.ToLower(s)
	if i := slices.Index(flagNames, s); i >= 0 {
		return 1 << i, nil
	}
	if n, err := strconv.ParseUint(s, 0, 8); err == nil {
		return uint8(n), nil
	}
	set := uint8(0)
	for i := range len(s) {
		bit := strings.IndexByte(flagLetters, s[i])
		if bit < 0 {
			return 0, errNoValue
		}
		set |= 1 << bit
	}
	if set == 0 {
		return 0, errNoValue
	}
	return set, nil
}
