package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// MaxRecord is the most captured bytes that one record may hold; a record that claims more is an error.
const MaxRecord = 256 << 10

// ErrFormat is wrapped by every error about a file's contents other than its being cut short.
var ErrFormat = errors.New("bad capture file")

// Record is one captured packet.
type Record struct {
	// Time is when it was captured, nanoseconds since the Unix epoch; 0 in a pcapng simple packet block, which has none.
	Time int64
	// WireLen is the packet's length on the wire in bytes, never less than len(Data).
	WireLen uint32
	// Data is the captured part. It is valid until the next call of Next.
	Data []byte
	// LinkType says how Data begins. In pcapng it may change from record to record.
	LinkType wire.LinkType
}

// Reader reads the records of one capture file in order.
type Reader struct {
	r      *bufio.Reader
	closer io.Closer
	off    int64 // bytes consumed so far
	order  binary.ByteOrder
	ng     *ngState // nil in a classic file
	classicState
	buf []byte // grows to the largest record seen, at most MaxRecord
	err error  // sticky
	hdr [32]byte
}

// classicState is what the global header of a classic pcap file says.
type classicState struct {
	link    wire.LinkType
	nanos   bool
	recHead int // bytes of a record header: 16, or 24 in the modified format
}

// Magic numbers, as read in the file's own byte order.
const (
	magicMicros   = 0xa1b2c3d4
	magicNanos    = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's: 8 further bytes in each record header
	magicNG       = 0x0a0d0d0a // section header block; the same in both byte orders
)

// Open opens the capture file at path. The caller closes the Reader.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path already
	}
	r, err := NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.closer = f
	return r, nil
}

// NewReader reads the file header from src and returns a Reader of its records. It buffers src itself.
// A source with no byte at all gives io.ErrUnexpectedEOF wrapped, as does any cut header.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{r: bufio.NewReaderSize(src, 64<<10)}
	b, err := r.take(4)
	if err != nil {
		return nil, r.cut("file header", err)
	}
	le, be := binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b)
	if le == magicNG {
		r.ng = &ngState{}
		return r, r.section()
	}
	switch {
	case classicMagic(le):
		r.order = binary.LittleEndian
		return r, r.classicHeader(le)
	case classicMagic(be):
		r.order = binary.BigEndian
		return r, r.classicHeader(be)
	}
	return nil, fmt.Errorf("%w: it starts with %#08x, which is neither pcap nor pcapng", ErrFormat, be)
}

func classicMagic(m uint32) bool { return m == magicMicros || m == magicNanos || m == magicModified }

// classicHeader reads the global header behind its magic.
func (r *Reader) classicHeader(magic uint32) error {
	b, err := r.take(20)
	if err != nil {
		return r.cut("file header", err)
	}
	if major := r.order.Uint16(b); major != 2 {
		return fmt.Errorf("%w: pcap version %d.%d, want 2.x", ErrFormat, major, r.order.Uint16(b[2:]))
	}
	// The upper half of the last word holds FCS flags, not link type.
	r.link = wire.LinkType(r.order.Uint32(b[16:]))
	r.nanos = magic == magicNanos
	r.recHead = 16
	if magic == magicModified {
		r.recHead = 24
	}
	return nil
}

// Next returns the next record. At the end of the file it returns io.EOF; when the file is cut inside a record, an error that
// wraps io.ErrUnexpectedEOF; when it is malformed, one that wraps ErrFormat. Both say at which byte offset. Errors are final.
func (r *Reader) Next() (Record, error) {
	if r.err != nil {
		return Record{}, r.err
	}
	var rec Record
	if r.ng != nil {
		rec, r.err = r.nextNG()
	} else {
		rec, r.err = r.nextClassic()
	}
	if r.err != nil {
		return Record{}, r.err
	}
	return rec, nil
}

// Offset is how many bytes of the file have been consumed.
func (r *Reader) Offset() int64 { return r.off }

// Close closes the file that Open opened; after NewReader it does nothing.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

func (r *Reader) nextClassic() (Record, error) {
	start := r.off
	b, err := r.take(r.recHead)
	if errors.Is(err, io.EOF) {
		return Record{}, io.EOF
	}
	if err != nil {
		return Record{}, r.cut("record header", err)
	}
	sec, frac := int64(r.order.Uint32(b)), int64(r.order.Uint32(b[4:]))
	capLen, wireLen := r.order.Uint32(b[8:]), r.order.Uint32(b[12:])
	if !r.nanos {
		frac *= 1000
	}
	data, err := r.record(start, capLen)
	if err != nil {
		return Record{}, err
	}
	return Record{Time: sec*1e9 + frac, WireLen: max(wireLen, capLen), Data: data, LinkType: r.link}, nil
}

// record reads n captured bytes of the record that began at start.
func (r *Reader) record(start int64, n uint32) ([]byte, error) {
	if n > MaxRecord {
		return nil, fmt.Errorf("%w: record at offset %d claims %d captured bytes, the limit is %d", ErrFormat, start, n, MaxRecord)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 2048))
	}
	data := r.buf[:n]
	got, err := io.ReadFull(r.r, data)
	r.off += int64(got)
	if err != nil {
		return nil, r.cut(fmt.Sprintf("record at offset %d", start), err)
	}
	return data, nil
}

// take reads n bytes (at most len(hdr)) that stay valid until the next take. io.EOF means that not one byte was left.
func (r *Reader) take(n int) ([]byte, error) {
	got, err := io.ReadFull(r.r, r.hdr[:n])
	r.off += int64(got)
	return r.hdr[:n], err
}

// skip discards n bytes without holding them.
func (r *Reader) skip(n int64) error {
	got, err := io.CopyN(io.Discard, r.r, n)
	r.off += got
	return err
}

// cut words an error of the underlying reader: an end inside what is an io.ErrUnexpectedEOF.
func (r *Reader) cut(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("file ends at offset %d inside the %s: %w", r.off, what, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read at offset %d: %w", r.off, err)
}
