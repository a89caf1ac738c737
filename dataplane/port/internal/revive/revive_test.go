package revive

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

func TestLostDeviceIsOpenedAgain(t *testing.T) {
	t.Parallel()
	var lost, broken atomic.Bool
	var opens, closes atomic.Int64
	k := Keep("dev0", Hooks{
		Lost: func() string {
			if lost.Load() {
				return "gone for a walk"
			}
			return ""
		},
		Close: func(within time.Duration) error {
			if closes.Add(1); within > 0 {
				return errors.New("held")
			}
			return nil
		},
		Open: func() error {
			if broken.Load() {
				return errors.New("still away")
			}
			lost.Store(false)
			opens.Add(1)
			return nil
		},
	})
	defer k.Stop()
	wait := func(what string, ok func(why string, reopens uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			why, n := k.State()
			if ok(why, n) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, %d reopens", what, why, n)
			}
		}
	}
	for round := range uint64(2) {
		broken.Store(true)
		lost.Store(true)
		wait("failure to open is reported", func(why string, _ uint64) bool {
			return strings.Contains(why, "still away") && strings.Contains(why, port.ErrGone.Error()) && strings.Contains(why, "dev0")
		})
		broken.Store(false)
		wait("return", func(why string, n uint64) bool { return why == "" && n == round+1 })
	}
	k.Stop()
	if opens.Load() != 2 || closes.Load() != 2 {
		t.Errorf("%d opens and %d closes", opens.Load(), closes.Load())
	}
	if err := k.Close(); err == nil || err.Error() != "held" {
		t.Errorf("close: %v", err)
	}
	if err := k.Close(); err != nil || closes.Load() != 3 {
		t.Errorf("second close: %v, %d closes", err, closes.Load())
	}
}
