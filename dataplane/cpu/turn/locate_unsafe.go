//go:build amd64 || arm64

package turn

import (
	"fmt"
	"runtime"
	"runtime/debug"
	_ "unsafe" // for go:linkname; what is read is read by assembly
)

// A P begins with its number, its status, a link, the counter of turns, that of system calls, what the scheduler saw of both
// and when, and its M. A G has its M behind two pairs of words about its stack and two pointers; the linker relies on that.
const (
	gM      = 48
	pID     = 0
	pStatus = 4
	pTick   = 16 // keep knows it too
	pM      = 48

	running = 1   // status of a P that a thread holds
	mWords  = 512 // bytes of an M in which its P is looked for; it has more
)

// self is the calling goroutine's G.
func self() uintptr

// load and load32 read a word; they fault where nothing is.
func load(at uintptr) uintptr
func load32(at uintptr) uint32

// keep adds one to the counter of turns of the P of the caller's M, if it has one. The caller cannot be preempted in between.
func keep(m, p uintptr)

// procPin returns the number of the P that the caller holds. It is one of the functions that the runtime lets others have.
//
//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// current is the number of the caller's P. It may be another one a moment later.
func current() uint32 {
	id := procPin()
	procUnpin()
	return uint32(id)
}

// locate looks for the way from a goroutine to the counter, and tries out whether that counter counts turns.
func locate() (at layout, err error) {
	done := make(chan struct{})
	go func() { // never unlocked: what was set for this goroutine and its thread ends with both
		defer close(done)
		runtime.LockOSThread()
		debug.SetPanicOnFault(true)
		if at, err = search(); err == nil {
			err = try(at)
		}
	}()
	<-done
	return at, err
}

// safely returns what look says, and false when it reads where nothing is: a word taken for an address may be any number. The
// caller's goroutine panics on faults.
func safely(look func() bool) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return look()
}

// plausible reports whether a word may be the address of something of the runtime's: aligned, and where programs have their memory.
func plausible(a uintptr) bool { return a&7 == 0 && a >= 1<<12 && a < 1<<47 }

// attempts is how often something is looked at that the scheduler may change meanwhile.
const attempts = 100

// search finds the M of this goroutine and the word in it that leads to the P.
func search() (layout, error) {
	g := self()
	m := load(g + gM)
	if !safely(func() bool { return refers(m, g) }) {
		return layout{}, fmt.Errorf("%w: no thread", errNowhere)
	}
	for range attempts {
		for off := uintptr(0); off < mWords; off += 8 {
			if p := load(m + off); holds(m, p) {
				return layout{m: gM, p: off}, nil
			}
		}
		runtime.Gosched()
	}
	return layout{}, errNowhere
}

// refers reports whether one of an M's words is its current G, and the first its own G, whose M it is too.
func refers(m, g uintptr) bool {
	if !plausible(m) {
		return false
	}
	if own := load(m); !plausible(own) || load(own+gM) != m {
		return false
	}
	for off := uintptr(8); off < mWords; off += 8 {
		if load(m+off) == g {
			return true
		}
	}
	return false
}

// holds reports whether p looks like the P that m, the caller's thread, holds.
func holds(m, p uintptr) bool {
	return plausible(p) && safely(func() bool {
		return load(p+pM) == m && load32(p+pStatus) == running && load32(p+pID) == current()
	})
}

// try watches the counter while the goroutine gives up its turn again and again: it counts each new one, by little. The P may be
// another one each time, so it is tried until one has come back often enough.
func try(at layout) error {
	const enough = 3
	m := load(self() + at.m)
	seen := make(map[uintptr]uint32)
	turns, strays := 0, 0
	for range 4*runtime.GOMAXPROCS(0) + attempts {
		p := load(m + at.p)
		if !holds(m, p) { // taken away between two looks
			strays++
			runtime.Gosched()
			continue
		}
		tick := load32(p + pTick)
		if last, again := seen[p]; again {
			if gone := tick - last; gone == 0 || gone > 1<<20 {
				return fmt.Errorf("%w: %d turns when there was one", errNowhere, gone)
			}
			if turns++; turns == enough {
				return nil
			}
		}
		seen[p] = tick
		runtime.Gosched()
	}
	return fmt.Errorf("%w: %d turns seen, %d times nothing", errNowhere, turns, strays)
}
