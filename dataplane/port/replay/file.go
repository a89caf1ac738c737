package replay

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// file is one capture to play. A regular file is closed after the survey and opened again when its turn comes, so that a
// thousand rotated captures need one descriptor; a pipe stays open with its first record kept.
type file struct {
	name  string
	empty bool
	first int64 // time of the first record; valid unless empty

	pipe    *os.File // nil for a regular file
	reader  *pcapfile.Reader
	pending *pcapfile.Record // read ahead from the pipe, with its own copy of the data
}

// pcapngMagic begins a pcapng file: the block type of a section header, a palindrome in either byte order.
const pcapngMagic = 0x0a0d0d0a

// survey finds the link types and the first time of a capture. Damage behind the first record is not its concern.
func survey(name string) (*file, []wire.LinkType, error) {
	f := &file{name: name}
	h, err := os.Open(name)
	if err != nil {
		return nil, nil, pathCause(err)
	}
	info, err := h.Stat()
	if err != nil {
		_ = h.Close() // only read
		return nil, nil, pathCause(err)
	}
	regular := info.Mode().IsRegular()
	several := regular && isPcapng(h)
	r, err := pcapfile.NewReader(h)
	if err != nil {
		_ = h.Close() // only read
		return nil, nil, err
	}
	rec, err := r.Next()
	if err != nil && !errors.Is(err, io.EOF) && regular {
		// Nothing to play, and the reader of the file will say so again with its place.
		_ = h.Close() // only read
		return nil, nil, err
	}
	f.empty = err != nil
	var links []wire.LinkType
	if !f.empty {
		f.first = rec.Time
		links = append(links, rec.LinkType)
	}
	if !regular {
		if !f.empty {
			rec.Data = slices.Clone(rec.Data)
			f.pending = &rec
		}
		f.pipe, f.reader = h, r
		return f, links, nil
	}
	for several && err == nil {
		if rec, err = r.Next(); err == nil && !slices.Contains(links, rec.LinkType) {
			links = append(links, rec.LinkType)
		}
	}
	_ = h.Close() // only read
	return f, links, nil
}

// isPcapng looks at the first four bytes without moving the file's place.
func isPcapng(h *os.File) bool {
	var b [4]byte
	_, err := h.ReadAt(b[:], 0)
	return err == nil && binary.BigEndian.Uint32(b[:]) == pcapngMagic
}

// open makes next usable.
func (f *file) open() error {
	if f.reader != nil {
		return nil
	}
	h, err := os.Open(f.name)
	if err != nil {
		return pathCause(err)
	}
	r, err := pcapfile.NewReader(h)
	if err != nil {
		_ = h.Close() // only read
		return err
	}
	f.pipe, f.reader = h, r
	return nil
}

// read returns the next record; its data is valid until the next call.
func (f *file) read() (pcapfile.Record, error) {
	if f.pending != nil {
		rec := *f.pending
		f.pending = nil
		return rec, nil
	}
	return f.reader.Next()
}

func (f *file) close() {
	if f.pipe != nil {
		_ = f.pipe.Close() // only read
	}
	f.pipe, f.reader, f.pending = nil, nil, nil
}

// pathCause drops the path from an error whose caller names the file.
func pathCause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
