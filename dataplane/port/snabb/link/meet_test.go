//go:build linux

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is a Source with one device and no frames.
type nobody struct {
	mu       sync.Mutex // guards the rest
	attached *Memory
	stuck    bool
	err      error
}

func (s *nobody) Devices() []string { return []string{"nic"} }

func (s *nobody) Attach(_ string, m *Memory) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	m.Word(OffMissed).Store(42)
	s.attached = m
	return nil
}

func (s *nobody) Detach(_ string, quit <-chan struct{}) bool {
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck {
		<-quit
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = nil
	return true
}

// directory has a name that is short enough for a socket.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-link")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listen(t *testing.T, src Source) (socket string, s *Server) {
	t.Helper()
	socket = filepath.Join(directory(t), "s")
	s, err := Listen(socket, src, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return socket, s
}

func refused(t *testing.T, socket, device, want string) {
	t.Helper()
	c, err := Dial(socket, device, valid())
	if err == nil {
		t.Fatalf("%s: not refused, closed with %v", want, c.Close())
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
}

// Both sides see one memory, and each sees the other's end.
func TestMeeting(t *testing.T) {
	t.Parallel()
	src := &nobody{}
	socket, server := listen(t, src)
	for range 3 {
		c, err := Dial(socket, "nic", valid())
		if err != nil {
			t.Fatal(err)
		}
		m := c.Memory
		if m.Word(OffInstance).Load() != 7 || m.Word(OffMissed).Load() != 42 {
			t.Error("the first page is not as it was written")
		}
		src.mu.Lock()
		theirs, data := src.attached.Queue(1)
		theirs[127] = Desc{1, 2, 3, 4}
		data[MinData-1] = 5
		src.attached.Word(valid().Head(1)).Store(6)
		ours, got := m.Queue(1)
		m.TailWord(1).Store(8)
		if ours[127] != (Desc{1, 2, 3, 4}) || got[MinData-1] != 5 || m.Word(valid().Head(1)).Load() != 6 || src.attached.TailWord(1).Load() != 8 {
			t.Error("the two sides do not see the same")
		}
		src.mu.Unlock()
		if c.Gone() {
			t.Error("gone")
		}
		refused(t, socket, "nic", "nic has a reader")
		refused(t, socket, "nix", "there is no nix, only nic")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Dial(socket, "nic", valid())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !c.Gone(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the end of the other side is not seen")
		}
	}
	_ = c.Memory.Word(OffPolls).Load() // still there
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, socket, "nic", "does snabb firehose run")
}

func TestSourceRefuses(t *testing.T) {
	t.Parallel()
	socket, _ := listen(t, &nobody{err: errors.New("Snabb sleeps")})
	refused(t, socket, "nic", "Snabb sleeps")
	refused(t, socket, "nic", "Snabb sleeps") // and is not busy
}

// A Source that cannot let go keeps the memory, and Close does not wait for it for ever.
func TestStuckSource(t *testing.T) {
	t.Parallel()
	src := &nobody{stuck: true}
	socket, server := listen(t, src)
	c, err := Dial(socket, "nic", valid())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, socket, "nic", "not yet released")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if src.attached.Word(OffMagic).Load() != Magic {
		t.Error("the memory is gone under the one who uses it")
	}
	_ = src.attached.Close()
}

func TestListen(t *testing.T) {
	t.Parallel()
	socket, server := listen(t, &nobody{})
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Listen(socket, &nobody{}, 8); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a second listener: %v", err)
	}
	server.listener.SetUnlinkOnClose(false) // as when the process is killed
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(socket, &nobody{}, 9)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(filepath.Dir(socket), "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, &nobody{}, 9); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
		t.Errorf("the file is gone: %v", err)
	}
	if _, err := Listen(filepath.Join(filepath.Dir(socket), "no", "s"), &nobody{}, 9); err == nil {
		t.Error("listening in a folder that is not there")
	}
}

// liar answers one request with a text and descriptors.
func liar(t *testing.T, text string, fds ...int) (socket string) {
	t.Helper()
	socket = filepath.Join(directory(t), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, maxMessage))
		if text != "" {
			_, _, _ = c.WriteMsgUnix([]byte(text), unix.UnixRights(fds...), nil)
		}
		_, _ = c.Read(make([]byte, 1)) // until the other side has had enough
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return socket
}

// Whatever a false library sends is refused, and no descriptor stays open.
func TestFalseLibraries(t *testing.T) {
	g := valid()
	memfd := func(size int, seal int, change map[int]uint64) int {
		t.Helper()
		fd, err := unix.MemfdCreate("weir-link-test", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
		if err != nil {
			t.Skip("memfd_create: ", err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		b := make([]byte, page)
		title := g.title()
		for off, v := range change {
			title[off] = v
		}
		for off, v := range title {
			binary.NativeEndian.PutUint64(b[off:], v)
		}
		if err := unix.Ftruncate(fd, int64(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pwrite(fd, b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seal); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	const ok = `{"version":1}`
	size := g.Size()
	for want, socket := range map[string]string{
		"0 descriptors":                       liar(t, ok),
		"3 descriptors":                       liar(t, ok, null, null, null),
		"makes no sense":                      liar(t, "what?", null),
		"the library says":                    liar(t, `{"version":1,"error":"no"}`, null),
		"0 bytes of memory":                   liar(t, ok, null),
		"not sealed":                          liar(t, ok, memfd(size, unix.F_SEAL_GROW, nil)),
		"bytes of memory where":               liar(t, ok, memfd(size-1, seals, nil)),
		"the memory says 0x1 at 0":            liar(t, ok, memfd(size, seals, map[int]uint64{OffMagic: 1})),
		"the memory says 0x2 at 8":            liar(t, ok, memfd(size, seals, map[int]uint64{OffVersion: 2})),
		"the memory says 0x80000000 at 24":    liar(t, ok, memfd(size, seals, map[int]uint64{OffSlots: 1 << 31})),
		"map a page of memory":                liar(t, ok, memfd(size, seals|unix.F_SEAL_WRITE, nil)),
		"wait for an answer: read unixpacket": liar(t, ""),
	} {
		before := descriptors(t)
		refused(t, socket, "nic", want)
		if after := descriptors(t); after > before+1 { // the liar's end of the connection
			t.Errorf("%s: %d descriptors were open and %d are", want, before, after)
		}
	}
	if c, err := Dial(liar(t, ok, memfd(size, seals, nil)), "nic", g); err != nil {
		t.Error("an honest library is refused: ", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// descriptors is how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(fmt.Sprint("/proc is needed: ", err))
	}
	return len(all)
}
