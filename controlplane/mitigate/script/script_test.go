package script

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// write puts an executable shell script into dir. $OUT in it is dir.
func write(t *testing.T, body string) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "notify.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// start starts a runner of the script; it is stopped at the test's end.
func start(t *testing.T, path, dir string, change func(*notify.Config)) *Runner {
	t.Helper()
	cfg := notify.DefaultConfig()
	cfg.Script = path
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Location: time.UTC, Env: []string{"PATH=" + os.Getenv("PATH"), "OUT=" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() { stop(r, 0) })
	return r
}

// stop waits for what is queued, at most for patience.
func stop(r *Runner, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.Stop(ctx)
}

// until polls, since a test never sleeps to wait.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for: %s", what)
		}
	}
}

func event(action notify.Action, host string) notify.Event {
	inc := incident.Incident{
		ID: "5f0c", Target: rule.Target{Host: netip.MustParseAddr(host)}, Direction: traffic.Incoming, Hostgroup: "web", State: incident.Active,
		Vector: incident.UDPFlood, Protocol: "udp", InitialPPS: 96969.5, PeakPPS: 96969.5, Until: time.Unix(1900, 0),
	}
	inc.Why = rule.Breach{Metric: rule.UDPPPS, Limit: 20000, Value: 96969.5}
	e := notify.Event{Action: action, Incident: inc, At: time.Unix(7, 0), Cause: "test"}
	if action == notify.AttackDetails {
		e.Packets = []notify.Packet{{Src: netip.MustParseAddr(host), Dst: netip.MustParseAddr(host), Proto: 17, Length: 60, TTL: 9}}
	}
	return e
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"10.0.0.11", "2001:db8::55"} {
		path, dir := write(t, `
{ echo "argc=$#"; for a in "$@"; do echo "[$a]"; done; } > "$OUT/$4.argv"
readlink /proc/self/fd/0 | sed 's/:.*//' > "$OUT/$4.kind"
cat > "$OUT/$4.stdin"
env | grep ^WEIR_ | sort > "$OUT/$4.env"
pwd > "$OUT/$4.pwd"`)
		r := start(t, path, dir, nil)
		for _, action := range []notify.Action{notify.Ban, notify.AttackDetails, notify.Unban} {
			e := event(action, host)
			if !r.Notify(e) {
				t.Fatalf("%s dropped", action)
			}
			until(t, string(action), func() bool { s := r.Stats(); return s.Queued+s.Running == 0 })
			if got, want := read(t, dir+"/"+string(action)+".argv"), fmt.Sprintf("argc=4\n[%s]\n[incoming]\n[96969]\n[%s]\n", host, action); got != want {
				t.Errorf("argv %q, want %q", got, want)
			}
			if got, want := read(t, dir+"/"+string(action)+".stdin"), notify.Text(e, time.UTC); got != want || (action != notify.Unban) == (want == "") {
				t.Errorf("%s: stdin %q, want %q", action, got, want)
			}
			kind := "pipe\n"
			if action == notify.Unban {
				kind = "/dev/null\n"
			}
			if got := read(t, dir+"/"+string(action)+".kind"); got != kind {
				t.Errorf("%s: stdin is %q, want %q", action, got, kind)
			}
		}
		const env = "WEIR_CAUSE=test\nWEIR_HOSTGROUP=web\nWEIR_INCIDENT=5f0c\nWEIR_LIMIT=20000\nWEIR_THRESHOLD=threshold_udp_pps\nWEIR_UNTIL=1900\nWEIR_VALUE=96969.500\nWEIR_VECTOR=udp_flood\n"
		if got := read(t, dir+"/ban.env"); got != env {
			t.Errorf("env %q", got)
		}
		if got := read(t, dir+"/ban.pwd"); got != "/\n" {
			t.Errorf("working directory %q", got)
		}
		if s := r.Stats(); s != (Stats{Calls: 3, OK: 3}) {
			t.Errorf("%+v", s)
		}
	}
}

// TestNoShell: a hostgroup's name is data, whatever it holds.
func TestNoShell(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `printf '%s\n' "$1" > "$OUT/argv1"`)
	r := start(t, path, dir, nil)
	e := event(notify.Ban, "10.0.0.1")
	e.Incident.Target = rule.Target{Group: "a; touch " + dir + "/owned $(touch " + dir + "/owned)"}
	r.Notify(e)
	stop(r, time.Minute)
	if got := read(t, dir+"/argv1"); got != e.Incident.Target.Group+"\n" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(dir + "/owned"); err == nil {
		t.Error("a shell ran it")
	}
}

// TestIgnoredInput: scripts that never read get no SIGPIPE to us and no failure, however large the report.
func TestIgnoredInput(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `exit 0`)
	r := start(t, path, dir, nil)
	e := event(notify.AttackDetails, "2001:db8::1")
	e.Packets = slices.Repeat(e.Packets, 5000) // half a megabyte: more than a pipe holds
	for range 20 {
		r.Notify(e)
	}
	stop(r, time.Minute)
	if s := r.Stats(); s.OK != 20 {
		t.Errorf("%+v", s)
	}
}

func TestExitCodeAndStderr(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `i=0; while [ $i -lt 500 ]; do echo "noise $i" >&2; i=$((i+1)); done; echo "the reason" >&2; exit 3`)
	var log lockedBuffer
	cfg := notify.DefaultConfig()
	cfg.Script = path
	r, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(&log, nil)), Location: time.UTC, Env: []string{"OUT=" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	r.Notify(event(notify.Ban, "10.0.0.1"))
	stop(r, time.Minute)
	if s := r.Stats(); s.Failed != 1 || s.OK != 0 || s.Err != "notify script: exit status 3" {
		t.Errorf("%+v", s)
	}
	text := log.String()
	if !strings.Contains(text, "the reason") || strings.Contains(text, "noise 0\\n") || strings.Contains(text, "noise 100\\n") || len(text) > 2*tailSize {
		t.Errorf("log of %d bytes: %s", len(text), text)
	}
}

func TestTimeoutKillsTheGroup(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `trap '' TERM; sleep 1000 & echo $! > "$OUT/child.tmp"; echo $$ > "$OUT/self"; mv "$OUT/child.tmp" "$OUT/child"; wait`)
	const timeout = 3 * time.Second // on a busy machine the script must have come to its wait in one of two calls
	r := start(t, path, dir, func(c *notify.Config) { c.ScriptTimeout = timeout })
	begin := time.Now()
	r.Notify(event(notify.Ban, "10.0.0.1"))
	r.Notify(event(notify.Unban, "10.0.0.1"))
	until(t, "both to be killed", func() bool { return r.Stats().TimedOut == 2 })
	if d := time.Since(begin); d < 2*timeout {
		t.Errorf("killed after %v", d)
	}
	if s := r.Stats(); !strings.Contains(s.Err, "killed after 3s") || s.Calls != 2 {
		t.Errorf("%+v", s)
	}
	for _, who := range []string{"self", "child"} {
		pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir+"/"+who)))
		if err != nil {
			t.Fatal(err)
		}
		until(t, who+" to be gone", func() bool { return !alive(pid) })
	}
}

// alive reports whether the process runs; a zombie that init has not reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// TestBackground: a script may leave a child behind; it is no failure, does not hold the queue up, and lives on.
func TestBackground(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `sh -c 'until [ -e "$OUT/go" ]; do sleep 0.02; done; echo done > "$OUT/late"' & exit 0`)
	r := start(t, path, dir, nil)
	r.Notify(event(notify.Ban, "10.0.0.1"))
	until(t, "the call to end", func() bool { return r.Stats().OK == 1 })
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the child to finish", func() bool { _, err := os.Stat(dir + "/late"); return err == nil })
}

func TestOrderAndConcurrency(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `cat > /dev/null
mkdir "$OUT/run.$$"; n=$(ls -d "$OUT"/run.* | wc -l); echo $n >> "$OUT/parallel"
mkdir "$OUT/busy.$1" || echo "$1" >> "$OUT/overlap"
echo "$1 $4" >> "$OUT/log.$1"; sleep 0.01
rmdir "$OUT/busy.$1" "$OUT/run.$$"`)
	r := start(t, path, dir, func(c *notify.Config) { c.ScriptParallel = 3 })
	var hosts []string
	for i := range 5 {
		hosts = append(hosts, fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1))
	}
	actions := []notify.Action{notify.Ban, notify.AttackDetails, notify.Unban, notify.Ban, notify.Unban}
	for _, a := range actions {
		for _, h := range hosts {
			if !r.Notify(event(a, h)) {
				t.Fatal("dropped")
			}
		}
	}
	stop(r, time.Minute)
	for _, h := range hosts {
		var want strings.Builder
		for _, a := range actions {
			fmt.Fprintf(&want, "%s %s\n", h, a)
		}
		if got := read(t, dir+"/log."+h); got != want.String() {
			t.Errorf("order of %s: %q", h, got)
		}
	}
	if _, err := os.Stat(dir + "/overlap"); err == nil {
		t.Errorf("two calls of one target at a time: %s", read(t, dir+"/overlap"))
	}
	most := 0
	for _, line := range strings.Fields(read(t, dir+"/parallel")) {
		n, _ := strconv.Atoi(line)
		most = max(most, n)
	}
	if most > 3 || most < 2 {
		t.Errorf("%d calls at a time, want 3 at most, and more than one", most)
	}
	if s := r.Stats(); s.OK != 50 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestQueueIsBoundedAndKeepsBans(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `echo "$1 $4" >> "$OUT/log"; until [ -e "$OUT/go" ]; do sleep 0.01; done`)
	r := start(t, path, dir, func(c *notify.Config) { c.ScriptParallel, c.ScriptQueue = 1, 4 })
	r.Notify(event(notify.Ban, "10.0.0.1"))
	until(t, "the first call", func() bool { return r.Stats().Running == 1 })

	for _, e := range []notify.Event{
		event(notify.AttackDetails, "10.0.0.1"), event(notify.AttackDetails, "2001:db8::2"), event(notify.Ban, "10.0.0.3"), event(notify.Ban, "10.0.0.4"),
	} {
		if !r.Notify(e) {
			t.Fatal("dropped although there is room")
		}
	}
	if r.Notify(event(notify.AttackDetails, "10.0.0.5")) {
		t.Error("details were queued above the bound")
	}
	if !r.Notify(event(notify.Unban, "10.0.0.1")) || !r.Notify(event(notify.Ban, "2001:db8::2")) {
		t.Error("a ban or an unban did not take the place of details")
	}
	if r.Notify(event(notify.Ban, "10.0.0.6")) {
		t.Error("queued above the bound")
	}
	if s := r.Stats(); s.Queued != 4 || s.Dropped != 4 {
		t.Errorf("%+v", s)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(r, time.Minute)
	got := strings.Split(strings.TrimSpace(read(t, dir+"/log")), "\n")
	slices.Sort(got)
	if want := []string{"10.0.0.1 ban", "10.0.0.1 unban", "10.0.0.3 ban", "10.0.0.4 ban", "2001:db8::2 ban"}; !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
	if r.Notify(event(notify.Ban, "10.0.0.7")) {
		t.Error("queued after Stop")
	}
}

func TestStopKillsWhenPatienceEnds(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `echo $$ > "$OUT/pid.tmp"; mv "$OUT/pid.tmp" "$OUT/pid"; sleep 1000`)
	r := start(t, path, dir, func(c *notify.Config) { c.ScriptParallel = 1 })
	r.Notify(event(notify.Ban, "10.0.0.1"))
	r.Notify(event(notify.Ban, "10.0.0.2"))
	until(t, "the call to begin", func() bool { _, err := os.Stat(dir + "/pid"); return err == nil })
	begin := time.Now()
	stop(r, 50*time.Millisecond)
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("Stop took %v", d)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(read(t, dir+"/pid")))
	if pid == 0 || alive(pid) {
		t.Errorf("process %d outlived Stop", pid)
	}
	if s := r.Stats(); s.Dropped != 1 || s.Queued != 0 || s.Running != 0 || s.TimedOut != 0 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

// TestScriptThatCannotRun: each fault is told in words, counted, and over as soon as the script is there.
func TestScriptThatCannotRun(t *testing.T) {
	t.Parallel()
	path, dir := write(t, `exit 0`)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Remove(path))
	r := start(t, path, dir, nil)
	if s := r.Stats(); !strings.Contains(s.Err, "does not exist") {
		t.Errorf("health right after the start: %+v", s)
	}
	n := uint64(0)
	call := func(want string) {
		t.Helper()
		r.Notify(event(notify.Ban, "10.0.0.1"))
		n++
		until(t, "the attempt", func() bool { s := r.Stats(); return s.NotRun+s.Calls == n && s.Running == 0 })
		if s := r.Stats(); !strings.Contains(s.Err, want) || want == "" && s.Err != "" {
			t.Errorf("%q, want %q", s.Err, want)
		}
	}
	call("does not exist")
	must(os.WriteFile(path, []byte("exit 0\n"), 0o600))
	call("is not executable: chmod +x")
	must(os.Chmod(path, 0o700))
	call("needs a first line such as #!/bin/sh")
	must(os.WriteFile(path, []byte("#!/no/such/interpreter\n"), 0o700))
	call("the interpreter in the first line")
	must(os.Remove(path))
	must(os.Mkdir(path, 0o700))
	call("is not a file")
	must(os.Remove(path))
	must(os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o700))
	call("")
	if s := r.Stats(); s.NotRun != 5 || s.OK != 1 {
		t.Errorf("%+v", s)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Deps{Log: slog.New(slog.DiscardHandler), Location: time.UTC}
	cfg := notify.DefaultConfig()
	if _, err := New(cfg, good); err == nil {
		t.Error("no path accepted")
	}
	cfg.Script = "relative.sh"
	if _, err := New(cfg, good); err == nil {
		t.Error("relative path accepted")
	}
	cfg.Script = "/bin/true"
	if _, err := New(cfg, Deps{}); err == nil {
		t.Error("no log accepted")
	}
}
