package dataset

import (
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// Deps is what decoders share: everything in it may be used by any number of workers.
type Deps struct {
	// Templates are the templates of all exporters.
	Templates *template.Registry
	// Sampling are their sampling rates.
	Sampling *sampling.Table
	// Wire reads exported packet heads; its Charge says which addresses of a tunnel count.
	Wire *wire.Decoder
	// Totals remembers long-lived flows that are exported with totals only; nil takes every record as a flow of its own.
	Totals *Totals
}

// Reader reads the sets of one datagram after the other. It belongs to one goroutine.
type Reader struct {
	deps Deps

	// of the current datagram
	key   template.Key
	ctx   template.Context
	sys   *template.System
	view  sampling.View
	stats *record.Stats
	sink  record.Sink
	units uint32
	opts  uint32 // of them, records of options
	// unknown is set when records were there that could not be counted.
	unknown bool

	rec   record.Record
	base  record.Record
	query sampling.Query
	last  sampling.Query // the query that rate and from answer
	rate  float64
	from  record.RateSource
	// constant is set when they answer for every record of the set.
	constant bool
	values   template.Values
	headers  wire.Headers
	def      template.Definition
	came     []uint16 // templates of this datagram that data may wait for
}

// NewReader returns a Reader.
func NewReader(deps Deps) *Reader { return &Reader{deps: deps} }

// Begin starts a datagram of the system key: its header says ctx.
func (d *Reader) Begin(key template.Key, ctx template.Context, st *record.Stats, sink record.Sink) {
	d.key, d.ctx, d.stats, d.sink = key, ctx, st, sink
	d.sys = d.deps.Templates.System(&d.key)
	d.view = d.deps.Sampling.View(&d.key.Exporter, d.key.Protocol, d.key.Domain)
	d.units, d.opts, d.unknown = 0, 0, false
	d.came = d.came[:0]
}

// End finishes a datagram: data sets that waited for its templates are read, now that its options are known too. It returns how many
// data records, options included, the datagram had, and whether that is all of them.
func (d *Reader) End() (units uint32, known bool) {
	units, known = d.units, !d.unknown
	d.stats.Last.Options = d.opts
	if len(d.came) > 0 {
		d.replay()
	}
	d.stats, d.sink = nil, nil
	return units, known
}

// replay reads the sets that waited for a template of this datagram.
func (d *Reader) replay() {
	now := d.ctx
	for _, id := range d.came {
		for _, h := range d.deps.Templates.Take(&d.key, id, now.Arrived) {
			d.ctx = h.Context
			d.stats.Codes[record.Replayed]++
			d.Data(id, h.Set, template.Margin, len(h.Set))
		}
	}
	d.ctx = now
}

// Templates reads the contents of a template set of the kind.
func (d *Reader) Templates(set []byte, kind template.Kind) record.Code {
	first := record.OK
	for len(set) > 0 {
		rest, done, c := d.definition(set, kind)
		if done {
			break
		}
		set = rest
		if c != record.OK { // not even a template
			if kind == template.Options && c == record.TemplateZeroWidth {
				d.stats.OptionTemplates++ // in an ordinary template that would be a withdrawal
			}
			first = d.stats.Count(first, c)
			continue
		}
		if d.def.Withdrawal {
			d.deps.Templates.Withdraw(&d.key, &d.def)
			first = d.stats.Count(first, record.Withdrawn)
			continue
		}
		c = d.deps.Templates.Announce(&d.key, &d.def, d.ctx.Arrived)
		if c == record.OK || c == record.TemplateChanged {
			d.came = append(d.came, d.def.ID)
		}
		if kind == template.Options {
			d.stats.OptionTemplates++
		} else {
			d.stats.Templates++
		}
		if c != record.OK {
			first = d.stats.Count(first, c)
		}
	}
	d.sys = d.deps.Templates.System(&d.key)
	return first
}

func (d *Reader) definition(set []byte, kind template.Kind) ([]byte, bool, record.Code) {
	if d.key.Protocol == record.NetFlow9 {
		return d.def.Read9(set, kind)
	}
	return d.def.ReadIPFIX(set, kind)
}

// Data reads the contents of data set id, which is buf[pos:end]; pos is at least template.Margin.
func (d *Reader) Data(id uint16, buf []byte, pos, end int) record.Code {
	p := d.sys.Lookup(id)
	if p == nil {
		return d.hold(id, buf[pos:end])
	}
	p.Touch(d.ctx.Arrived)
	if p.Kind == template.Options {
		return d.options(p, buf, pos, end)
	}
	return d.records(p, buf, pos, end)
}

// hold keeps a set whose template is not known.
func (d *Reader) hold(id uint16, set []byte) record.Code {
	d.unknown = true
	d.stats.UnknownTemplateSets++
	first := d.stats.Count(record.OK, record.UnknownTemplate)
	if d.deps.Templates.Hold(&d.key, id, set, d.ctx) {
		return d.stats.Count(first, record.Held)
	}
	return d.stats.Count(first, record.HeldDropped)
}

// records reads data records.
func (d *Reader) records(p *template.Program, buf []byte, pos, end int) record.Code {
	first := record.OK
	d.start(p)
	for end-pos >= p.Min && !padding(p, buf[pos:end]) {
		if p.Uniform {
			d.restart()
		} else {
			d.rec = d.base
		}
		next := p.Read(buf, pos, end, &d.rec, &d.values)
		if next < 0 {
			d.unknown = true
			return d.stats.Count(first, record.TruncatedRecord)
		}
		pos = next // at least Min further
		d.units++
		d.stats.Records++
		if c := d.finish(p); c != record.OK {
			first = d.stats.Count(first, c)
		}
	}
	return first
}

// padding says that b is the zero fill behind the last record of variable length: RFC 7011 3.3.1 has sets end at a multiple of 4 or 8.
// Where all fields are fixed, fewer bytes than a record need no such guess.
func padding(p *template.Program, b []byte) bool {
	if p.Fixed || len(b) > 7 {
		return false
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// start prepares what all records of a set have in common.
func (d *Reader) start(p *template.Program) {
	d.base = record.Record{
		Exporter: d.key.Exporter, Agent: d.key.Exporter, Arrived: d.ctx.Arrived, Domain: d.key.Domain,
		Protocol: d.key.Protocol, Template: p.ID, Has: p.Has, Totals: p.Totals,
	}
	d.query = sampling.Query{Template: p.ID}
	if p.Slots&(1<<template.Sampler48|1<<template.Selector302) != 0 {
		d.query.HasID, d.query.IsSelector = true, p.Slots.Has(template.Selector302)
	}
	d.last = d.query
	d.rate, d.from = d.view.Rate(&d.query)
	d.constant = p.Slots&rateSlots == 0 && !d.query.HasID && d.view.Constant(&d.query)
	d.base.SamplingRate, d.base.RateFrom = d.rate, d.from
	d.rec = d.base
}

// restart undoes what finish may have done to a record of a uniform program, and what reading adds to: the rest is written anew each time.
func (d *Reader) restart() {
	r := &d.rec
	r.Start, r.End, r.Duration, r.TimeFrom = 0, 0, 0, record.TimeUnknown
	r.Has = d.base.Has
	r.ICMPType, r.ICMPCode = 0, 0
	r.Dropped, r.Fragment = false, false
}

// finish completes the record that was read and hands it on.
func (d *Reader) finish(p *template.Program) record.Code {
	r := &d.rec
	first := record.OK
	if p.Slots != 0 {
		first = d.times(p, r)
	}
	if p.Layer2 {
		r.L2Bytes = r.Bytes
	}
	d.sample(p, r)
	if r.Has&record.HasICMP == 0 && r.Has&record.HasPorts != 0 && (r.Proto == wire.ProtoICMP || r.Proto == wire.ProtoICMPv6) {
		r.ICMPType, r.ICMPCode = uint8(r.DstPort>>8), uint8(r.DstPort) // where NetFlow puts them
		r.Has |= record.HasICMP
	}
	if p.HasSection {
		if c := d.section(p, r); c != record.OK {
			first = c
		}
		return first
	}
	d.prior(p, r)
	d.sink.Record(r)
	if p.Slots&(1<<template.RevBytes|1<<template.RevPackets) != 0 {
		d.reverse(p, r)
	}
	return first
}

const (
	rateSlots    = template.Set(1<<template.Rate34 | 1<<template.Rate50 | 1<<template.Rate305 | 1<<template.Rate306 | 1<<template.Rate309 | 1<<template.Rate310 | 1<<template.Probability)
	timeSlots    = template.Set(1<<template.Start | 1<<template.End | 1<<template.DurationMillis | 1<<template.DurationMicros)
	timeoutSlots = template.Set(1<<template.ActiveTimeout | 1<<template.IdleTimeout)
)

// sample resolves the sampling rate. Consecutive records nearly always ask the same.
func (d *Reader) sample(p *template.Program, r *record.Record) {
	if !d.constant {
		d.ask(p, r)
		r.SamplingRate, r.RateFrom = d.rate, d.from
	}
	if d.from == record.RateUnknown {
		d.stats.UnknownRate++
	}
}

// ask sets rate and from for the record.
func (d *Reader) ask(p *template.Program, r *record.Record) {
	q := &d.query
	if q.HasID {
		q.ID = d.values.V[template.Sampler48]
		if q.IsSelector {
			q.ID = d.values.V[template.Selector302]
		}
		r.SamplerID = q.ID
	}
	q.Input, q.Output = r.Input, r.Output
	if p.Slots&rateSlots != 0 {
		a := d.announcement(p)
		q.InRecord = a.Rate()
	}
	if *q != d.last {
		d.last = *q
		d.rate, d.from = d.view.Rate(q)
	}
}

// prior notes what was counted before of a flow that is exported with totals.
func (d *Reader) prior(p *template.Program, r *record.Record) {
	if r.Totals && d.deps.Totals != nil && p.Slots.Has(template.Start) {
		d.deps.Totals.prior(r, d.values.V[template.Start])
	}
}

// reverse hands the other direction of a biflow on, when it had any traffic.
func (d *Reader) reverse(p *template.Program, r *record.Record) {
	v := &d.values.V
	get := func(s template.Slot) uint64 {
		if p.Slots.Has(s) {
			return v[s]
		}
		return 0
	}
	r.Bytes, r.Packets = get(template.RevBytes), get(template.RevPackets)
	if r.Bytes|r.Packets == 0 {
		return
	}
	r.TCPFlags, r.TOS = uint8(get(template.RevFlags)), uint8(get(template.RevTOS))
	r.PostBytes, r.PostPackets, r.PriorBytes, r.PriorPackets = 0, 0, 0, 0
	r.L2Bytes, r.DroppedBytes, r.DroppedPackets = 0, 0, 0
	r.Direction = record.UnknownDirection
	r.TTL = 0
	r.Has &^= record.HasDirection | record.HasDroppedCounts | record.HasTTL
	r.Kind = record.BiflowReverse
	d.reverseTimes(p, r)
	r.Reverse()
	d.prior(p, r)
	d.sink.Record(r)
}
