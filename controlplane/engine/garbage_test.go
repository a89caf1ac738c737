package engine

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// TestTickGarbage: what a tick throws away does not grow with the hosts that it looks at, so that collections stay rare. Hosts of both
// families have more and less each tick; none is near a limit.
func TestTickGarbage(t *testing.T) {
	perTick := func(hosts int) uint64 {
		w := newWorld(t, settings(t, nil), Deps{})
		round := func(n int) {
			for i := range hosts {
				host := fmt.Sprintf("2001:db8::%x", i)
				if i%2 == 0 && i < 512 {
					host = fmt.Sprintf("198.51.100.%d", i/2)
				}
				w.count(host, traffic.Direction(i/2%2), traffic.ClassTCP, uint64(1+(i*7+n)%50))
			}
		}
		var before, after runtime.MemStats
		var sum uint64
		const ticks = 60
		for n := range ticks + 20 {
			round(n)
			runtime.ReadMemStats(&before)
			w.tick(1)
			runtime.ReadMemStats(&after)
			if n >= 20 {
				sum += after.TotalAlloc - before.TotalAlloc
			}
		}
		return sum / ticks
	}
	few, many := perTick(800), perTick(3200)
	t.Logf("%d bytes a tick with 800 hosts, %d with 3,200", few, many)
	if many > few+few/4 {
		t.Errorf("%d bytes a tick with 800 hosts, %d with 3,200", few, many)
	}
}
