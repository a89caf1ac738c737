package send

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// inNamespace runs f in a network namespace of its own, which goes away with the thread.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, syscall.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN and CAP_NET_ADMIN to make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// receiver opens a packet socket on lo that sees each frame once, when it comes in.
func receiver(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		t.Fatal(err)
	}
	return fd
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func TestRun(t *testing.T) {
	inNamespace(t, func() {
		fd := receiver(t)
		defer unix.Close(fd)
		g, err := gen.New(gen.Scenario{Seed: 5, Background: 1000, Length: gen.Duration(400 * time.Millisecond), Streams: []gen.Stream{
			{Kind: "syn", Target: "10.0.0.1", PPS: 5000, Start: gen.Duration(200 * time.Millisecond)},
			{Kind: "udp", Via: []string{"vxlan6"}, Target: "2001:db8::1", PPS: 2000, Start: gen.Duration(300 * time.Millisecond)},
		}})
		if err != nil {
			t.Error(err)
			return
		}
		truth, err := gen.NewTruth(g, gen.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		starts := map[int]time.Time{}
		stats, err := Run(context.Background(), g, Config{
			Device: "lo", Sent: truth.Add,
			AttackStarts: func(i int, at time.Time) { starts[i] = at },
		})
		if err != nil {
			t.Error(err)
			return
		}
		r := truth.Result()
		if stats.Sent != uint64(g.Packets()) || stats.Refused != 0 || r.Packets != stats.Sent || r.Bytes != stats.Bytes {
			t.Errorf("sent %+v, truth %d packets of %d bytes, planned %d", stats, r.Packets, r.Bytes, g.Packets())
		}
		if len(starts) != 2 || starts[0].Sub(stats.Start) < 150*time.Millisecond || !starts[1].After(starts[0]) {
			t.Errorf("attacks start at %v, sending at %v", starts, stats.Start)
		}
		if d := stats.End.Sub(stats.Start); d < 350*time.Millisecond {
			t.Errorf("0.4 s were sent in %v", d)
		}
		var packets, size uint64
		buf := make([]byte, 1<<16)
		for deadline := time.Now().Add(time.Minute); packets < stats.Sent && time.Now().Before(deadline); {
			n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err == nil {
				packets, size = packets+1, size+uint64(n)
			}
		}
		if packets != stats.Sent || size != stats.Bytes {
			t.Errorf("received %d packets, %d bytes of %d, %d", packets, size, stats.Sent, stats.Bytes)
		}
	})
}

func TestRunStops(t *testing.T) {
	inNamespace(t, func() {
		g, err := gen.New(gen.Scenario{Streams: []gen.Stream{{Kind: "udp", Target: "10.0.0.1", PPS: 10, Count: 1000}}, Length: gen.Duration(time.Hour)})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		stats, err := Run(ctx, g, Config{Device: "lo"})
		if err != nil || stats.Sent > 10 || time.Since(begin) > time.Minute {
			t.Errorf("%+v, %v after %v", stats, err, time.Since(begin))
		}
	})
}

func TestRunErrors(t *testing.T) {
	g, err := gen.New(gen.Scenario{Streams: []gen.Stream{{Kind: "udp", Target: "10.0.0.1", PPS: 10, Count: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(context.Background(), g, Config{Device: "weir-none"}); err == nil || !strings.Contains(err.Error(), `"weir-none"`) {
		t.Errorf("an interface that is not there: %v", err)
	}
}
