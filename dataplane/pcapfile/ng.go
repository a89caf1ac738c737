package pcapfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// pcapng block types (draft-ietf-opsawg-pcapng section 4); all others are skipped.
const (
	blockInterface = 0x00000001
	blockPacket    = 0x00000002 // obsolete
	blockSimple    = 0x00000003
	blockEnhanced  = 0x00000006
)

const (
	byteOrderMagic = 0x1a2b3c4d
	// maxInterfaces bounds the interface list of a section: a file of nothing but interface blocks must not grow us.
	maxInterfaces = 1 << 16
	// maxOptions is how much of an interface block's options is looked at.
	maxOptions = 4096
	// resolMicros is the if_tsresol of an interface that names none.
	resolMicros = 6
)

// ngState is the current section of a pcapng file.
type ngState struct {
	ifaces []iface
}

// iface is one interface description.
type iface struct {
	link   wire.LinkType
	snap   uint32
	resol  uint8 // if_tsresol: 10^-n, or 2^-n with the top bit set
	offset int64 // if_tsoffset, seconds
}

// section reads a section header block behind its type and forgets the section before.
func (r *Reader) section() error {
	start := r.off - 4
	b, err := r.take(8) // total length, byte-order magic
	if err != nil {
		return r.cut("section header", err)
	}
	switch {
	case binary.LittleEndian.Uint32(b[4:]) == byteOrderMagic:
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b[4:]) == byteOrderMagic:
		r.order = binary.BigEndian
	default:
		return fmt.Errorf("%w: section header at offset %d has no byte-order magic", ErrFormat, start)
	}
	total := r.order.Uint32(b)
	if total < 28 {
		return fmt.Errorf("%w: section header at offset %d is %d bytes long", ErrFormat, start, total)
	}
	if b, err = r.take(4); err != nil {
		return r.cut("section header", err)
	}
	if major := r.order.Uint16(b); major != 1 {
		return fmt.Errorf("%w: section at offset %d is pcapng version %d, want 1", ErrFormat, start, major)
	}
	r.ng.ifaces = r.ng.ifaces[:0]
	return r.finish(start, total, 16)
}

// nextNG walks blocks until one holds a packet.
func (r *Reader) nextNG() (Record, error) {
	for {
		start := r.off
		b, err := r.take(4)
		if errors.Is(err, io.EOF) {
			return Record{}, io.EOF
		}
		if err != nil {
			return Record{}, r.cut("block header", err)
		}
		// The type of a section header reads alike in both byte orders, and only then may the order change.
		kind := r.order.Uint32(b)
		if kind == magicNG {
			if err := r.section(); err != nil {
				return Record{}, err
			}
			continue
		}
		if b, err = r.take(4); err != nil {
			return Record{}, r.cut("block header", err)
		}
		total := r.order.Uint32(b)
		if total < 12 {
			return Record{}, fmt.Errorf("%w: block at offset %d claims a length of %d", ErrFormat, start, total)
		}
		rec, ok, err := r.block(kind, start, total)
		if err != nil || ok {
			return rec, err
		}
	}
}

// block reads one block behind its type and length; ok says that it held a packet.
func (r *Reader) block(kind uint32, start int64, total uint32) (rec Record, ok bool, err error) {
	switch kind {
	case blockInterface:
		return rec, false, r.description(start, total)
	case blockEnhanced, blockPacket:
		rec, err = r.enhanced(kind, start, total)
		return rec, true, err
	case blockSimple:
		rec, err = r.simple(start, total)
		return rec, true, err
	}
	return rec, false, r.finish(start, total, 8)
}

// finish skips what is left of a block of which used bytes were consumed, and checks the length that ends it.
func (r *Reader) finish(start int64, total, used uint32) error {
	body := (int64(total)+3)&^3 - 4 // some writers forget to count the padding
	if rest := body - int64(used); rest > 0 {
		if err := r.skip(rest); err != nil {
			return r.cut(fmt.Sprintf("block at offset %d", start), err)
		}
	} else if rest < 0 {
		return fmt.Errorf("%w: block at offset %d is too short for its contents", ErrFormat, start)
	}
	b, err := r.take(4)
	if err != nil {
		return r.cut(fmt.Sprintf("block at offset %d", start), err)
	}
	if end := r.order.Uint32(b); end != total {
		return fmt.Errorf("%w: block at offset %d starts with length %d and ends with %d", ErrFormat, start, total, end)
	}
	return nil
}

// description reads an interface description block.
func (r *Reader) description(start int64, total uint32) error {
	if total < 20 {
		return fmt.Errorf("%w: interface block at offset %d is %d bytes long", ErrFormat, start, total)
	}
	if len(r.ng.ifaces) >= maxInterfaces {
		return fmt.Errorf("%w: more than %d interfaces in one section, at offset %d", ErrFormat, maxInterfaces, start)
	}
	b, err := r.take(8)
	if err != nil {
		return r.cut("interface block", err)
	}
	ifc := iface{link: wire.LinkType(r.order.Uint16(b)), snap: r.order.Uint32(b[4:]), resol: resolMicros}
	n := min(total-20, maxOptions)
	opts, err := r.record(start, n)
	if err != nil {
		return err
	}
	ifc.options(r.order, opts)
	r.ng.ifaces = append(r.ng.ifaces, ifc)
	return r.finish(start, total, 16+n)
}

// options reads if_tsresol (9) and if_tsoffset (14); the rest does not matter here.
func (i *iface) options(order binary.ByteOrder, b []byte) {
	for len(b) >= 4 {
		code, n := order.Uint16(b), int(order.Uint16(b[2:]))
		b = b[4:]
		if code == 0 || n > len(b) {
			return
		}
		switch {
		case code == 9 && n >= 1:
			i.resol = b[0]
		case code == 14 && n >= 8:
			i.offset = int64(order.Uint64(b))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}

// enhanced reads an enhanced packet block, or the obsolete packet block that differs only in its first word.
func (r *Reader) enhanced(kind uint32, start int64, total uint32) (Record, error) {
	if total < 32 {
		return Record{}, fmt.Errorf("%w: packet block at offset %d is %d bytes long", ErrFormat, start, total)
	}
	b, err := r.take(20)
	if err != nil {
		return Record{}, r.cut("packet block", err)
	}
	id := r.order.Uint32(b)
	if kind == blockPacket {
		id = uint32(r.order.Uint16(b))
	}
	if int64(id) >= int64(len(r.ng.ifaces)) {
		return Record{}, fmt.Errorf("%w: packet at offset %d names interface %d of %d", ErrFormat, start, id, len(r.ng.ifaces))
	}
	ifc := r.ng.ifaces[id]
	ticks := uint64(r.order.Uint32(b[4:]))<<32 | uint64(r.order.Uint32(b[8:]))
	capLen, wireLen := r.order.Uint32(b[12:]), r.order.Uint32(b[16:])
	if capLen > total-32 {
		return Record{}, fmt.Errorf("%w: packet at offset %d claims %d bytes in a block of %d", ErrFormat, start, capLen, total)
	}
	data, err := r.record(start, capLen)
	if err != nil {
		return Record{}, err
	}
	rec := Record{Time: nanoseconds(ticks, ifc.resol, ifc.offset), WireLen: max(wireLen, capLen), Data: data, LinkType: ifc.link}
	return rec, r.finish(start, total, 28+capLen)
}

// simple reads a simple packet block: no time, and the first interface's snap length instead of a captured length.
func (r *Reader) simple(start int64, total uint32) (Record, error) {
	if total < 16 {
		return Record{}, fmt.Errorf("%w: packet block at offset %d is %d bytes long", ErrFormat, start, total)
	}
	if len(r.ng.ifaces) == 0 {
		return Record{}, fmt.Errorf("%w: packet at offset %d before any interface", ErrFormat, start)
	}
	b, err := r.take(4)
	if err != nil {
		return Record{}, r.cut("packet block", err)
	}
	ifc := r.ng.ifaces[0]
	wireLen := r.order.Uint32(b)
	capLen := min(wireLen, total-16)
	if ifc.snap != 0 {
		capLen = min(capLen, ifc.snap)
	}
	data, err := r.record(start, capLen)
	if err != nil {
		return Record{}, err
	}
	return Record{WireLen: max(wireLen, capLen), Data: data, LinkType: ifc.link}, r.finish(start, total, 12+capLen)
}

// nanoseconds turns ticks of the given if_tsresol into nanoseconds since the epoch, saturating.
func nanoseconds(ticks uint64, resol uint8, offset int64) int64 {
	var hi, lo uint64
	exp := uint(resol & 0x7f)
	switch {
	case resol&0x80 != 0: // 2^-exp
		hi, lo = bits.Mul64(ticks, 1e9)
		if exp < 64 {
			lo = lo>>exp | hi<<(64-exp)
			hi >>= exp
		} else {
			hi, lo = 0, hi>>(exp-64)
		}
	case exp <= 9:
		hi, lo = bits.Mul64(ticks, pow10(9-exp))
	case exp-9 < 20:
		lo = ticks / pow10(exp-9)
	}
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return addSeconds(int64(lo), offset)
}

// addSeconds adds sec seconds to ns, saturating.
func addSeconds(ns, sec int64) int64 {
	const most = math.MaxInt64 / 1_000_000_000
	if sec > most {
		return math.MaxInt64
	}
	if sec < -most {
		return math.MinInt64
	}
	sum := ns + sec*1e9
	if sec > 0 && sum < ns {
		return math.MaxInt64
	}
	return sum // ns is not negative, so a negative offset cannot underflow
}

func pow10(n uint) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
