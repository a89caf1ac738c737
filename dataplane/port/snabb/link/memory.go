//go:build linux

package link

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// seals keep the memory as long as it is while anybody has it mapped.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// Memory is one side's view of the memory. Its slices must not be used after Close.
type Memory struct {
	Geometry
	// all is everything; the reader may only read it.
	all []byte
	// tails is the page of the reader's words. On Snabb's side it is a part of all.
	tails []byte
	own   bool // tails is a mapping of its own
}

// create makes the memory and describes it in its first page. The descriptor is the other side's.
func create(g Geometry, instance uint64) (m *Memory, fd int, err error) {
	fd, err = unix.MemfdCreate("weir-firehose", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, fmt.Errorf("memfd: %w", err)
	}
	fail := func(what string, err error) (*Memory, int, error) {
		return nil, -1, errors.Join(fmt.Errorf("%s %d bytes of memory: %w", what, g.Size(), err), unix.Close(fd))
	}
	if err := unix.Ftruncate(fd, int64(g.Size())); err != nil {
		return fail("take", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fail("seal", err)
	}
	// All pages at once: no page fault in Snabb's loop, and no fatal signal later when there is not enough.
	if err := unix.Fallocate(fd, 0, 0, int64(g.Size())); err != nil {
		return fail("take", err)
	}
	all, err := unix.Mmap(fd, 0, g.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fail("map", err)
	}
	m = &Memory{Geometry: g, all: all, tails: all[offTails : offTails+page]}
	for off, v := range m.title() {
		word(all, off).Store(v)
	}
	word(all, OffInstance).Store(instance)
	return m, fd, nil
}

// title is what the first page must say.
func (g Geometry) title() map[int]uint64 {
	return map[int]uint64{
		OffMagic: Magic, OffVersion: Version,
		OffQueues: uint64(g.Queues), OffSlots: uint64(g.Slots), OffData: uint64(g.Data),
	}
}

// open maps what the other side made. It refuses memory that could be taken away, or that is not as it was asked for.
func open(fd int, g Geometry) (*Memory, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("look at the memory: %w", err)
	}
	if stat.Size < int64(g.Size()) {
		return nil, fmt.Errorf("%d bytes of memory where %d were wanted", stat.Size, g.Size())
	}
	if has, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || has&unix.F_SEAL_SHRINK == 0 {
		return nil, errors.New("the memory is not sealed against shrinking")
	}
	all, err := unix.Mmap(fd, 0, g.Size(), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of memory: %w", g.Size(), err)
	}
	m := &Memory{Geometry: g, all: all, own: true}
	for off, want := range m.title() {
		if got := word(all, off).Load(); got != want {
			return nil, errors.Join(fmt.Errorf("the memory says %#x at %d, not %#x", got, off, want), m.Close())
		}
	}
	if m.tails, err = unix.Mmap(fd, offTails, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(fmt.Errorf("map a page of memory: %w", err), m.Close())
	}
	return m, nil
}

// Close gives the mapping back. It is not safe while anything of it is in use.
func (m *Memory) Close() error {
	var errs []error
	if m.own && m.tails != nil {
		errs = append(errs, unix.Munmap(m.tails))
	}
	if m.all != nil {
		errs = append(errs, unix.Munmap(m.all))
	}
	m.all, m.tails = nil, nil
	return errors.Join(errs...)
}

// Word is a word of the first page, at one of the Off constants or at Head or Dropped of a queue. The reader must not store.
func (m *Memory) Word(off int) *atomic.Uint64 { return word(m.all, off) }

// TailWord is queue q's Tail word.
func (m *Memory) TailWord(q int) *atomic.Uint64 { return word(m.tails, m.Tail(q)-offTails) }

// Queue returns the descriptors and the data of queue q. The reader must not write to them.
func (m *Memory) Queue(q int) (slots []Desc, data []byte) {
	at := m.Frames(q)
	return descs(m.all, m.Descs(q), m.Slots), m.all[at : at+m.Data : at+m.Data]
}
