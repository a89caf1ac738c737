package api_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"os/user"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/appliance/api/apitest"
)

// as connects with the effective ids of another user. Only the thread has them, only for the moment of connecting.
func as(socket string, uid, gid int) func() (net.Conn, error) {
	return func() (conn net.Conn, err error) {
		var wg sync.WaitGroup
		wg.Go(func() {
			runtime.LockOSThread() // not unlocked: the thread ends with the goroutine, whatever ids it has
			const same = ^uintptr(0)
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, same, uintptr(gid), same); e != 0 {
				err = e
				return
			}
			if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); e != 0 {
				err = e
				return
			}
			conn, err = net.Dial("unix", socket)
		})
		wg.Wait()
		return conn, err
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: connects as other users")
	}
	nogroup, err := user.LookupGroup("nogroup")
	if err != nil {
		t.Skip("there is no group nogroup: ", err)
	}
	const nobody = 65534
	r := apitest.Run(t, apitest.Config)
	stranger := client(r.Socket, as(r.Socket, nobody, 4242))
	a := do(t, stranger, "GET", "/blackhole", "")
	if a.status != 403 || !strings.Contains(a.Error, "nobody may not look at this appliance; run it as root, or let root set api.read_group") {
		t.Errorf("a stranger reads: %d %q", a.status, a.Error)
	}
	if a = do(t, stranger, "PUT", "/kill_switch/enable", ""); a.status != 403 || r.KillSwitch() {
		t.Errorf("a stranger changes: %d %q", a.status, a.Error)
	}

	// nobody is a member of nogroup by the user database, so also when the process has another group.
	ok(t, r, "PUT", "/main/api.read_group/nogroup")
	ok(t, r, "PUT", "/commit")
	if a = do(t, stranger, "GET", "/blackhole", ""); !a.Success {
		t.Errorf("a member of read_group does not read: %s", a.Error)
	}
	if a = do(t, stranger, "GET", "/export", ""); !a.Success || bytes.Contains(a.Value, []byte("geheim")) || !bytes.Contains(a.Value, []byte("(hidden)")) {
		t.Errorf("a member of read_group sees passwords: %s", a.Value)
	}
	if a = do(t, stranger, "PUT", "/kill_switch/enable", ""); a.status != 403 || r.KillSwitch() {
		t.Errorf("a member of read_group changes: %d %q", a.status, a.Error)
	}
	records := r.Records()
	if last := records[len(records)-1]; last.UID != nobody || last.User != "nobody" || last.Error == "" {
		t.Errorf("audit of a refused change: %+v", last)
	}

	ok(t, r, "PUT", "/main/api.write_group/"+url.PathEscape(nogroup.Gid)) // a number will do
	ok(t, r, "PUT", "/commit")
	if a = do(t, stranger, "PUT", "/kill_switch/enable", ""); !a.Success || !r.KillSwitch() {
		t.Errorf("a member of write_group does not change: %s", a.Error)
	}
	if a = do(t, client(r.Socket, as(r.Socket, 4711, 4242)), "GET", "/blackhole", ""); a.status != 403 || !strings.Contains(a.Error, "uid 4711 may not") {
		t.Errorf("an unknown user: %d %q", a.status, a.Error)
	}
}

func TestOneUserCannotTakeAllConnections(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: connects as another user")
	}
	r := apitest.Run(t, apitest.Config)
	dial := as(r.Socket, 65534, 65534)
	var conns []net.Conn
	for range 40 {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		t.Cleanup(func() { _ = c.Close() })
	}
	closed := make(chan error, len(conns))
	for _, c := range conns { // those beyond the limit are closed at once, the others wait for a request
		go func() {
			_, err := c.Read(make([]byte, 1))
			closed <- err
		}()
	}
	patience := time.After(time.Minute)
	for i := range 24 {
		select {
		case err := <-closed:
			if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
				t.Fatal(err)
			}
		case <-patience:
			t.Fatalf("%d of 40 connections were closed, want 24", i)
		}
	}
	ok(t, r, "GET", "/kill_switch") // root still gets through
}
