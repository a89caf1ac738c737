package pcapfile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/weir-ddos/weir/dataplane/wire"
)

// Writer writes a classic pcap file with nanosecond times, little endian.
type Writer struct {
	w *bufio.Writer
}

// NewWriter writes the file header for packets of link type lt to w. Call Flush at the end.
func NewWriter(w io.Writer, lt wire.LinkType) (*Writer, error) {
	bw := bufio.NewWriterSize(w, 64<<10)
	var h [24]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], magicNanos)
	le.PutUint16(h[4:], 2)
	le.PutUint16(h[6:], 4)
	le.PutUint32(h[16:], MaxRecord)
	le.PutUint32(h[20:], uint32(lt))
	if _, err := bw.Write(h[:]); err != nil {
		return nil, fmt.Errorf("write pcap header: %w", err)
	}
	return &Writer{w: bw}, nil
}

// Write appends one record: t in nanoseconds since the Unix epoch (0 up to the year 2106), wireLen in bytes (raised to len(data)
// when it is less), data at most MaxRecord bytes, which is not kept.
func (w *Writer) Write(t int64, wireLen uint32, data []byte) error {
	if len(data) > MaxRecord {
		return fmt.Errorf("record of %d bytes, the limit is %d", len(data), MaxRecord)
	}
	if sec := t / 1e9; t < 0 || sec > 1<<32-1 {
		return fmt.Errorf("time %d ns does not fit a pcap record", t)
	}
	var h [16]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], uint32(t/1e9))
	le.PutUint32(h[4:], uint32(t%1e9))
	le.PutUint32(h[8:], uint32(len(data)))
	le.PutUint32(h[12:], max(wireLen, uint32(len(data))))
	if _, err := w.w.Write(h[:]); err != nil {
		return err
	}
	_, err := w.w.Write(data)
	return err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }
