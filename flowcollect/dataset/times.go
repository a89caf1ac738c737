package dataset

import (
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// times sets the record's times. Exporters' clocks are often wrong, so the duration is taken from the two times themselves.
func (d *Reader) times(p *template.Program, r *record.Record) record.Code {
	if p.Slots&(timeSlots|timeoutSlots) == 0 {
		return record.OK
	}
	if p.Slots&timeoutSlots != 0 {
		d.timeouts(p)
	}
	v := &d.values.V
	init := int64(0)
	if p.StartClock == template.UptimeMs || p.EndClock == template.UptimeMs {
		if init = d.view.Init(); p.Slots.Has(template.SystemInit) {
			init = millis(v[template.SystemInit])
		}
	}
	var okStart, okEnd bool
	if p.Slots.Has(template.Start) {
		r.Start, okStart = d.at(p.StartClock, v[template.Start], init, r)
	}
	if p.Slots.Has(template.End) {
		r.End, okEnd = d.at(p.EndClock, v[template.End], init, r)
	} else if p.Observed {
		r.End, okEnd = r.Start, okStart
	}
	return d.duration(p, r, okStart && okEnd)
}

// duration sets the duration from its own field, else from the two times.
func (d *Reader) duration(p *template.Program, r *record.Record, both bool) record.Code {
	v := &d.values.V
	const most = 9e15 // ns: 104 days, beyond any flow
	switch {
	case p.Slots.Has(template.DurationMillis) && v[template.DurationMillis] < most/1e6:
		r.SetDuration(int64(v[template.DurationMillis]) * 1e6)
	case p.Slots.Has(template.DurationMicros) && v[template.DurationMicros] < most/1e3:
		r.SetDuration(int64(v[template.DurationMicros]) * 1e3)
	case p.StartClock == template.UptimeMs && p.EndClock == template.UptimeMs:
		if !r.SetDuration(int64(int32(uint32(v[template.End])-uint32(v[template.Start]))) * 1e6) {
			return record.TimeBackwards
		}
	case both:
		if !r.SetDuration(r.End - r.Start) {
			return record.TimeBackwards
		}
	}
	if r.TimeFrom == record.TimeUnknown && r.Has&record.HasDuration != 0 {
		r.TimeFrom = record.TimeDuration
	}
	return record.OK
}

// reverseTimes sets the times of a record's other direction, where it has its own (RFC 5103 6.2); otherwise it has those of the whole.
// They are read as the record's own: the numbers change places for that long.
func (d *Reader) reverseTimes(p *template.Program, r *record.Record) {
	if p.Reverse == nil {
		return
	}
	v, whole := &d.values.V, *r
	own := [...]uint64{v[template.Start], v[template.End], v[template.DurationMillis], v[template.DurationMicros]}
	v[template.Start], v[template.End] = v[template.RevStart], v[template.RevEnd]
	v[template.DurationMillis], v[template.DurationMicros] = v[template.RevDurationMillis], v[template.RevDurationMicros]
	r.Start, r.End, r.Duration, r.TimeFrom = 0, 0, 0, record.TimeUnknown
	r.Has &^= record.HasDuration
	if d.times(p.Reverse, r) != record.OK || r.Has&record.HasDuration == 0 {
		*r = whole
	}
	v[template.Start], v[template.End], v[template.DurationMillis], v[template.DurationMicros] = own[0], own[1], own[2], own[3]
}

// timeouts notes what the exporter says of the times in which it reports (IE 36, 37: seconds).
func (d *Reader) timeouts(p *template.Program) {
	const most = 24 * 60 * 60
	v, h := &d.values.V, &d.stats.Last
	if n := v[template.ActiveTimeout]; p.Slots.Has(template.ActiveTimeout) && n <= most {
		h.ActiveTimeout = int64(n) * 1e9
	}
	if n := v[template.IdleTimeout]; p.Slots.Has(template.IdleTimeout) && n <= most {
		h.IdleTimeout = int64(n) * 1e9
	}
}

// at turns a time of the clock into ns since the Unix epoch and notes how it was known.
func (d *Reader) at(clock template.Clock, t uint64, init int64, r *record.Record) (int64, bool) {
	from := record.TimeAbsolute
	var ns int64
	switch clock {
	case template.Seconds:
		if t < 1<<33 {
			ns = int64(t) * 1e9
		}
	case template.Millis:
		ns = millis(t)
	case template.NTP:
		ns = ntp(t)
	case template.DeltaUs:
		from = record.TimeDelta
		if t < 1<<42 {
			ns = d.ctx.Exported - int64(t)*1e3
		}
	case template.UptimeMs:
		switch {
		case d.key.Protocol == record.NetFlow9:
			from = record.TimeUptime
			ns = record.FromUptime(d.ctx.Exported, d.ctx.Uptime, uint32(t))
		case init != 0:
			from = record.TimeInit
			ns = init + int64(uint32(t))*1e6
		}
	}
	if ns == 0 {
		return 0, false
	}
	r.TimeFrom = from
	return ns, true
}

// millis turns ms since the epoch into ns, 0 where that is absurd.
func millis(t uint64) int64 {
	if t >= 1<<43 { // the year 2248
		return 0
	}
	return int64(t) * 1e6
}

// ntp turns an NTP timestamp (RFC 5905 6: seconds since 1900 and a fraction) into ns since the Unix epoch. Seconds before 1970 are taken
// to be of the era that begins in 2036.
func ntp(t uint64) int64 {
	if t == 0 {
		return 0
	}
	const epoch = 2208988800 // from 1900 to 1970
	return int64(uint32(t>>32)-epoch)*1e9 + int64(t&0xffffffff*1e9>>32)
}
