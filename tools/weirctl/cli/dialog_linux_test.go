package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/appliance/api/apitest"
)

// openTerminal makes a pseudo-terminal: our end, and the program's.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestDialog types at a real terminal: TAB, a command, the history of a former session, exit.
func TestDialog(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("TERM", "xterm")
	if err := os.WriteFile(filepath.Join(home, ".weirctl_history"), []byte("show ip_hostgroup 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := apitest.Run(t, apitest.Config)
	ours, theirs := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(theirs.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	go func() { status <- Main([]string{"fcli", "--socket", r.Socket}, theirs, theirs, theirs) }()

	screen := make(chan string, 100)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := ours.Read(buf)
			if err != nil {
				return
			}
			screen <- string(buf[:n])
		}
	}()
	seen := ""
	expect := func(want string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for !strings.Contains(seen, want) {
			select {
			case text := <-screen:
				seen += text
			case <-deadline:
				t.Fatalf("no %q on the screen:\n%q", want, seen)
			}
		}
		_, seen, _ = strings.Cut(seen, want)
	}
	send := func(keys string) {
		t.Helper()
		if _, err := ours.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	expect("fcli> ")
	send("show kill\t")
	expect("_switch ")
	send("\r")
	expect("disabled: mitigations are announced\r\n")
	expect("fcli> ")
	send("\x1b[A\x1b[A\r") // up twice: the line of the former session
	expect("show ip_hostgroup 2001:db8::1")
	expect("global\r\n")
	expect("fcli> ")
	send("set blackhole 198.51.100.1\r")
	expect("fcli: 198.51.100.1/32: refused")
	expect("fcli> ")
	send("exit\r")
	select {
	case s := <-status:
		if s != 0 {
			t.Errorf("status %d", s)
		}
	case <-time.After(time.Minute):
		t.Fatal("exit does not end it")
	}
	text, err := os.ReadFile(filepath.Join(home, ".weirctl_history"))
	if err != nil || !strings.HasPrefix(string(text), "show ip_hostgroup 2001:db8::1\nshow kill_switch\n") {
		t.Errorf("history is %q (%v)", text, err)
	}
}
