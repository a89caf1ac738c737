package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// schema is the version of the layout below. A file with a higher one is left alone.
const schema = 1

// The buckets: meta holds "schema" and "rest"; the others hold one record an id (audit: a sequence number).
var (
	bucketMeta        = []byte("meta")
	bucketIncidents   = []byte("incidents")
	bucketMitigations = []byte("mitigations")
	bucketManual      = []byte("manual")
	bucketAudit       = []byte("audit")

	keySchema = []byte("schema")
	keyRest   = []byte("rest")
)

// rest is the part of the state that is small: one record.
type rest struct {
	Saved      time.Time              `json:"saved"`
	KillSwitch mitigate.KillSwitch    `json:"kill_switch"`
	Suppressed []mitigate.Suppression `json:"suppressed,omitempty"`
	Admitted   []time.Time            `json:"admitted,omitempty"`
}

// Deps are what a Journal needs from outside.
type Deps struct {
	Log *slog.Logger
	// Now is the clock, for the age of audit entries and the names of files that are moved aside.
	Now func() time.Time
}

// Stats are a journal's figures since it was made.
type Stats struct {
	Saves    uint64 `json:"saves"`
	Written  uint64 `json:"written"` // records that had changed
	Failures uint64 `json:"failures"`
	// Damaged counts files that were moved aside, Unreadable single records that were skipped.
	Damaged    uint64 `json:"damaged"`
	Unreadable uint64 `json:"unreadable"`
	// AuditPending are audit entries that wait for the disk, AuditLost those that had to be given up.
	AuditPending int    `json:"audit_pending"`
	AuditLost    uint64 `json:"audit_lost"`
	// Size is the file's length in bytes.
	Size int64 `json:"size"`
	// Err is why the last call failed; empty after one that did not.
	Err string `json:"err,omitempty"`
}

// Journal is the store. It opens its file at the first call, and again whenever that failed.
type Journal struct {
	cfg  Config
	deps Deps
	seed maphash.Seed

	mu sync.Mutex // guards all below
	db *bolt.DB   // nil while the file is not open
	// file is what was opened: when the path names another file, ours has been removed or replaced.
	file os.FileInfo
	// onDisk holds the hash of every record of the state, by bucket and id: only what changed is written.
	onDisk  map[string]map[string]uint64
	pending []Entry // audit entries that the disk did not take
	closed  bool
	stats   Stats
}

// ErrClosed is returned by every method after Close.
var ErrClosed = errors.New("journal is closed")

// New checks cfg. It touches no disk.
func New(cfg Config, deps Deps) (*Journal, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil || deps.Now == nil {
		return nil, errors.New("journal: needs a log and a clock")
	}
	return &Journal{cfg: cfg, deps: deps, seed: maphash.MakeSeed()}, nil
}

// Save makes s the state on disk, in one transaction. It implements engine.Journal. On error the disk still has the state
// of the last Save that succeeded, unless the error says that single records could not be encoded: then all others are saved.
func (j *Journal) Save(s engine.State) error {
	records, encodeErr := j.encode(s)
	err := j.do("save", func(db *bolt.DB) error {
		written := uint64(0)
		fresh := make(map[string]map[string]uint64, len(records))
		err := db.Update(func(tx *bolt.Tx) error {
			written = 0
			for name, want := range records {
				hashes, n, err := j.sync(tx.Bucket([]byte(name)), want, j.onDisk[name])
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				fresh[name], written = hashes, written+n
			}
			return j.flushAudit(tx)
		})
		if err != nil {
			return err
		}
		j.onDisk, j.pending = fresh, nil
		j.stats.Saves++
		j.stats.Written += written
		return nil
	})
	return errors.Join(err, encodeErr)
}

// encode makes records of the state, by bucket and id.
func (j *Journal) encode(s engine.State) (map[string]map[string][]byte, error) {
	var errs []error
	out := map[string]map[string][]byte{
		string(bucketMeta):        {},
		string(bucketIncidents):   make(map[string][]byte, len(s.Incidents)),
		string(bucketMitigations): make(map[string][]byte, len(s.Planner.Active)),
		string(bucketManual):      make(map[string][]byte, len(s.Manual)),
	}
	put := func(bucket []byte, id string, v any) {
		record, err := pack(bucket, []byte(id), v)
		if err != nil {
			errs = append(errs, fmt.Errorf("journal: %s %q: %w", bucket, id, err))
			return
		}
		out[string(bucket)][id] = record
	}
	for i := range s.Incidents {
		put(bucketIncidents, s.Incidents[i].ID, &s.Incidents[i])
	}
	for i := range s.Planner.Active {
		put(bucketMitigations, s.Planner.Active[i].Mitigation.ID, &s.Planner.Active[i])
	}
	for i := range s.Manual {
		put(bucketManual, s.Manual[i].ID, &s.Manual[i])
	}
	put(bucketMeta, string(keyRest), rest{
		Saved: s.Saved, KillSwitch: s.Planner.KillSwitch, Suppressed: s.Planner.Suppressed, Admitted: s.Planner.Admitted,
	})
	return out, errors.Join(errs...)
}

// sync makes bucket b hold exactly want, writing only what differs from have. The schema stays.
func (j *Journal) sync(b *bolt.Bucket, want map[string][]byte, have map[string]uint64) (hashes map[string]uint64, written uint64, err error) {
	hashes = make(map[string]uint64, len(want))
	for id, raw := range want {
		h := maphash.Bytes(j.seed, raw)
		hashes[id] = h
		if old, ok := have[id]; ok && old == h {
			continue
		}
		if err := b.Put([]byte(id), raw); err != nil {
			return nil, 0, err
		}
		written++
	}
	for id := range have {
		if _, ok := want[id]; ok {
			continue
		}
		if err := b.Delete([]byte(id)); err != nil {
			return nil, 0, err
		}
		written++
	}
	return hashes, written, nil
}

// Load returns the state on disk; the zero State when there is none yet, or when the file was damaged and has been moved
// aside. A record that cannot be read is skipped, counted and logged.
func (j *Journal) Load() (engine.State, error) {
	var s engine.State
	err := j.do("load", func(db *bolt.DB) error {
		s = engine.State{}
		return db.View(func(tx *bolt.Tx) error {
			each(j, tx, bucketIncidents, func(v incident.Incident) { s.Incidents = append(s.Incidents, v) })
			each(j, tx, bucketMitigations, func(v mitigate.ActiveState) { s.Planner.Active = append(s.Planner.Active, v) })
			each(j, tx, bucketManual, func(v mitigate.Manual) { s.Manual = append(s.Manual, v) })
			if raw := tx.Bucket(bucketMeta).Get(keyRest); raw != nil {
				var r rest
				if err := unpack(bucketMeta, keyRest, raw, &r); err != nil {
					j.unreadable(bucketMeta, keyRest, err)
					return nil
				}
				s.Saved = r.Saved
				s.Planner.KillSwitch, s.Planner.Suppressed, s.Planner.Admitted = r.KillSwitch, r.Suppressed, r.Admitted
			}
			return nil
		})
	})
	if err != nil {
		return engine.State{}, err
	}
	return s, nil
}

// each decodes every record of a bucket, in the order of ids.
func each[T any](j *Journal, tx *bolt.Tx, bucket []byte, f func(T)) {
	_ = tx.Bucket(bucket).ForEach(func(k, raw []byte) error {
		var v T
		if err := unpack(bucket, k, raw, &v); err != nil {
			j.unreadable(bucket, k, err)
			return nil
		}
		f(v)
		return nil
	})
}

func (j *Journal) unreadable(bucket, key []byte, err error) {
	j.stats.Unreadable++
	j.deps.Log.Error("journal record skipped", "file", j.cfg.Path, "record", fmt.Sprintf("%s/%q", bucket, key), "err", err)
}

// Stats is safe at any time; it may wait for a call that is under way.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.AuditPending = len(j.pending)
	if info, err := os.Stat(j.cfg.Path); err == nil {
		s.Size = info.Size()
	}
	return s
}

// Close closes the file. It is idempotent.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return j.shut()
}

func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
