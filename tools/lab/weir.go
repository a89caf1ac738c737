package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
)

// Weir is a running appliance.
type Weir struct {
	// Config is its configuration file, Socket its API.
	Config, Socket string

	lab    *Lab
	cmd    *exec.Cmd
	log    string
	exited atomic.Bool
	done   chan struct{}
	client *http.Client
}

// Base is the beginning of a configuration for this lab: everything that lies in its directory, and a BGP section for
// the given routers. Tests append ports, hostgroups and what they are about.
func (l *Lab) Base(routers ...netip.Addr) string {
	var b strings.Builder
	fmt.Fprintf(&b, "networks: [10.0.0.0/16, 2001:db8::/32]\napi: {socket: %s}\njournal: {path: %s}\nhistory: {directory: %s}\n",
		l.Path("api.sock"), l.Path("journal.db"), l.Path("history"))
	if len(routers) > 0 {
		fmt.Fprintf(&b, "bgp:\n  asn: %d\n  router_id: %s\n  peers:\n", ASN, Appliance)
		for _, r := range routers {
			fmt.Fprintf(&b, "    - {name: r%s, address: %s, remote_asn: %d}\n", r, r, RouterASN)
		}
	}
	return b.String()
}

// Start writes the configuration and starts the appliance in its namespace; it returns when the API answers.
func (l *Lab) Start(ctx context.Context, config string) (*Weir, error) {
	path := l.Path("weir.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return l.Restart(ctx)
}

// Restart starts the appliance with the configuration file as it is on disk.
func (l *Lab) Restart(ctx context.Context) (*Weir, error) {
	w := &Weir{Config: l.Path("weir.yaml"), Socket: l.Path("api.sock"), lab: l, log: l.Path("weir.log"), done: make(chan struct{})}
	w.client = &http.Client{Timeout: startTime, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", w.Socket)
		},
	}}
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	w.cmd = l.App.Command(context.WithoutCancel(ctx), l.binary, "run", "-c", w.Config)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		// The kernel kills the appliance when the thread that started it ends (see netns.Command), and threads end with
		// every NS.Do: this one is kept until the appliance is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := w.cmd.Start()
		started <- err
		if err == nil {
			_ = w.cmd.Wait() // the log says how it ended
			w.exited.Store(true)
			close(w.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start weir: %w", err)
	}
	l.OnClose(w.end)
	err = Wait(ctx, startTime, "answer of the API", func() (bool, error) {
		if w.exited.Load() {
			return false, errors.New("weir has ended")
		}
		return w.Get("version", nil) == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, w.Log())
	}
	return w, nil
}

// PID is the appliance's process id.
func (w *Weir) PID() int { return w.cmd.Process.Pid }

// Log is what it has logged so far, earlier runs in the same lab included.
func (w *Weir) Log() string {
	b, _ := os.ReadFile(w.log) // an unreadable log is an empty one
	return string(b)
}

// Running reports whether the process is still there.
func (w *Weir) Running() bool { return !w.exited.Load() }

// Signal sends a signal to the process.
func (w *Weir) Signal(s syscall.Signal) error { return w.cmd.Process.Signal(s) }

// Kill is kill -9: nothing is tidied up.
func (w *Weir) Kill() {
	_ = w.cmd.Process.Kill() // it may be gone already
	<-w.done
}

// Stop is SIGTERM; it returns when the process is gone.
func (w *Weir) Stop(limit time.Duration) error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("weir did not stop within %v", limit)
	}
}

// end kills the appliance and every speaker of this lab.
func (w *Weir) end() error {
	w.Kill()
	return w.KillSpeakers()
}

// KillSpeakers is kill -9 of this lab's BGP speakers; it returns when they are gone. A living appliance starts a new one.
func (w *Weir) KillSpeakers() error {
	old := w.Speakers()
	for _, pid := range old {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
	}
	return Wait(context.Background(), startTime, "end of the speaker", func() (bool, error) {
		now := w.Speakers()
		return !slices.ContainsFunc(old, func(pid int) bool { return slices.Contains(now, pid) }), nil
	})
}

// Speakers are the process ids of this lab's BGP speakers.
func (w *Weir) Speakers() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		line, err := os.ReadFile(d)
		if err == nil && bytes.Contains(line, []byte("speaker\x00--socket\x00"+w.lab.Dir)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(d)))
			if err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Call asks the API and decodes the answer's values, value or object into out, which may be nil.
func (w *Weir) Call(method, path string, body io.Reader, out any) error {
	req, err := http.NewRequest(method, "http://weir/"+path, body)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var env struct {
		Success bool            `json:"success"`
		Error   string          `json:"error_text"`
		Values  json.RawMessage `json:"values"`
		Value   json.RawMessage `json:"value"`
		Object  json.RawMessage `json:"object"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&env); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if !env.Success {
		return errors.New(env.Error)
	}
	for _, raw := range []json.RawMessage{env.Values, env.Value, env.Object} {
		if len(raw) > 0 && out != nil {
			return json.Unmarshal(raw, out)
		}
	}
	return nil
}

// Get is `show`.
func (w *Weir) Get(path string, out any) error { return w.Call(http.MethodGet, path, nil, out) }

// Put is `set`, or an action such as commit.
func (w *Weir) Put(path string) error { return w.Call(http.MethodPut, path, nil, nil) }

// Mitigations are what is planned, announced or not.
func (w *Weir) Mitigations() (list []api.Mitigation, err error) {
	return list, w.Get("mitigations", &list)
}

// Alarms are the faults that need a person, in words.
func (w *Weir) Alarms() (texts []string, err error) {
	var list []api.SystemCounter
	err = w.Get("system_counters", &list)
	for _, c := range list {
		if c.Name == "alarm" {
			texts = append(texts, c.Description)
		}
	}
	return texts, err
}

// Incidents are all that are open; with all those that are over, too.
func (w *Weir) Incidents(all bool) (list []api.Incident, err error) {
	path := "incidents"
	if all {
		path += "/all"
	}
	return list, w.Get(path, &list)
}

// Counter is one system counter.
func (w *Weir) Counter(name string) (float64, error) {
	var list []api.SystemCounter
	if err := w.Get("system_counters", &list); err != nil {
		return 0, err
	}
	for _, c := range list {
		if c.Name == name {
			return c.Value, nil
		}
	}
	return 0, fmt.Errorf("no system counter %s", name)
}
