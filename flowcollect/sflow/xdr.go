package sflow

import "encoding/binary"

var be = binary.BigEndian

// cursor takes XDR items (RFC 4506) from the front of b. Taking past the end gives zeros, leaves b empty and sets short; a parser that
// has read its items asks once whether all of them were there.
type cursor struct {
	b     []byte
	short bool
}

// u32 takes an unsigned int.
func (c *cursor) u32() uint32 {
	if len(c.b) < 4 {
		c.b, c.short = nil, true
		return 0
	}
	v := be.Uint32(c.b)
	c.b = c.b[4:]
	return v
}

// u64 takes an unsigned hyper.
func (c *cursor) u64() uint64 {
	hi := c.u32()
	return uint64(hi)<<32 | uint64(c.u32())
}

// bytes takes n bytes and the padding behind them to a multiple of four. When fewer are left it returns those and sets short.
// Padding that is missing at the end of the data is not missed: some exporters leave it out.
func (c *cursor) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(c.b)) {
		v := c.b
		c.b, c.short = nil, true
		return v
	}
	v := c.b[:n]
	c.b = c.b[n:]
	c.b = c.b[min(uint(-n&3), uint(len(c.b))):]
	return v
}

// fixed takes size bytes, a multiple of four, or nil.
func (c *cursor) fixed(size uint) []byte {
	if uint(len(c.b)) < size {
		c.b, c.short = nil, true
		return nil
	}
	b := c.b[:size:size]
	c.b = c.b[size:]
	return b
}

// skip drops n items of four bytes each.
func (c *cursor) skip(n uint32) {
	if uint64(n)*4 > uint64(len(c.b)) {
		c.b, c.short = nil, true
		return
	}
	c.b = c.b[n*4:]
}

// address takes an address with its type in front: 1 IPv4, 2 IPv6; 0, unknown, has no bytes. IPv4 becomes v4-mapped. ok is false for
// another type, behind which nothing can be found.
func (c *cursor) address(a *[16]byte) (ok bool) {
	*a = [16]byte{}
	switch c.u32() {
	case addressUnknown:
		return !c.short
	case addressIPv4:
		if len(c.b) < 4 {
			c.b, c.short = nil, true
			return false
		}
		putIPv4(a, c.b)
		c.b = c.b[4:]
	case addressIPv6:
		if len(c.b) < 16 {
			c.b, c.short = nil, true
			return false
		}
		*a = [16]byte(c.b)
		c.b = c.b[16:]
	default:
		return false
	}
	return true
}

const (
	addressUnknown = 0
	addressIPv4    = 1
	addressIPv6    = 2
)

// putIPv4 stores the four bytes at the front of b as a v4-mapped address.
func putIPv4(a *[16]byte, b []byte) {
	*a = [16]byte{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
}
