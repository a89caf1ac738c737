package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/notify"
)

// tailSize is how much of a script's standard error is kept for the log.
const tailSize = 2048

// pipeWait is how long a call waits for pipes that the script's background children keep open after it ended itself.
const pipeWait = 500 * time.Millisecond

// result is how one call went.
type result struct {
	started  bool
	timedOut bool
	err      error
}

// call runs the script once and waits for its end.
func (r *Runner) call(e notify.Event) result {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.ScriptTimeout)
	defer cancel()
	args := Args(e)
	res, stderr := run(ctx, r.cfg.Script, args, r.environ(e), notify.Text(e, r.deps.Location))
	log := r.deps.Log.With("script", r.cfg.Script, "args", strings.Join(args, " "))
	switch {
	case res.err == nil:
		log.Info("notify script called")
		return res
	case !res.started:
		res.err = fmt.Errorf("notify script: %w", explain(r.cfg.Script, res.err))
	case ctx.Err() != nil && r.ctx.Err() == nil:
		res.timedOut = true
		res.err = fmt.Errorf("notify script: killed after %v", r.cfg.ScriptTimeout)
	default:
		res.err = fmt.Errorf("notify script: %w", res.err)
	}
	log.Error("notify script failed", "err", res.err, "stderr", stderr)
	return res
}

// Args are the four arguments of FastNetMon's contract: IP, direction, power in packets/s, action. For a whole hostgroup
// the first is the group's name.
func Args(e notify.Event) []string {
	who := e.Incident.Target.Group
	if e.Incident.Target.Host.IsValid() {
		who = e.Incident.Target.Host.String()
	}
	return []string{who, e.Incident.Direction.String(), strconv.FormatUint(notify.Power(&e.Incident), 10), string(e.Action)}
}

// environ adds what the four arguments do not say.
func (r *Runner) environ(e notify.Event) []string {
	inc := &e.Incident
	env := append([]string{}, r.deps.Env...)
	set := func(name, value string) { env = append(env, "WEIR_"+name+"="+value) }
	set("INCIDENT", inc.ID)
	set("HOSTGROUP", inc.Hostgroup)
	set("VECTOR", string(inc.Vector))
	set("CAUSE", e.Cause)
	if !inc.Manual {
		set("THRESHOLD", inc.Why.Metric.Threshold(inc.Direction))
		set("LIMIT", strconv.FormatFloat(inc.Why.Limit, 'f', -1, 64))
		set("VALUE", strconv.FormatFloat(inc.Why.Value, 'f', 3, 64))
	}
	if inc.State != incident.Clear {
		set("UNTIL", strconv.FormatInt(inc.Until.Unix(), 10))
	}
	return env
}

// run starts path and feeds it stdin; an empty stdin is /dev/null, not a pipe, as FastNetMon's unban has it. It returns
// the end of the standard error. Standard output is thrown away.
func run(ctx context.Context, path string, args, env []string, stdin string) (result, string) {
	var stderr tail
	var err error
	for attempt := range 3 {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Env, cmd.Dir, cmd.Stderr, cmd.WaitDelay = env, "/", &stderr, pipeWait
		if stdin != "" {
			cmd.Stdin = strings.NewReader(stdin) // os/exec ignores EPIPE: a script need not read it
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the whole group
		if err = cmd.Start(); err == nil {
			err = cmd.Wait()
			if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
				err = nil // it ended well itself; what it left in the background holds a pipe
			}
			return result{started: true, err: err}, stderr.String()
		}
		// ETXTBSY: somebody is writing the script this moment.
		if !errors.Is(err, syscall.ETXTBSY) || !pause(ctx, time.Duration(attempt+1)*50*time.Millisecond) {
			break
		}
	}
	return result{err: err}, ""
}

// pause waits, and says false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// check says why the script could not be run.
func check(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x %s", path, path)
	}
	return nil
}

// explain turns the kernel's terse answers into what to do.
func explain(path string, err error) error {
	if errors.Is(err, syscall.ENOEXEC) {
		return fmt.Errorf("%w: %s needs a first line such as #!/bin/sh", err, path)
	}
	if reason := check(path); reason != nil {
		return reason
	}
	if errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("%w: the interpreter in the first line of %s does not exist", err, path)
	}
	return err
}

// tail keeps the last bytes written to it.
type tail struct{ buf []byte }

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	t.buf = append(t.buf, p[max(len(p)-tailSize, 0):]...)
	t.buf = t.buf[max(len(t.buf)-tailSize, 0):]
	return n, nil
}

// String is the kept text, fit for a log line.
func (t *tail) String() string {
	return string(bytes.ToValidUTF8(bytes.TrimSpace(t.buf), []byte("?")))
}
