package export

import "time"

// packer5 writes NetFlow v5.
type packer5 struct {
	e        *Exporter
	buf      []byte // header and records
	n        uint16
	since    int64
	sequence uint32 // flows sent in earlier datagrams
}

// Sizes of NetFlow v5; 30 records are the most that Cisco's format allows.
const (
	header5Size = 24
	record5Size = 48
	most5       = 30
)

func (p *packer5) add(f *flow, _ uint8) error {
	if p.n == 0 {
		p.since = p.e.now
		p.buf = append(p.buf[:0], make([]byte, header5Size)...)
	}
	src, dst := f.src.As4(), f.dst.As4()
	b := p.buf
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	b = append(b, 0, 0, 0, 0) // next hop
	b = be.AppendUint16(b, uint16(f.in))
	b = be.AppendUint16(b, uint16(f.out))
	b = be.AppendUint32(b, uint32(f.packets))
	b = be.AppendUint32(b, uint32(f.bytes))
	b = be.AppendUint32(b, p.e.uptime(f.first))
	b = be.AppendUint32(b, p.e.uptime(f.last))
	b = be.AppendUint16(b, f.sport)
	b = be.AppendUint16(b, f.dport)
	b = append(b, 0, f.flags, f.proto, 0) // padding, flags, protocol, ToS
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // systems, masks, padding
	p.buf = b
	p.n++
	if p.n == most5 || len(b)+record5Size > p.e.cfg.MaxDatagram {
		return p.flush()
	}
	return nil
}

func (p *packer5) flush() error {
	if p.n == 0 {
		return nil
	}
	b := p.buf
	be.PutUint16(b, 5)
	be.PutUint16(b[2:], p.n)
	be.PutUint32(b[4:], p.e.uptime(p.e.now))
	be.PutUint32(b[8:], uint32(p.e.now/int64(time.Second)))
	be.PutUint32(b[12:], uint32(p.e.now%int64(time.Second)))
	be.PutUint32(b[16:], p.sequence)
	be.PutUint16(b[20:], uint16(p.e.cfg.Domain)) // engine type and id
	if n := p.e.cfg.Sampling; n > 1 {
		const random = 2 << 14
		be.PutUint16(b[22:], random|uint16(n))
	}
	p.sequence += uint32(p.n)
	p.n = 0
	return p.e.send(b)
}

func (p *packer5) pendingSince() (int64, bool) { return p.since, p.n > 0 }
