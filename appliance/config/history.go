package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Revision is one committed configuration.
type Revision struct {
	// Number counts commits from 1.
	Number int `json:"number"`
	// Time, UID, User and Cause say when it was committed, by whom, and why ("commit", "rollback to 3", "start").
	Time  time.Time `json:"time"`
	UID   uint32    `json:"uid"`
	User  string    `json:"user,omitempty"`
	Cause string    `json:"cause"`
}

// Archive is the directory that holds the history: NNNNNN.yaml and NNNNNN.json beside it. It is not safe for concurrent use.
type Archive struct {
	dir  string
	keep int
}

// OpenArchive makes the directory when it is missing. Files in it are readable by their owner only: they may hold passwords.
func OpenArchive(h History) (*Archive, error) {
	if err := os.MkdirAll(h.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("configuration history: %w", err)
	}
	return &Archive{dir: h.Directory, keep: h.Keep}, nil
}

// List returns the revisions, oldest first. Files that are not ours are left alone.
func (a *Archive) List() ([]Revision, error) {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, fmt.Errorf("configuration history: %w", err)
	}
	var out []Revision
	for _, e := range entries {
		num, ok := strings.CutSuffix(e.Name(), ".yaml")
		n, err := strconv.Atoi(num)
		if !ok || err != nil || n < 1 {
			continue
		}
		r := Revision{Number: n}
		if meta, err := os.ReadFile(a.file(n, ".json")); err == nil {
			// A damaged note costs the note, not the configuration.
			_ = json.Unmarshal(meta, &r)
			r.Number = n
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Revision) int { return a.Number - b.Number })
	return out, nil
}

// Text returns the configuration of revision n.
func (a *Archive) Text(n int) ([]byte, error) {
	text, err := os.ReadFile(a.file(n, ".yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration history: there is no revision %d; weirctl show history lists them", n)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration history: %w", err)
	}
	return text, nil
}

// Add stores a text as the next revision and removes what exceeds the number to keep. When the text equals the newest
// revision nothing is stored and that revision is returned.
func (a *Archive) Add(text []byte, r Revision) (Revision, error) {
	list, err := a.List()
	if err != nil {
		return Revision{}, err
	}
	r.Number = 1
	if len(list) > 0 {
		last := list[len(list)-1]
		if old, err := a.Text(last.Number); err == nil && string(old) == string(text) {
			return last, nil
		}
		r.Number = last.Number + 1
	}
	meta, err := json.Marshal(r)
	if err != nil {
		return Revision{}, fmt.Errorf("configuration history: %w", err)
	}
	if err := WriteFile(a.file(r.Number, ".json"), append(meta, '\n'), 0o600); err != nil {
		return Revision{}, err
	}
	if err := WriteFile(a.file(r.Number, ".yaml"), text, 0o600); err != nil {
		return Revision{}, err
	}
	for i := 0; i < len(list)+1-a.keep; i++ {
		_ = os.Remove(a.file(list[i].Number, ".yaml")) // an old file that stays does no harm
		_ = os.Remove(a.file(list[i].Number, ".json"))
	}
	return r, nil
}

func (a *Archive) file(n int, ext string) string {
	return filepath.Join(a.dir, fmt.Sprintf("%06d%s", n, ext))
}

// Staged is a file written beside its destination and not yet in its place.
type Staged struct{ tmp, path string }

// Stage writes text beside path, synced to disk, with the mode of what is there now, or mode. Commit puts it in place
// at once and whole; Discard removes it. A power cut leaves the old file or the new one.
func Stage(path string, text []byte, mode fs.FileMode) (*Staged, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	s := &Staged{tmp: f.Name(), path: path}
	if st, err := os.Stat(path); err == nil {
		mode = st.Mode().Perm()
		keepOwner(f, st)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		s.Discard()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return s, nil
}

// Commit puts the file in its place.
func (s *Staged) Commit() error {
	if err := os.Rename(s.tmp, s.path); err != nil {
		s.Discard()
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	if dir, err := os.Open(filepath.Dir(s.path)); err == nil {
		_ = dir.Sync() // not every file system can; the rename itself is atomic
		_ = dir.Close()
	}
	return nil
}

// Discard removes what was staged.
func (s *Staged) Discard() { _ = os.Remove(s.tmp) }

// WriteFile replaces a file at once and whole.
func WriteFile(path string, text []byte, mode fs.FileMode) error {
	s, err := Stage(path, text, mode)
	if err != nil {
		return err
	}
	return s.Commit()
}
