//go:build snabb && cgo

package main

// #cgo CFLAGS: -O3 -Wall
// #include "firehose.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// C's idea of the layout must be link's: a difference does not compile.
var (
	_ [C.WEIR_QUEUES - link.MaxQueues]struct{}
	_ [link.MaxQueues - C.WEIR_QUEUES]struct{}
	_ [C.WEIR_LINE - link.Line]struct{}
	_ [link.Line - C.WEIR_LINE]struct{}
	_ [C.sizeof_struct_weir_desc - unsafe.Sizeof(link.Desc{})]struct{}
	_ [unsafe.Sizeof(link.Desc{}) - C.sizeof_struct_weir_desc]struct{}
)

// How long the callback may take to see an offer, and how often we look.
const (
	takenWithin = time.Second
	lookEvery   = time.Millisecond
)

// feeds are by device.
type feeds map[string]*C.struct_weir_feed

// source implements link.Source over the callback. A feed is the callback's from its offer until the offer of what follows was taken.
type source struct {
	mu    sync.Mutex // guards feeds
	feeds feeds
}

// find is a NIC's number.
func find(device string) (C.uint32_t, bool) {
	for i := range C.weir_nics() {
		if C.GoString(C.weir_nic_name(i)) == device {
			return i, true
		}
	}
	return 0, false
}

// Devices implements link.Source.
func (s *source) Devices() []string {
	var names []string
	for i := range C.weir_nics() {
		names = append(names, C.GoString(C.weir_nic_name(i)))
	}
	return names
}

// Attach implements link.Source.
func (s *source) Attach(device string, m *link.Memory) error {
	nic, ok := find(device)
	if !ok {
		return fmt.Errorf("there is no %s", device)
	}
	feed, err := newFeed(m)
	if err != nil {
		return err
	}
	C.weir_offer(nic, feed)
	for begin := time.Now(); C.weir_taken(nic) == 0; time.Sleep(lookEvery) {
		if time.Since(begin) > takenWithin && C.weir_withdraw(nic, feed) != 0 {
			C.weir_feed_free(feed)
			return errors.New("the NIC is not polled by Snabb")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds[device] = feed
	return nil
}

// Detach implements link.Source.
func (s *source) Detach(device string, quit <-chan struct{}) bool {
	nic, ok := find(device)
	s.mu.Lock()
	feed := s.feeds[device]
	s.mu.Unlock()
	if !ok || feed == nil {
		return true
	}
	C.weir_offer(nic, nil)
	for C.weir_taken(nic) == 0 {
		select {
		case <-quit:
			return false
		case <-time.After(lookEvery):
		}
	}
	s.mu.Lock()
	delete(s.feeds, device)
	s.mu.Unlock()
	C.weir_feed_free(feed)
	return true
}

// newFeed tells C where everything is. Sound: the addresses are of m's mapping, no Go memory, and m is closed only when the callback uses the
// feed no more.
func newFeed(m *link.Memory) (*C.struct_weir_feed, error) {
	word := func(w *atomic.Uint64) C.uintptr_t { return C.uintptr_t(uintptr(unsafe.Pointer(w))) }
	f := C.weir_feed_new(C.uint32_t(m.Queues), C.uint64_t(m.Slots), C.uint64_t(m.Data), C.uint32_t(m.Snap),
		word(m.Word(link.OffPolls)), word(m.Word(link.OffMissed)))
	if f == nil {
		return nil, errors.New("out of memory")
	}
	for q := range m.Queues {
		slots, data := m.Queue(q)
		if C.weir_feed_queue(f, C.uint32_t(q), word(m.Word(m.Head(q))), word(m.Word(m.Dropped(q))), word(m.TailWord(q)),
			C.uintptr_t(uintptr(unsafe.Pointer(&slots[0]))), C.uintptr_t(uintptr(unsafe.Pointer(&data[0])))) == 0 {
			C.weir_feed_free(f)
			return nil, errors.New("out of memory")
		}
	}
	return f, nil
}

// figures says in a line for each NIC what it received.
func figures() []string {
	var lines []string
	for i := range C.weir_nics() {
		var f C.struct_weir_figures
		C.weir_nic_figures(i, &f)
		lines = append(lines, fmt.Sprintf("%s: %d frames, %d dropped by full rings, %d without a reader",
			C.GoString(C.weir_nic_name(i)), uint64(f.frames), uint64(f.dropped), uint64(f.missed)))
	}
	return lines
}

// takeAll takes what is offered in place of the callback. Only Snabb's thread may call it.
func takeAll() { C.weir_take_all() }
