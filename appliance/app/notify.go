package app

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/controlplane/mitigate/script"
	"github.com/weir-ddos/weir/controlplane/notify"
)

// patience is how long calls that are queued may still take when the configuration changes or the appliance stops.
const patience = 10 * time.Second

// told is a running notifier.
type told struct {
	notify.Notifier
	stop func()
}

// slot holds the notifier of the moment, since a commit may configure another one or none. It implements notify.Notifier.
type slot struct {
	name    string
	current atomic.Pointer[told]
}

// Name implements notify.Notifier.
func (s *slot) Name() string { return s.name }

// Notify implements notify.Notifier. Without a notifier there is nobody to tell.
func (s *slot) Notify(e notify.Event) bool {
	if t := s.current.Load(); t != nil {
		return t.Notify(e)
	}
	return true
}

// put changes the notifier. What the old one has queued is still told; the new one does not wait for that.
func (s *slot) put(t *told) {
	if old := s.current.Swap(t); old != nil {
		go old.stop()
	}
}

func (s *slot) stop() {
	if old := s.current.Swap(nil); old != nil {
		old.stop()
	}
}

// notifiers are those that the configuration can name.
type notifiers struct {
	log            *slog.Logger
	script, folder slot
	cfg            notify.Config // only configure touches it
}

func newNotifiers(log *slog.Logger) *notifiers {
	n := &notifiers{log: log}
	n.script.name, n.folder.name = "notify script", "attack folder"
	return n
}

func (n *notifiers) list() []notify.Notifier { return []notify.Notifier{&n.script, &n.folder} }

// configure follows the configuration; on an error the notifiers stay as they were.
func (n *notifiers) configure(cfg notify.Config) error {
	if cfg == n.cfg {
		return nil
	}
	var newScript, newFolder *told
	if cfg.Script != "" {
		r, err := script.New(cfg, script.Deps{Log: n.log, Location: time.Local, Env: os.Environ()})
		if err != nil {
			return err
		}
		newScript = &told{r, func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			r.Stop(ctx)
		}}
		defer r.Start()
	}
	if cfg.AttackFolder != "" {
		f, err := notify.NewFolder(cfg, time.Local, n.log)
		if err != nil {
			return err
		}
		newFolder = &told{f, f.Stop}
		defer f.Start()
	}
	n.cfg = cfg
	n.script.put(newScript)
	n.folder.put(newFolder)
	return nil
}

func (n *notifiers) stop() {
	n.script.stop()
	n.folder.stop()
}

// scriptStats are the notify script's figures, zero without one.
func (n *notifiers) scriptStats() script.Stats {
	if t := n.script.current.Load(); t != nil {
		return t.Notifier.(*script.Runner).Stats()
	}
	return script.Stats{}
}
