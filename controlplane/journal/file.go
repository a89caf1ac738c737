package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long opening waits for another process to give the file up, which one that is ending does.
const lockWait = time.Second

// keepDamaged is how many files that were moved aside are kept.
const keepDamaged = 3

// errDamaged marks faults of the file's contents, as opposed to those of the disk. errPanic says besides that the store
// gave up in the middle: it may hold locks of its own, so that it is abandoned and not closed.
var (
	errDamaged = errors.New("file is damaged")
	errPanic   = errors.New("store panicked")
)

// do runs f with the open file, opening it when needed. A file that turns out to be damaged is moved aside, and f gets a
// new one, once.
func (j *Journal) do(what string, f func(*bolt.DB) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	err := j.try(f)
	if errors.Is(err, errDamaged) {
		if err = j.moveAside(err); err == nil {
			err = j.try(f)
		}
	}
	if err != nil {
		err = fmt.Errorf("journal: %s %s: %w", what, j.cfg.Path, err)
		j.stats.Failures++
		j.stats.Err = err.Error()
		return err
	}
	j.stats.Err = ""
	return nil
}

func (j *Journal) try(f func(*bolt.DB) error) error {
	if j.db != nil && !j.stillThere() {
		j.deps.Log.Error("journal file was removed or replaced under the running appliance; a new one is written", "file", j.cfg.Path)
		_ = j.shut()
	}
	if j.db == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	return protect(func() error { return f(j.db) })
}

// protect turns a panic into an error. The store panics on pages that make no sense, and reading a memory map beyond the
// end of a file that was cut off is a fault; both mean that the file is damaged, not that detection must end.
func protect(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w: %v", errDamaged, errPanic, p)
		}
	}()
	return f()
}

func (j *Journal) stillThere() bool {
	info, err := os.Stat(j.cfg.Path)
	return err == nil && os.SameFile(info, j.file)
}

// open opens or makes the file and reads all of it once, so that damage shows now.
func (j *Journal) open() error {
	if err := os.MkdirAll(filepath.Dir(j.cfg.Path), 0o700); err != nil {
		return err
	}
	var db *bolt.DB
	err := protect(func() (err error) {
		// A panic in here leaks the descriptor, and with it the lock, of a file that is then moved aside: harmless.
		db, err = bolt.Open(j.cfg.Path, 0o600, &bolt.Options{Timeout: lockWait, NoStatistics: true})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return errors.New("another process has it open")
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", errDamaged, err)
	case err != nil:
		return err
	}
	db.AllocSize = 1 << 20
	onDisk, err := j.examine(db)
	if err == nil {
		err = os.Chmod(j.cfg.Path, 0o600) // made by an earlier version, or by hand
	}
	info, statErr := os.Stat(j.cfg.Path)
	if err = errors.Join(err, statErr); err != nil {
		if !errors.Is(err, errPanic) {
			_ = protect(db.Close)
		}
		return err
	}
	j.db, j.file, j.onDisk = db, info, onDisk
	return nil
}

// examine checks an existing file before anything is written to it, reads every record, and makes what a new file lacks.
// Damage must show now, not when the first mitigation is to be saved. The state is a few megabytes at most.
func (j *Journal) examine(db *bolt.DB) (onDisk map[string]map[string]uint64, err error) {
	onDisk = make(map[string]map[string]uint64)
	err = protect(func() error {
		info, err := os.Stat(j.cfg.Path)
		if err != nil {
			return err
		}
		err = db.View(func(tx *bolt.Tx) error {
			if err := examinePages(tx, info.Size(), int64(db.Info().PageSize)); err != nil {
				return err
			}
			if err := examineTree(tx, j.cfg.Path, int64(db.Info().PageSize)); err != nil {
				return err
			}
			err := tx.ForEach(func(name []byte, b *bolt.Bucket) (err error) {
				onDisk[string(name)], err = j.examineBucket(string(name), b)
				return err
			})
			if err != nil {
				return err
			}
			return check(tx)
		})
		if err != nil {
			return err
		}
		return db.Update(prepare)
	})
	return onDisk, err
}

// examinePages walks the file from page to page: every page that is not free heads a run that ends inside the file. The
// store trusts the run's length, and would follow a wrong one over four thousand million pages.
func examinePages(tx *bolt.Tx, size, pageSize int64) error {
	if tx.Size() > size {
		return fmt.Errorf("%w: it is cut off at %d of %d bytes", errDamaged, size, tx.Size())
	}
	end := int(tx.Size() / pageSize)
	for id := 0; id < end; {
		p, err := tx.Page(id)
		if err != nil || p == nil {
			return fmt.Errorf("%w: page %d cannot be read: %w", errDamaged, id, cmp.Or(err, io.ErrUnexpectedEOF))
		}
		switch p.Type {
		case "free":
			id++
			continue
		case "meta", "branch", "leaf", "freelist":
		default:
			return fmt.Errorf("%w: page %d is of no known type", errDamaged, id)
		}
		if p.OverflowCount < 0 || p.OverflowCount >= end-id {
			return fmt.Errorf("%w: page %d is longer than the file", errDamaged, id)
		}
		id += p.OverflowCount + 1
	}
	return nil
}

// check is the store's own. It runs in a goroutine that protect does not guard, so it comes last, when every page
// that it will touch has been read once.
func check(tx *bolt.Tx) error {
	var first error
	for err := range tx.Check() {
		if first == nil {
			first = fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return first
}

// examineBucket hashes every record, and makes sure that each is found where the tree says it is.
func (j *Journal) examineBucket(name string, b *bolt.Bucket) (map[string]uint64, error) {
	hashes := make(map[string]uint64)
	var last []byte
	err := b.ForEach(func(k, v []byte) error {
		if len(k) > maxID || last != nil && bytes.Compare(last, k) >= 0 || !bytes.Equal(b.Get(k), v) {
			return fmt.Errorf("%w: %s: records are out of order", errDamaged, name)
		}
		last = k
		if name != string(bucketAudit) && string(k) != string(keySchema) {
			hashes[string(k)] = maphash.Bytes(j.seed, v)
		}
		return nil
	})
	return hashes, err
}

// prepare makes what is missing in an empty file. A file that has other contents than ours is damaged.
func prepare(tx *bolt.Tx) error {
	empty := true
	if err := tx.ForEach(func([]byte, *bolt.Bucket) error { empty = false; return nil }); err != nil {
		return err
	}
	if empty {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		if err := meta.Put(keySchema, []byte(strconv.Itoa(schema))); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return fmt.Errorf("%w: it is not a journal", errDamaged)
	}
	switch v, err := strconv.Atoi(string(meta.Get(keySchema))); {
	case err != nil || v < 1:
		return fmt.Errorf("%w: it has no schema", errDamaged)
	case v > schema:
		return fmt.Errorf("it was written by a newer release (schema %d, this one knows %d); move it away to start anew", v, schema)
	}
	for _, name := range [][]byte{bucketIncidents, bucketMitigations, bucketManual, bucketAudit} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// moveAside renames a damaged file, so that it can be looked at, and makes room for a new one.
func (j *Journal) moveAside(reason error) error {
	if errors.Is(reason, errPanic) {
		j.db, j.file, j.onDisk = nil, nil, nil // leaks a descriptor and a map, once in the life of a disk
	}
	_ = j.shut()
	aside := j.cfg.Path + ".damaged-" + j.deps.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(j.cfg.Path, aside); err != nil {
		return fmt.Errorf("%w; it could not be moved aside: %w", reason, err)
	}
	j.stats.Damaged++
	j.deps.Log.Error("journal was damaged and has been moved aside; starting with an empty one", "file", j.cfg.Path, "moved_to", aside, "err", reason)
	if old, err := filepath.Glob(globQuote(j.cfg.Path) + ".damaged-*"); err == nil {
		slices.Sort(old)
		for _, name := range old[:max(len(old)-keepDamaged, 0)] {
			_ = os.Remove(name)
		}
	}
	return nil
}

// globQuote escapes what filepath.Glob would take for a pattern.
func globQuote(path string) string {
	out := make([]rune, 0, len(path))
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}

func (j *Journal) shut() error {
	if j.db == nil {
		return nil
	}
	db := j.db
	j.db, j.file, j.onDisk = nil, nil, nil
	return protect(db.Close)
}
