package record

// FromUptime turns a time in ms of an exporter's uptime into ns since the Unix epoch, given the header's clock (ns since the epoch) and
// uptime (ms). The uptime wraps after 49.7 days, so the difference is taken modulo 2^32, and as signed: clocks that are read one after the
// other may put a flow's end a little behind the header.
func FromUptime(exported int64, uptime, t uint32) int64 {
	return exported - int64(int32(uptime-t))*1e6
}

// SetUptimes sets the times of a flow that began and ended at these times of the exporter's uptime in ms. Whatever the clocks, the
// duration is right. It reports false when the flow ends before it began; then the duration is unknown.
func (r *Record) SetUptimes(exported int64, uptime, first, last uint32) bool {
	r.TimeFrom = TimeUptime
	r.Start, r.End = FromUptime(exported, uptime, first), FromUptime(exported, uptime, last)
	return r.SetDuration(int64(int32(last-first)) * 1e6)
}

// SetDuration sets the duration to ns when that is not negative, and reports whether it was.
func (r *Record) SetDuration(ns int64) bool {
	if ns < 0 {
		return false
	}
	r.Duration = ns
	r.Has |= HasDuration
	return true
}
