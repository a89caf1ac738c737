package template

import (
	"slices"

	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// maxRecord is the longest record that can be in a UDP datagram.
const maxRecord = 65507

// compile turns a definition into a program. It allocates: it runs when a template is new or has changed.
func compile(kind Kind, id uint16, nscopes int, def []byte) (*Program, record.Code) {
	p := &Program{ID: id, Kind: kind, Scopes: nscopes, Fields: len(def) / fieldLen, def: slices.Clone(def), Fixed: true, SectionLink: wire.LinkEthernet}
	chosen := p.choose()
	if c := p.measure(); c != record.OK {
		return nil, c
	}
	p.second(chosen)
	p.families(chosen)
	p.build(chosen)
	return p, record.OK
}

// choose picks the fields that are read: of several for the same purpose the lowest rank, then the first.
func (p *Program) choose() []code {
	codes := slices.Repeat([]code{skip}, p.Fields)
	type choice struct {
		at   int
		rank uint8
	}
	best := make(map[code]choice)
	for i := range p.Fields {
		f := fieldAt(p.def, i)
		w, ok := wanted(f, p.Kind, i < p.Scopes)
		if !ok {
			continue
		}
		if old, dup := best[w.code]; dup {
			if old.rank <= w.rank {
				continue
			}
			codes[old.at] = skip
		}
		best[w.code] = choice{i, w.rank}
		codes[i] = w.code
		p.note(f, w)
	}
	p.withoutOrphans(codes)
	return codes
}

// note keeps what a chosen field says about the program besides its value. A better field for the same code overwrites it.
func (p *Program) note(f field, w want) {
	switch w.code {
	case slot(Start):
		p.StartClock = w.clock
		p.Observed = f.id >= 322 && f.id <= 325
	case slot(End):
		p.EndClock = w.clock
	case slot(RevStart):
		p.reverse(Start).StartClock = w.clock
	case slot(RevEnd):
		p.reverse(End).EndClock = w.clock
	case slot(RevDurationMillis):
		p.reverse(DurationMillis)
	case slot(RevDurationMicros):
		p.reverse(DurationMicros)
	case section:
		p.HasSection = true
		p.SectionLink = wire.LinkEthernet
		if f.id == 313 {
			p.SectionLink = wire.LinkRaw
		}
	}
}

// reverse gives the reverse direction's times the slot.
func (p *Program) reverse(s Slot) *Program {
	if p.Reverse == nil {
		p.Reverse = &Program{}
	}
	p.Reverse.Slots |= 1 << s
	return p.Reverse
}

// withoutOrphans drops responder counters (232, 299) where the record's own counters are not the initiator's: then they are no second direction.
func (p *Program) withoutOrphans(codes []code) {
	own := false
	for i, c := range codes {
		f := fieldAt(p.def, i)
		own = own || (c == byteCount || c == packetCount) && f.pen == 0 && f.id != 231 && f.id != 298
	}
	for i, c := range codes {
		f := fieldAt(p.def, i)
		if own && f.pen == 0 && (f.id == 232 || f.id == 299) && (c == slot(RevBytes) || c == slot(RevPackets)) {
			codes[i] = skip
		}
	}
}

// measure finds the length of the shortest record.
func (p *Program) measure() record.Code {
	for i := range p.Fields {
		if n := fieldAt(p.def, i).length; n == varlen {
			p.Fixed = false
			p.Min++
		} else {
			p.Min += int(n)
		}
	}
	switch {
	case p.Min == 0:
		return record.TemplateZeroWidth
	case p.Min > maxRecord:
		return record.TemplateTooWide
	}
	return record.OK
}

// second gives counters that lost against a better one their own meaning, and notes where only totals were there to choose from.
func (p *Program) second(codes []code) {
	if p.Kind == Options {
		return
	}
	for i := range codes {
		f := fieldAt(p.def, i)
		if f.pen != 0 || !fits(byteCount, f.length) {
			continue
		}
		switch lost := codes[i] == skip; {
		case f.id == 23 && lost:
			claim(codes, i, postBytes)
		case f.id == 24 && lost:
			claim(codes, i, postPackets)
		case f.id == 352 && lost:
			claim(codes, i, l2Bytes)
		case f.id == 85 || f.id == 86 || f.id == 171 || f.id == 172 || f.id == 353:
			p.Totals = p.Totals || !lost
		}
		p.Layer2 = p.Layer2 || codes[i] == byteCount && (f.id == 352 || f.id == 353)
	}
}

// claim gives field i the code unless another field has it.
func claim(codes []code, i int, c code) {
	if !slices.Contains(codes, c) {
		codes[i] = c
	}
}

// families makes the address steps of templates with both families conditional.
func (p *Program) families(codes []code) {
	if slices.Contains(codes, src4) && slices.Contains(codes, src6) {
		replace(codes, src4, src4If)
		replace(codes, src6, src6If)
	}
	if slices.Contains(codes, dst4) && slices.Contains(codes, dst6) {
		replace(codes, dst4, dst4If)
		replace(codes, dst6, dst6If)
	}
}

func replace(codes []code, from, to code) { codes[slices.Index(codes, from)] = to }

// build lays the steps out in segments.
func (p *Program) build(codes []code) {
	var s segment
	for i, c := range codes {
		f := fieldAt(p.def, i)
		p.has(c)
		if f.length == varlen {
			s.tail, s.code = true, c
			p.segments = append(p.segments, s)
			s = segment{}
			continue
		}
		s.size += int(f.length)
		s.add(c, f.length)
	}
	if s.size > 0 || len(p.segments) == 0 {
		p.segments = append(p.segments, s)
	}
	p.order(codes)
}

// add appends the step of a field of this length that ends where the segment does now.
func (s *segment) add(c code, length uint16) {
	switch {
	case c == skip:
	case c == mplsLabel: // label, EXP, S; and a TTL that makes it a whole entry
		s.steps = append(s.steps, step{mask: masks[3], end: uint16(s.size) + 3 - length, code: c})
	case c >= firstWide:
		s.wide = append(s.wide, wideStep{begin: uint16(s.size) - length, size: length, code: c})
	default:
		s.steps = append(s.steps, step{mask: masks[length&15], end: uint16(s.size), code: c})
	}
}

// order notes which parts of a record the program fills.
func (p *Program) order(codes []code) {
	has := func(c code) bool { return slices.Contains(codes, c) }
	p.src4, p.dst4 = has(src4), has(dst4)
	p.dual = has(src4If) || has(dst4If)
	p.routes = slices.ContainsFunc([]code{next4, next6, srcAS, dstAS, srcMask, dstMask}, has)
	for c := direction; c < src4If; c++ {
		if has(c) {
			p.rare = append(p.rare, c)
		}
	}
	p.Uniform = !p.dual && !p.HasSection && !p.Totals && p.Slots&(1<<RevBytes|1<<RevPackets) == 0
}

// hasOf are the parts that a step gives its record.
var hasOf = map[code]record.Has{
	src4: record.HasSrc, src6: record.HasSrc, src4If: record.HasSrc, src6If: record.HasSrc,
	dst4: record.HasDst, dst6: record.HasDst, dst4If: record.HasDst, dst6If: record.HasDst,
	proto: record.HasProto, srcPort: record.HasPorts, dstPort: record.HasPorts, tcpFlags: record.HasFlags,
	icmpTypeCode: record.HasICMP, icmpType: record.HasICMP, packetCount: record.HasPackets, byteCount: record.HasBytes,
	direction: record.HasDirection, forwarding: record.HasForwarding, input: record.HasInput, output: record.HasOutput,
	mplsLabel: record.HasMPLS, ttl: record.HasTTL, droppedBytes: record.HasDroppedCounts, droppedPackets: record.HasDroppedCounts,
}

// has notes what a step sets.
func (p *Program) has(c code) {
	p.Has |= hasOf[c]
	if c >= skip {
		return
	}
	s := Slot(c)
	p.Slots |= 1 << s
	if s == Sampler48 || s == Selector302 {
		p.Has |= record.HasSampler
	}
}
