package journal

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("weir-journal-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounting a tmpfs needs CAP_SYS_ADMIN: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	path, filler := filepath.Join(dir, "journal.db"), filepath.Join(dir, "filler")
	fill := func() {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
		if !strings.Contains(err.Error(), "no space") {
			t.Fatal(err)
		}
	}
	noSpace := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("error %v", err)
		}
	}

	// Full before there is a file.
	fill()
	j := open(t, path)
	_, err := j.Load()
	noSpace(err)
	noSpace(j.Save(state(3, 1)))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	mustSave(t, j, state(3, 1))

	// Full while it is in use: what was saved stays, and audit entries wait.
	fill()
	noSpace(j.Save(state(300, 2)))
	noSpace(j.Save(state(400, 3)))
	big := Entry{Who: "ada", What: "block", Detail: strings.Repeat("x", maxText)}
	var auditErr error
	for range 200 { // the file may have some room of its own
		if err := j.Audit(big); err != nil {
			auditErr = err
		}
	}
	noSpace(auditErr)
	if got := mustLoad(t, j); !reflect.DeepEqual(got, state(3, 1)) {
		t.Errorf("a failed save changed the state: %d incidents", len(got.Incidents))
	}
	if s := j.Stats(); s.Failures < 4 || s.AuditPending == 0 || s.Damaged != 0 {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	mustSave(t, j, state(50, 4))
	if s := j.Stats(); s.Err != "" || s.AuditPending != 0 {
		t.Errorf("%+v", s)
	}
	j.Close()
	j = open(t, path)
	if got := mustLoad(t, j); !reflect.DeepEqual(got, state(50, 4)) {
		t.Errorf("after the disk had room again: %d incidents", len(got.Incidents))
	}
	if list, err := j.History(Query{Limit: 1000}); err != nil || len(list) != 200 {
		t.Errorf("%d audit entries, %v", len(list), err)
	}
	j.Close()
}
