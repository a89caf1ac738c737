package export

import "time"

// packerT writes the protocols with templates, NetFlow v9 and IPFIX.
type packerT struct {
	e          *Exporter
	v9         bool
	sets       [2][]byte // data records of template4, template6
	n          [2]uint16
	since      int64
	sequence   uint32 // v9: datagrams, IPFIX: data records sent before
	until      int    // datagrams until templates are sent again
	lastSent   int64  // when they were sent last
	buf        []byte
	templates  [2][]field
	recordSize [2]int
}

// field is an information element of a template.
type field struct{ id, size uint16 }

// Template ids.
const (
	template4       = 256
	template6       = 257
	templateOptions = 258
)

// The information elements of the data records (IANA IPFIX; the same numbers in NetFlow v9).
const (
	ieBytes         = 1
	iePackets       = 2
	ieProto         = 4
	ieTOS           = 5
	ieFlags         = 6
	ieSrcPort       = 7
	ieSrc4          = 8
	ieInput         = 10
	ieDstPort       = 11
	ieDst4          = 12
	ieOutput        = 14
	ieLastUptime    = 21
	ieFirstUptime   = 22
	ieSrc6          = 27
	ieDst6          = 28
	ieInterval      = 34
	ieAlgorithm     = 35
	ieIPVersion     = 60
	ieDirection     = 61
	ieEndReason     = 136
	ieDomain        = 149
	ieStartMillis   = 152
	ieEndMillis     = 153
	ieSelectorAlgo  = 304
	iePacketsTaken  = 305
	iePacketsPassed = 306
)

func newPackerT(e *Exporter) *packerT {
	p := &packerT{e: e, v9: e.cfg.Protocol == NetFlow9}
	common := []field{
		{ieSrcPort, 2},
		{ieDstPort, 2},
		{ieInput, 4},
		{ieOutput, 4},
		{iePackets, 8},
		{ieBytes, 8},
		{ieProto, 1},
		{ieTOS, 1},
		{ieFlags, 1},
		{ieIPVersion, 1},
		{ieDirection, 1},
		{ieEndReason, 1},
	}
	if p.v9 {
		common = append(common, field{ieFirstUptime, 4}, field{ieLastUptime, 4})
	} else {
		common = append(common, field{ieStartMillis, 8}, field{ieEndMillis, 8})
	}
	p.templates[0] = append([]field{{ieSrc4, 4}, {ieDst4, 4}}, common...)
	p.templates[1] = append([]field{{ieSrc6, 16}, {ieDst6, 16}}, common...)
	for i, t := range p.templates {
		for _, f := range t {
			p.recordSize[i] += int(f.size)
		}
	}
	return p
}

func (p *packerT) add(f *flow, reason uint8) error {
	i := 0
	if f.src.Is6() {
		i = 1
	}
	if p.pending() && p.size()+p.recordSize[i] > p.e.cfg.MaxDatagram {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if !p.pending() {
		p.since = p.e.now
	}
	p.sets[i] = p.record(p.sets[i], f, reason)
	p.n[i]++
	return nil
}

// record appends a data record: the fields of newPackerT in their order.
func (p *packerT) record(b []byte, f *flow, reason uint8) []byte {
	version := byte(4)
	if f.src.Is6() {
		version = 6
	}
	b = append(b, f.src.AsSlice()...)
	b = append(b, f.dst.AsSlice()...)
	b = be.AppendUint16(b, f.sport)
	b = be.AppendUint16(b, f.dport)
	b = be.AppendUint32(b, f.in)
	b = be.AppendUint32(b, f.out)
	b = be.AppendUint64(b, f.packets)
	b = be.AppendUint64(b, f.bytes)
	b = append(b, f.proto, 0, f.flags, version, 0, reason) // ToS 0, direction ingress
	if p.v9 {
		b = be.AppendUint32(b, p.e.uptime(f.first))
		return be.AppendUint32(b, p.e.uptime(f.last))
	}
	b = be.AppendUint64(b, uint64(f.first/int64(time.Millisecond)))
	return be.AppendUint64(b, uint64(f.last/int64(time.Millisecond)))
}

func (p *packerT) pending() bool { return p.n[0]+p.n[1] > 0 }

func (p *packerT) pendingSince() (int64, bool) { return p.since, p.pending() }

// announcement is more than templates and options take.
const announcement = 240

// size is at most how large the pending datagram is.
func (p *packerT) size() int {
	const headerAndSets = 20 + 2*(4+3)
	n := headerAndSets + len(p.sets[0]) + len(p.sets[1])
	if p.announces() {
		n += announcement
	}
	return n
}

// announces says that the pending datagram will carry the templates. It may become true while the datagram waits, so the decision is
// made by the datagram's first report.
func (p *packerT) announces() bool {
	return p.until == 0 || p.since-p.lastSent >= int64(30*time.Second)
}

func (p *packerT) flush() error {
	if !p.pending() {
		return nil
	}
	records := p.n[0] + p.n[1]
	count := records
	b := append(p.buf[:0], make([]byte, 20)...)
	if !p.v9 {
		b = b[:16]
	}
	options := uint16(0)
	if p.announces() {
		b = p.announce(b)
		count += 2
		if p.e.cfg.Sampling > 1 {
			options = 1
			count += 2 // their template, and the record
		}
		p.until, p.lastSent = p.e.cfg.Templates, p.since
	}
	p.until--
	for i, id := range []uint16{template4, template6} {
		if p.n[i] > 0 {
			b = p.set(b, id, p.sets[i])
		}
		p.sets[i], p.n[i] = p.sets[i][:0], 0
	}
	seconds := uint32(p.e.now / int64(time.Second))
	if p.v9 {
		be.PutUint16(b, 9)
		be.PutUint16(b[2:], count)
		be.PutUint32(b[4:], p.e.uptime(p.e.now))
		be.PutUint32(b[8:], seconds)
		be.PutUint32(b[12:], p.sequence)
		be.PutUint32(b[16:], p.e.cfg.Domain)
		p.sequence++
	} else {
		be.PutUint16(b, 10)
		be.PutUint16(b[2:], uint16(len(b)))
		be.PutUint32(b[4:], seconds)
		be.PutUint32(b[8:], p.sequence)
		be.PutUint32(b[12:], p.e.cfg.Domain)
		p.sequence += uint32(records + options)
	}
	p.buf = b
	return p.e.send(b)
}

// announce appends the templates, and with sampling the options template and its record.
func (p *packerT) announce(b []byte) []byte {
	var body []byte
	for i, id := range []uint16{template4, template6} {
		body = be.AppendUint16(body, id)
		body = be.AppendUint16(body, uint16(len(p.templates[i])))
		body = appendFields(body, p.templates[i])
	}
	res := &p.e.truth.res
	res.Templates += 2
	templateSet, optionsSet := uint16(2), uint16(3)
	if p.v9 {
		templateSet, optionsSet = 0, 1
	}
	b = p.set(b, templateSet, body)
	if p.e.cfg.Sampling <= 1 {
		return b
	}
	res.OptionTemplates++
	res.OptionRecords++
	n := p.e.cfg.Sampling
	body = be.AppendUint16(body[:0], templateOptions)
	var data []byte
	if p.v9 {
		const scopeSystem, random = 1, 2
		fields := []field{{scopeSystem, 4}, {ieInterval, 4}, {ieAlgorithm, 1}}
		body = be.AppendUint16(body, 4) // bytes of scope fields
		body = be.AppendUint16(body, 8) // and of the others
		body = appendFields(body, fields)
		data = be.AppendUint32(data, p.e.cfg.Domain)
		data = be.AppendUint32(data, n)
		data = append(data, random)
	} else {
		const countBased = 1
		fields := []field{{ieDomain, 4}, {ieSelectorAlgo, 2}, {iePacketsTaken, 4}, {iePacketsPassed, 4}}
		body = be.AppendUint16(body, uint16(len(fields)))
		body = be.AppendUint16(body, 1) // of which scope
		body = appendFields(body, fields)
		data = be.AppendUint32(data, p.e.cfg.Domain)
		data = be.AppendUint16(data, countBased)
		data = be.AppendUint32(data, 1)
		data = be.AppendUint32(data, n-1)
	}
	b = p.set(b, optionsSet, body)
	return p.set(b, templateOptions, data)
}

func appendFields(b []byte, fields []field) []byte {
	for _, f := range fields {
		b = be.AppendUint16(b, f.id)
		b = be.AppendUint16(b, f.size)
	}
	return b
}

// set appends a set, padded to a multiple of four bytes.
func (p *packerT) set(b []byte, id uint16, body []byte) []byte {
	pad := -len(body) & 3
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, uint16(4+len(body)+pad))
	b = append(b, body...)
	return append(b, make([]byte, pad)...)
}
