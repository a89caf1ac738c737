package template

import "github.com/weir-ddos/weir/flowcollect/record"

// Definition is one template record of a template set, read but not yet believed. It is reused from record to record.
type Definition struct {
	// Kind is the kind of the set it was in.
	Kind Kind
	// ID is the template id. In a withdrawal of all templates of a kind it is the set's id, 2 or 3.
	ID uint16
	// Withdrawal is set for an IPFIX record without fields (RFC 7011 8.1).
	Withdrawal bool
	scopes     int
	def        []byte
}

// Set ids of template sets.
const (
	Set9Data       = 0 // RFC 3954
	Set9Options    = 1
	SetIPFIXData   = 2 // RFC 7011
	SetIPFIXOption = 3
	// FirstData is the lowest id of a data set and of a template.
	FirstData = 256
)

// ReadIPFIX reads the first template record of b, the rest of an IPFIX template set of the kind, and returns what follows. When done,
// b held only padding. After a code other than OK the definition must not be used; rest is empty where nothing behind can be read.
//
//	data:    id(2) count(2)           then count fields: enterprise bit and number(2) length(2) [enterprise(4)]
//	options: id(2) count(2) scopes(2) the same
func (d *Definition) ReadIPFIX(b []byte, kind Kind) (rest []byte, done bool, c record.Code) {
	if len(b) < 4 {
		return nil, true, record.OK
	}
	count := int(be.Uint16(b[2:]))
	*d = Definition{Kind: kind, ID: be.Uint16(b), Withdrawal: count == 0, def: d.def[:0]}
	if d.ID == 0 && count == 0 {
		return nil, true, record.OK
	}
	b = b[4:]
	if d.Withdrawal {
		if all := d.ID == SetIPFIXData || d.ID == SetIPFIXOption; d.ID < FirstData && !all {
			return b, false, record.TemplateBadID
		}
		return b, false, record.OK
	}
	if kind == Options {
		if len(b) < 2 {
			return nil, false, record.TemplateTruncated
		}
		d.scopes = int(be.Uint16(b))
		b = b[2:]
	}
	for range count {
		if len(b) < 4 {
			return nil, false, record.TemplateTruncated
		}
		f := field{id: be.Uint16(b), length: be.Uint16(b[2:])}
		b = b[4:]
		if f.id&0x8000 != 0 {
			if len(b) < 4 {
				return nil, false, record.TemplateTruncated
			}
			f.id &= 0x7fff
			f.pen = be.Uint32(b)
			b = b[4:]
		}
		d.def = appendField(d.def, f)
	}
	if kind == Options && (d.scopes == 0 || d.scopes > count) {
		return b, false, record.TemplateBadScope
	}
	return b, false, d.check()
}

// Read9 is ReadIPFIX for NetFlow v9, which has no enterprise numbers and no withdrawals.
//
//	data:    id(2) count(2)                     then fields: number(2) length(2)
//	options: id(2) scope bytes(2) option bytes(2) the same, scope fields first
func (d *Definition) Read9(b []byte, kind Kind) (rest []byte, done bool, c record.Code) {
	head := 4
	if kind == Options {
		head = 6
	}
	if len(b) < head {
		return nil, true, record.OK
	}
	*d = Definition{Kind: kind, ID: be.Uint16(b), def: d.def[:0]}
	count := int(be.Uint16(b[2:]))
	if kind == Options {
		d.scopes = count / 4
		count = d.scopes + int(be.Uint16(b[4:]))/4
	}
	if d.ID == 0 && count == 0 {
		return nil, true, record.OK
	}
	b = b[head:]
	if len(b) < 4*count {
		return nil, false, record.TemplateTruncated
	}
	for i := range count {
		f := field{id: be.Uint16(b), length: be.Uint16(b[2:])}
		if i < d.scopes {
			f.pen = penScope9
		}
		d.def = appendField(d.def, f)
		b = b[4:]
	}
	return b, false, d.check()
}

// check refuses what no template may be.
func (d *Definition) check() record.Code {
	switch {
	case d.ID < FirstData:
		return record.TemplateBadID
	case len(d.def) == 0:
		return record.TemplateZeroWidth
	}
	return record.OK
}
