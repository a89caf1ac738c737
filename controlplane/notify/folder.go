package notify

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
)

// folderQueue is how many reports may wait for the disk.
const folderQueue = 256

// pruneEvery is how many files are written between two looks at the folder's size.
const pruneEvery = 64

// FolderStats are the attack folder's figures.
type FolderStats struct {
	Written uint64 `json:"written"`
	Failed  uint64 `json:"failed"`
	Dropped uint64 `json:"dropped"`
	Removed uint64 `json:"removed"`
	// Err is the last fault; empty once a file could be written again.
	Err string `json:"err,omitempty"`
}

// Folder keeps the report of each attack as <ip>_<dd_mm_yy_HH:MM:SS>.txt, as FastNetMon does, for IPv4 and IPv6. The time is
// that of the attack's start, so that attack_details goes into the same file. Files are mode 0600. One goroutine writes;
// Notify only queues.
type Folder struct {
	dir  string
	keep int
	loc  *time.Location
	log  *slog.Logger

	queue chan Event
	done  chan struct{}
	stop  sync.Once

	mu     sync.Mutex // guards closed, stats
	closed bool
	stats  FolderStats
}

// NewFolder makes a folder writer from cfg.AttackFolder and cfg.AttackFiles; names are in the time zone loc.
func NewFolder(cfg Config, loc *time.Location, log *slog.Logger) (*Folder, error) {
	if cfg.AttackFolder == "" {
		return nil, errors.New("attack folder: no path")
	}
	return &Folder{
		dir: cfg.AttackFolder, keep: cfg.AttackFiles, loc: loc, log: log,
		queue: make(chan Event, folderQueue), done: make(chan struct{}),
	}, nil
}

// Start starts the writer.
func (f *Folder) Start() { go f.run() }

// Stop writes what is queued and returns when the writer has ended. Later events are dropped.
func (f *Folder) Stop() {
	f.stop.Do(func() {
		f.mu.Lock()
		f.closed = true
		close(f.queue)
		f.mu.Unlock()
	})
	<-f.done
}

// Name implements Notifier.
func (f *Folder) Name() string { return "attack folder" }

// Notify implements Notifier. An unban has nothing to keep.
func (f *Folder) Notify(e Event) bool {
	if e.Action == Unban {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		select {
		case f.queue <- e:
			return true
		default:
		}
	}
	f.stats.Dropped++
	return false
}

// Stats is safe at any time.
func (f *Folder) Stats() FolderStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *Folder) run() {
	defer close(f.done)
	since := pruneEvery // look once at the beginning
	for e := range f.queue {
		err := f.save(e)
		removed := 0
		if since++; since >= pruneEvery && err == nil {
			since, removed = 0, f.prune()
		}
		f.account(err, removed)
	}
}

func (f *Folder) account(err error, removed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Removed += uint64(removed)
	was := f.stats.Err
	if err == nil {
		f.stats.Written++
		f.stats.Err = ""
		return
	}
	f.stats.Failed++
	f.stats.Err = err.Error()
	if was != f.stats.Err {
		f.log.Warn("attack report not saved", "err", err)
	}
}

// save appends the event's text and an empty line to the attack's file.
func (f *Folder) save(e Event) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("attack folder: %w", err)
	}
	name := filepath.Join(f.dir, FileName(&e.Incident, f.loc))
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("attack folder: %w", err)
	}
	_, err = file.WriteString(Text(e, f.loc) + "\n\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("attack folder: %w", err)
	}
	return nil
}

// FileName is the name of the attack's report: <ip>_<dd_mm_yy_HH:MM:SS>.txt, with the hostgroup's name for a group.
func FileName(inc *incident.Incident, loc *time.Location) string {
	who := inc.Target.Host.String()
	if !inc.Target.Host.IsValid() {
		who = "hostgroup_" + strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
				return r
			}
			return '_'
		}, inc.Target.Group)
	}
	return who + "_" + inc.Start.In(loc).Format("02_01_06_15:04:05") + ".txt"
}

// prune removes the oldest reports above the limit and says how many. What is not a report is left alone.
func (f *Folder) prune() int {
	entries, err := os.ReadDir(f.dir)
	if err != nil || len(entries) <= f.keep {
		return 0
	}
	var reports []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".txt") {
			reports = append(reports, info)
		}
	}
	slices.SortFunc(reports, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	removed := 0
	for _, info := range reports[:max(len(reports)-f.keep, 0)] {
		if os.Remove(filepath.Join(f.dir, info.Name())) == nil {
			removed++
		}
	}
	return removed
}
