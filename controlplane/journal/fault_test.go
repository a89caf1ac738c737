package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
)

// TestMain is also the child of TestKill: it saves one generation after the other until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("WEIR_JOURNAL_TEST_CHILD"); path != "" {
		saveForEver(path)
	}
	os.Exit(m.Run())
}

func saveForEver(path string) {
	cfg := DefaultConfig()
	cfg.Path = path
	j, err := New(cfg, Deps{Log: slog.Default(), Now: time.Now})
	if err != nil {
		panic(err)
	}
	for generation := 1; ; generation++ {
		// The number of records goes up and down, so that each save adds, changes and deletes.
		if err := j.Save(state(1+generation%40, generation)); err != nil {
			panic(err)
		}
		fmt.Println(generation) // it is promised from here on
	}
}

// TestKill kills the process with SIGKILL in the middle of saving, again and again: what was promised is there, and no
// state is half of one and half of another.
func TestKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 8 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "WEIR_JOURNAL_TEST_CHILD="+path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		promised := 0
		for lines.Scan() {
			if promised, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatalf("child says %q", lines.Text())
			}
			if promised == 5+round*3 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		if promised < 5 {
			t.Fatalf("child ended early: %s", &stderr)
		}

		j := open(t, path)
		got := mustLoad(t, j)
		generation := int(got.Saved.Sub(epoch) / time.Second)
		if generation != promised && generation != promised+1 {
			t.Errorf("round %d: %d was promised, %d is there", round, promised, generation)
		}
		if want := state(1+generation%40, generation); !reflect.DeepEqual(got, want) {
			t.Errorf("round %d: the state is not that of generation %d", round, generation)
		}
		if s := j.Stats(); s.Damaged+s.Unreadable != 0 {
			t.Errorf("round %d: %+v", round, s)
		}
		j.Close()
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	original := written(t, 60)
	good, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	tests := []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"not a journal at all", func([]byte) []byte { return []byte(strings.Repeat("hello world\n", 5000)) }},
		{"short text", func([]byte) []byte { return []byte("x") }},
		{"both meta pages gone", func(b []byte) []byte { clear(b[:2*page]); return b }},
		{"cut after the meta pages", func(b []byte) []byte { return b[:2*page] }},
		{"cut in the middle", func(b []byte) []byte { return b[:4*page+100] }},
		{"all data pages zero", func(b []byte) []byte { clear(b[2*page:]); return b }},
		{"all data pages ones", func(b []byte) []byte { fill(b[2*page:], 0xff); return b }},
		{"page headers swapped", func(b []byte) []byte {
			for p := 2; p+1 < len(b)/page; p += 2 {
				for i := range 16 {
					b[p*page+i], b[(p+1)*page+i] = b[(p+1)*page+i], b[p*page+i]
				}
			}
			return b
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal.db")
			bad := tt.damage(bytes.Clone(good))
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, path)
			if got := mustLoad(t, j); !reflect.DeepEqual(got, engine.State{}) {
				t.Fatalf("loaded %d incidents from a damaged file", len(got.Incidents))
			}
			aside, _ := filepath.Glob(path + ".damaged-*")
			if len(aside) != 1 || j.Stats().Damaged != 1 {
				t.Fatalf("moved aside: %v, %+v", aside, j.Stats())
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, bad) {
				t.Errorf("the damaged file was changed: %v", err)
			}
			mustSave(t, j, state(7, 2))
			j.Close()
			if got := mustLoad(t, open(t, path)); !reflect.DeepEqual(got, state(7, 2)) {
				t.Error("the new journal does not work")
			}
		})
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// TestRandomDamage flips bytes all over the file: whatever comes of it, nothing panics, and a save brings it back.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	original := written(t, 60)
	good, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	noticed, whole := 0, state(60, 1)
	for seed := range 60 {
		bad := bytes.Clone(good)
		x := uint64(seed)*0x9e3779b97f4a7c15 + 1
		for range 1 + seed%40 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			bad[x%uint64(len(bad))] ^= byte(x>>40) | 1
		}
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, path)
		left, err := j.Load()
		if err != nil {
			t.Fatalf("seed %d: load: %v", seed, err)
		}
		for _, inc := range left.Incidents {
			if !slices.ContainsFunc(whole.Incidents, func(o incident.Incident) bool { return reflect.DeepEqual(inc, o) }) {
				t.Fatalf("seed %d: a damaged record was believed: %+v", seed, inc)
			}
		}
		mustSave(t, j, state(61, 2))
		if got := mustLoad(t, j); !reflect.DeepEqual(got, state(61, 2)) {
			t.Fatalf("seed %d: a save did not bring it back", seed)
		}
		if s := j.Stats(); s.Damaged+s.Unreadable > 0 {
			noticed++
		}
		j.Close()
	}
	if noticed < 10 {
		t.Errorf("only %d of 60 damaged files were noticed: the test flips nothing that matters", noticed)
	}
}

// TestPageThatLeadsBackToItself: a pointer that is flipped so that the tree has a cycle must not keep the appliance in it.
func TestPageThatLeadsBackToItself(t *testing.T) {
	t.Parallel()
	path := written(t, 500)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pageSize, turned := os.Getpagesize(), 0
	for at := 0; at < len(b); at += pageSize {
		if p := b[at:]; binary.NativeEndian.Uint16(p[8:]) == branchPage && binary.NativeEndian.Uint64(p) == uint64(at/pageSize) {
			binary.NativeEndian.PutUint64(p[pageHeader+8:], uint64(at/pageSize)) // its first child is itself
			turned++
		}
	}
	if turned == 0 {
		t.Fatal("the file has no branch page")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, path)
	mustLoad(t, j)
	if s := j.Stats(); s.Damaged != 1 {
		t.Errorf("%+v", s)
	}
	mustSave(t, j, state(2, 2))
}

func TestDamagedFilesDoNotPileUp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "odd [name]*")
	path := filepath.Join(dir, "journal.db")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	now := epoch
	for range 6 {
		if err := os.WriteFile(path, []byte("rubbish, rubbish, rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		j := openWith(t, path, func(*Config) {}, func() time.Time { return now })
		mustLoad(t, j)
		j.Close()
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1+keepDamaged {
		t.Errorf("%v %v", entries, err)
	}
}

func TestForeignAndNewerFilesAreNotTouched(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	mine := open(t, path)
	mustSave(t, mine, state(1, 1))
	if err := open(t, path).Save(state(2, 2)); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("%v", err)
	}
	mine.Close()
	edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte("2")) })
	j := open(t, path)
	if _, err := j.Load(); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("%v", err)
	}
	if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 0 {
		t.Errorf("moved aside: %v", aside)
	}
	j.Close()
	edit(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketMeta) }) // somebody else's bbolt file
	j = open(t, path)
	mustLoad(t, j)
	if j.Stats().Damaged != 1 {
		t.Errorf("%+v", j.Stats())
	}
}

// TestFileRemovedWhileRunning: an operator cleans up; the next save makes a complete new file.
func TestFileRemovedWhileRunning(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	mustSave(t, j, state(5, 1))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustSave(t, j, state(5, 1))
	j.Close()
	if got := mustLoad(t, open(t, path)); !reflect.DeepEqual(got, state(5, 1)) {
		t.Error("the state is not in the new file")
	}
}

func TestFolderCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocker := filepath.Join(dir, "blocker")
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j := open(t, filepath.Join(blocker, "journal.db"))
	if err := j.Save(state(1, 1)); err == nil || j.Stats().Err == "" {
		t.Error("no error")
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	mustSave(t, j, state(1, 1))
}
