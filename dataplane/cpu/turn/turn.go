package turn

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// found is where the counter lies, as locate finds it once.
var found = sync.OnceValues(locate)

// errNowhere says that no P was found behind the goroutine.
var errNowhere = errors.New("turns: the scheduler's processor is not where it is expected to be in this version of Go's runtime")

// Check returns nil when turns can be kept, and otherwise why not. The first call takes about a millisecond.
func Check() error {
	_, err := found()
	return err
}

// Keeper keeps the turn of one goroutine. The zero Keeper does nothing.
type Keeper struct {
	at layout
	on bool
}

// kept is how many Keepers are on: at least one P is left to all other goroutines, which would never run without.
var kept atomic.Int32

// Take is a Keeper for a goroutine that polls from here on, until Give. It is off when Check says why, and when GOMAXPROCS is so
// small that all P's would be kept.
func Take() Keeper {
	at, err := found()
	if err != nil {
		return Keeper{}
	}
	if int(kept.Add(1)) >= runtime.GOMAXPROCS(0) {
		kept.Add(-1)
		return Keeper{}
	}
	return Keeper{at: at, on: true}
}

// Give ends what Take began, and leaves k off.
func (k *Keeper) Give() {
	if k.on {
		kept.Add(-1)
	}
	*k = Keeper{}
}

// On reports whether Keep has an effect.
func (k *Keeper) On() bool { return k.on }

// Keep makes the calling goroutine's turn a new one. It takes a nanosecond or two, and must be called at least every 5 ms to keep
// the turn.
func (k *Keeper) Keep() {
	if k.on {
		keep(k.at.m, k.at.p)
	}
}

// layout says where things are in the runtime's structures.
type layout struct {
	m uintptr // of the thread (M) in a goroutine (G)
	p uintptr // of the processor (P) in a thread
}
