package bgp

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
)

// applianceEnv makes the test binary an appliance: a client that is fed from its environment and then waits to be killed.
const applianceEnv = "WEIR_TEST_APPLIANCE"

type testAppliance struct {
	Socket string
	Config Config
	Want   []mitigate.Mitigation
}

func runTestAppliance([]string) int {
	var a testAppliance
	if err := json.Unmarshal([]byte(os.Getenv(applianceEnv)), &a); err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := New(Options{
		Socket: a.Socket, Config: a.Config, Command: []string{os.Args[0], "speaker"}, Env: []string{speakerEnv + "=1"},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err == nil {
		err = c.Start(context.Background())
	}
	if err == nil {
		err = c.Reconcile(context.Background(), a.Want)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	select {}
}

func stringOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// pid asks the speaker that serves the socket.
func (b *testbed) pid(t *testing.T, c *Client) int {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		t.Fatal("the speaker is not a child of this client")
	}
	return c.child.cmd.Process.Pid
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func established(c *Client) func() string {
	return func() string {
		st := c.Status()
		for _, p := range st.Peers {
			if p.State != "established" {
				return stringOf(st)
			}
		}
		if len(st.Peers) == 0 {
			return "no peers: " + stringOf(st)
		}
		return ""
	}
}

func TestSpeakerKilled(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	c := b.client(t)
	reconcile(t, c, blackhole("a", "203.0.113.1/32"), blackhole("b", "203.0.113.2/32"), blackhole("c", "2001:db8::3/128"),
		flow("d", mitigate.Match{Destination: host4, Protocols: []uint8{17}}))
	expect(t, r, routertest.IPv4, "203.0.113.1/32 203.0.113.2/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	expect(t, r, routertest.IPv4FlowSpec, "flow4 { dst 203.0.113.9/32; proto 17; } ")

	kill(t, b.pid(t, c))
	eventually(t, "the loss is noticed", func() string {
		if c.Restarts() == 0 {
			return stringOf(c.Status())
		}
		return ""
	})
	// The session may be back before anybody has looked at a route without one; the router's log has it all the same.
	eventually(t, "the router keeps the routes for a peer that restarts", func() string {
		if rs, err := r.Routes(t.Context(), routertest.IPv6); err != nil || len(rs) != 1 {
			t.Fatalf("the router dropped the route: %v, %v", rs, err)
		}
		if log := r.Log(); !strings.Contains(log, "graceful restart detected") {
			return log
		}
		return ""
	})
	// The set changes while nobody may be there to be told; with or without an error it must come to pass.
	want := []mitigate.Mitigation{blackhole("b", "203.0.113.2/32"), blackhole("c", "2001:db8::3/128"), blackhole("e", "2001:db8::5/128")}
	if err := c.Reconcile(deadline(t, limit), want); err != nil && !errors.Is(err, ErrNoSpeaker) {
		t.Fatal(err)
	}
	// The router keeps what it has over the restart (RFC 4724): at no moment is the victim uncovered.
	eventually(t, "session is back", func() string {
		if n, err := r.Count(t.Context(), routertest.IPv6); err != nil || n == 0 {
			t.Fatalf("the router dropped the route during the restart: %d, %v", n, err)
		}
		return established(c)()
	})
	expect(t, r, routertest.IPv4, "203.0.113.2/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 2001:db8::5/128 ")
	expect(t, r, routertest.IPv4FlowSpec, "")
}

func TestApplianceKilled(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	a := testAppliance{Socket: b.socket, Config: b.cfg, Want: []mitigate.Mitigation{
		blackhole("a", "203.0.113.1/32"), blackhole("c", "2001:db8::3/128"),
	}}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), applianceEnv+"="+stringOf(a))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("appliance says %q, %v", line, err)
	}
	expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	c := b.client(t)
	// Adopted, with its routes, before anything has been wanted.
	if got := prefixes(t.Context(), r, routertest.IPv4) + prefixes(t.Context(), r, routertest.IPv6); got != "203.0.113.1/32 2001:db8::3/128 " {
		t.Fatalf("the router has %s", got)
	}
	eventually(t, "status of the adopted speaker", func() string {
		if st := c.Status(); st.Announced != 2 || len(st.Peers) != 1 || st.Peers[0].Flaps != 0 {
			return stringOf(st)
		}
		return ""
	})
	reconcile(t, c, blackhole("c", "2001:db8::3/128"))
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	if st := c.Status(); st.Peers[0].Flaps != 0 || c.Restarts() != 0 {
		t.Errorf("the session or the speaker was restarted: %s", stringOf(st))
	}
}

func TestStopKeepsThenOrphanWithdraws(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	b.cfg.OrphanTimeout = 3 * time.Second
	c, err := New(b.options(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	reconcile(t, c, blackhole("a", "203.0.113.1/32"), blackhole("b", "203.0.113.2/32"), blackhole("c", "2001:db8::3/128"))
	expect(t, r, routertest.IPv4, "203.0.113.1/32 203.0.113.2/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
	pid := b.pid(t, c)
	begin := time.Now()
	if err := c.Stop(true); err != nil {
		t.Fatal(err)
	}
	// A busy machine may need the whole time for one look.
	if got := prefixes(t.Context(), r, routertest.IPv6); got != "2001:db8::3/128 " && time.Since(begin) < b.cfg.OrphanTimeout {
		t.Fatalf("after a stop that keeps, the router has %q", got)
	}
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6, "")
	eventually(t, "the orphan ends", func() string {
		// A zombie of ours until it is reaped, which the client's goroutine does.
		if syscall.Kill(pid, 0) == nil {
			return "it lives"
		}
		return ""
	})
}

func TestExpiryWithoutAppliance(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	c := b.client(t)
	reconcile(t, c)
	eventually(t, "session", established(c))
	short := blackhole("short", "2001:db8::2/128")
	for life := 3 * time.Second; ; life *= 2 { // a busy machine may need longer to announce it than it lives
		short.Expires = time.Now().Add(life)
		reconcile(t, c, blackhole("long", "2001:db8::1/128"), short)
		got := ""
		for got != "2001:db8::1/128 2001:db8::2/128 " && time.Now().Before(short.Expires) {
			got = prefixes(t.Context(), r, routertest.IPv6)
		}
		if got == "2001:db8::1/128 2001:db8::2/128 " {
			break
		}
		if life > limit {
			t.Fatalf("the router has %s", got)
		}
	}
	// Nobody reconciles any more; the speaker's own clock ends it.
	expect(t, r, routertest.IPv6, "2001:db8::1/128 ")
	if time.Now().Before(short.Expires) {
		t.Error("withdrawn before its expiry")
	}
}

func TestNewestApplianceWins(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	first := b.client(t)
	second := b.client(t)
	eventually(t, "the first is told", func() string {
		if err := first.Reconcile(t.Context(), nil); !errors.Is(err, ErrSuperseded) {
			return fmt.Sprint(err)
		}
		return ""
	})
	reconcile(t, second)
	if st := second.Status(); st.Err != "" {
		t.Error(st.Err)
	}
}

func TestNoSpeaker(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	opt := b.options(t)
	opt.Command = []string{"/bin/false"}
	c, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(deadline(t, 200*time.Millisecond)); err == nil {
		t.Fatal("Start found a speaker")
	}
	if err := c.Reconcile(t.Context(), nil); !errors.Is(err, ErrNoSpeaker) {
		t.Errorf("Reconcile: %v", err)
	}
	eventually(t, "the reason is shown", func() string {
		if st := c.Status(); st.Ready || !strings.Contains(st.Err, "exit status 1") {
			return stringOf(st)
		}
		return ""
	})
	if err := c.Stop(false); err != nil {
		t.Error(err)
	}
	if err := c.Stop(false); err != nil {
		t.Error(err)
	}
	opt.Socket = "/" + strings.Repeat("x", 120)
	if _, err := New(opt); err == nil {
		t.Error("a socket path that does not fit was taken")
	}
}

func TestSocketIsPrivateAndExclusive(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	b.client(t)
	fi, err := os.Stat(b.socket)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %o", fi.Mode().Perm())
	}
	cmd := exec.Command(os.Args[0], "speaker", "--socket", b.socket)
	cmd.Env = append(os.Environ(), speakerEnv+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another speaker serves") {
		t.Errorf("a second speaker on the socket: %v, %s", err, out)
	}
}

// TestHostileSocket: nothing that comes in on the socket ends the speaker or its connection in charge.
func TestHostileSocket(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	c := b.client(t)
	frame := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	for name, bytes := range map[string][]byte{
		"huge":      {0xff, 0xff, 0xff, 0xff, '{'},
		"cut":       frame(`{"id":1`)[:6],
		"not JSON":  frame("hello"),
		"wrong":     frame(`{"id":"x","op":7}`),
		"unknown":   frame(`{"id":1,"op":"dance"}`),
		"no charge": frame(`{"id":1,"op":"reconcile"}`),
		"shutdown":  frame(`{"id":1,"op":"shutdown"}`),
		"nothing":   nil,
	} {
		conn, err := net.Dial("unix", b.socket)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Write(bytes); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		// Hanging up on unread bytes is a reset.
		if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%s: %v", name, err)
		}
		if len(bytes) > 20 && name != "wrong" && !strings.Contains(string(answer), `"err":`) {
			t.Errorf("%s: answered %q", name, answer)
		}
		conn.Close()
	}
	reconcile(t, c)
	if c.Restarts() != 0 {
		t.Error("the speaker was restarted")
	}
}

// TestSpeakerHangs: a speaker that takes connections and does nothing else is replaced.
func TestSpeakerHangs(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	r := b.bird(t, nil)
	c, err := New(b.options(t))
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 5 * time.Second
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(false); err != nil {
			t.Error(err)
		}
	}()
	taken := func(id, prefix string) { // with so little patience a good speaker may be too slow on a busy machine
		t.Helper()
		eventually(t, prefix+" is wanted", func() string {
			if err := c.Reconcile(t.Context(), []mitigate.Mitigation{blackhole(id, prefix)}); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	taken("a", "203.0.113.1/32")
	expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
	old := b.pid(t, c)
	if err := syscall.Kill(old, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another speaker is attached", func() string {
		if pid := b.pid(t, c); pid == old || c.Status().Err != "" {
			return stringOf(c.Status())
		}
		return ""
	})
	taken("c", "2001:db8::3/128")
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
}

// TestSpeakerTerminated: a SIGTERM is obeyed as on_exit says.
func TestSpeakerTerminated(t *testing.T) {
	t.Parallel()
	for _, exit := range []Exit{Keep, Withdraw} {
		t.Run(string(exit), func(t *testing.T) {
			t.Parallel()
			b := newTestbed(t)
			r := b.bird(t, nil)
			b.cfg.OnExit = exit
			c, err := New(b.options(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			reconcile(t, c, blackhole("a", "203.0.113.1/32"), blackhole("c", "2001:db8::3/128"))
			expect(t, r, routertest.IPv4, "203.0.113.1/32 ")
			expect(t, r, routertest.IPv6, "2001:db8::3/128 ")
			ch := c.child
			if err := c.Stop(true); err != nil {
				t.Fatal(err)
			}
			if err := ch.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if !ch.wait(limit) {
				t.Fatal("the speaker does not end")
			}
			eventually(t, "the session is down", func() string {
				if up, err := r.Established(t.Context()); err != nil || up {
					return fmt.Sprint(up, err)
				}
				return ""
			})
			want := map[Exit]string{Keep: "2001:db8::3/128 ", Withdraw: ""}[exit]
			expect(t, r, routertest.IPv6, want)
		})
	}
}
