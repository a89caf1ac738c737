package filter

import (
	"net/netip"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// program is compiled rules: tests with jumps, in one flat slice. It is immutable and shared by all workers.
type program struct {
	code []instruction
	// addresses, numbers and flags are the lists of all tests, one behind the other.
	addresses []addressRange
	numbers   []numberRange
	flags     []flagTest
	rules     []rule
}

// instruction is one test. It looks at field and goes on at yes or no. A verdict (fieldVerdict) ends the program.
type instruction struct {
	field field
	test  compare
	keep  bool
	needs record.Has
	// yes and no are indexes of the next instruction; rule is a verdict's index into rules, len(rules) for the default.
	yes, no, rule uint32
	// from and to bound the list in the program's addresses, numbers or flags.
	from, to uint32
	// first and width are a single range of numbers: v-first <= width. Here since most tests are of one range.
	first, width uint64
}

type compare uint8

const (
	compareRange compare = iota
	compareRanges
	compareFlags
)

// compile turns rules into a program. Code is made from the end: everything that an instruction can jump to exists before it.
func compile(rules []rule) *program {
	p := &program{rules: rules}
	next := p.emit(instruction{field: fieldVerdict, keep: true, rule: uint32(len(rules))})
	for i := len(rules) - 1; i >= 0; i-- {
		match := p.emit(instruction{field: fieldVerdict, keep: bool(rules[i].verdict), rule: uint32(i)})
		next = p.node(&rules[i].when, match, next)
	}
	p.reverse(next)
	return p
}

func (p *program) emit(i instruction) uint32 {
	p.code = append(p.code, i)
	return uint32(len(p.code) - 1)
}

// node emits code that goes on at yes when n is true, at no otherwise, and returns where it starts.
func (p *program) node(n *node, yes, no uint32) uint32 {
	switch n.op {
	case opTest:
		return p.test(&n.test, yes, no)
	case opNot:
		return p.node(&n.args[0], no, yes)
	case opAnd:
		for i := len(n.args) - 1; i >= 0; i-- {
			yes = p.node(&n.args[i], yes, no)
		}
		return yes
	case opOr:
		for i := len(n.args) - 1; i >= 0; i-- {
			no = p.node(&n.args[i], yes, no)
		}
		return no
	case opAlways:
	}
	return yes
}

func (p *program) test(t *test, yes, no uint32) uint32 {
	i := instruction{field: t.field, needs: fields[t.field].needs, yes: yes, no: no, test: compareRanges}
	switch {
	case t.field.isAddress():
		i.from, p.addresses, i.to = put(p.addresses, t.addresses)
	case t.flags != nil:
		i.test = compareFlags
		i.from, p.flags, i.to = put(p.flags, t.flags)
	case len(t.numbers) == 1:
		i.test, i.first, i.width = compareRange, t.numbers[0].first, t.numbers[0].last-t.numbers[0].first
	default:
		i.from, p.numbers, i.to = put(p.numbers, t.numbers)
	}
	return p.emit(i)
}

func put[T any](list, more []T) (from uint32, all []T, to uint32) {
	all = append(list, more...)
	return uint32(len(list)), all, uint32(len(all))
}

// reverse puts the code in the order in which it runs, so that it starts at 0. start is always the last instruction emitted, or a
// verdict that every record reaches: then all before it is dead and left out.
func (p *program) reverse(start uint32) {
	code := make([]instruction, 0, start+1)
	for i := int(start); i >= 0; i-- {
		in := p.code[i]
		if in.field != fieldVerdict {
			in.yes, in.no = start-in.yes, start-in.no
		}
		code = append(code, in)
	}
	p.code = code
}

// run returns the rule that matches r first, len(rules) when none does, and its verdict.
func (p *program) run(exporter netip.Addr, r *record.Record) (rule uint32, keep bool) {
	code := p.code
	for pc := uint32(0); ; {
		in := &code[pc]
		if in.field == fieldVerdict {
			return in.rule, in.keep
		}
		matched := false
		switch {
		case in.needs&^r.Has != 0:
		case in.field <= fieldNextHop:
			matched = p.matchAddress(in, exporter, r)
		case in.field == fieldPort:
			matched = p.matchNumber(in, uint64(r.DstPort)) || p.matchNumber(in, uint64(r.SrcPort))
		default:
			matched = p.matchNumber(in, number(in.field, r))
		}
		pc = in.no
		if matched {
			pc = in.yes
		}
	}
}

// matchAddress tests an address against a sorted list of ranges.
func (p *program) matchAddress(in *instruction, exporter netip.Addr, r *record.Record) bool {
	var a u128
	switch in.field {
	case fieldSrc:
		a = load128(&r.Src)
	case fieldDst:
		a = load128(&r.Dst)
	case fieldExporter:
		b := exporter.As16()
		a = load128(&b)
	case fieldAgent:
		a = load128(&r.Agent)
	default:
		a = load128(&r.NextHop)
	}
	list := p.addresses[in.from:in.to]
	for len(list) > 4 { // the last range that begins at or before a, if any, stays in list
		half := len(list) / 2
		if a.less(list[half].first) {
			list = list[:half]
		} else {
			list = list[half:]
		}
	}
	for i := range list {
		if list[i].contains(a) {
			return true
		}
	}
	return false
}

func (p *program) matchNumber(in *instruction, v uint64) bool {
	if in.test == compareRange {
		return v-in.first <= in.width
	}
	if in.test == compareFlags {
		for _, f := range p.flags[in.from:in.to] {
			if uint8(v)&f.mask == f.want {
				return true
			}
		}
		return false
	}
	list := p.numbers[in.from:in.to]
	for len(list) > 4 {
		half := len(list) / 2
		if v < list[half].first {
			list = list[:half]
		} else {
			list = list[half:]
		}
	}
	for i := range list {
		if v-list[i].first <= list[i].last-list[i].first {
			return true
		}
	}
	return false
}

// number is a record's field as a number.
func number(f field, r *record.Record) uint64 {
	switch f {
	case fieldSrcPort:
		return uint64(r.SrcPort)
	case fieldDstPort:
		return uint64(r.DstPort)
	case fieldProto:
		return uint64(r.Proto)
	case fieldPackets:
		return r.Packets
	case fieldBytes:
		return r.Bytes
	case fieldLength:
		return r.Bytes / max(r.Packets, 1)
	case fieldFlags:
		return uint64(r.TCPFlags)
	case fieldInput:
		return uint64(r.Input)
	case fieldOutput:
		return uint64(r.Output)
	case fieldSrcAS:
		return uint64(r.SrcAS)
	case fieldDstAS:
		return uint64(r.DstAS)
	case fieldSrcVLAN:
		return uint64(r.SrcVLAN)
	case fieldDstVLAN:
		return uint64(r.DstVLAN)
	case fieldDirection:
		return uint64(r.Direction)
	case fieldProtocol:
		return uint64(r.Protocol)
	case fieldTOS:
		return uint64(r.TOS)
	case fieldDSCP:
		return uint64(r.TOS >> 2)
	case fieldDuration:
		return uint64(max(r.Duration, 0))
	case fieldRate:
		return rate(r.SamplingRate)
	case fieldDomain:
		return uint64(r.Domain)
	case fieldICMPType:
		return uint64(r.ICMPType)
	case fieldICMPCode:
		return uint64(r.ICMPCode)
	case fieldMPLS:
		return uint64(r.MPLSLabel)
	case fieldForwarding:
		return uint64(r.ForwardingStatus)
	case fieldKind:
		return uint64(r.Kind)
	case fieldSampler:
		return r.SamplerID
	case fieldTTL:
		return uint64(r.TTL)
	case fieldDropped:
		return bit(r.Dropped)
	case fieldFragment:
		return bit(r.Fragment)
	}
	return 0
}

// rate is a sampling rate without its fraction; what fits no number is the highest.
func rate(f float64) uint64 {
	switch {
	case f >= 1<<63:
		return 1 << 63
	case f > 0:
		return uint64(f)
	}
	return 0
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
