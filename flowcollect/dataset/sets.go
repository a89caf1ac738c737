package dataset

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// Sets walks the sets of the datagram from b[pos] on; pos is behind its header. Each round goes on by 4 bytes at least, or ends the walk.
func (d *Reader) Sets(b []byte, pos int) (first record.Code) {
	for len(b)-pos >= 4 {
		id, n := binary.BigEndian.Uint16(b[pos:]), int(binary.BigEndian.Uint16(b[pos+2:]))
		if n < 4 {
			if id == 0 && n == 0 {
				return d.stats.Count(first, record.ZeroFill) // PAN-OS, ACI
			}
			return d.stats.Count(first, record.SetTooShort)
		}
		end := pos + n
		if end > len(b) {
			end = len(b)
			first = d.stats.Count(first, record.SetTruncated)
		}
		if c := d.set(id, b, pos+4, end); first == record.OK {
			first = c
		}
		pos = end
	}
	if pos < len(b) {
		first = d.stats.Count(first, record.TrailingBytes)
	}
	return first
}

// set reads the contents of set id, b[pos:end].
func (d *Reader) set(id uint16, b []byte, pos, end int) record.Code {
	templates, options := uint16(template.SetIPFIXData), uint16(template.SetIPFIXOption)
	if d.key.Protocol == record.NetFlow9 {
		templates, options = template.Set9Data, template.Set9Options
	}
	switch {
	case id >= template.FirstData:
		return d.Data(id, b, pos, end)
	case id == templates:
		return d.Templates(b[pos:end], template.Data)
	case id == options:
		return d.Templates(b[pos:end], template.Options)
	}
	return d.stats.Count(record.OK, record.ReservedSet)
}
