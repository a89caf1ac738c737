package wire_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
)

// capturesIfAny lists the shared captures, as folder/file below dir; dir is "" when they are not here.
func capturesIfAny() (dir string, names []string) {
	root := os.Getenv("WEIR_SHARED")
	if root == "" {
		root = "../../../shared"
	}
	dir = filepath.Join(root, "data", "pcap")
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		return "", nil
	}
	for _, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, name)
	}
	return dir, names
}

// captures lists the shared captures, or skips.
func captures(t testing.TB) (dir string, names []string) {
	t.Helper()
	if dir, names = capturesIfAny(); dir == "" {
		t.Skip("the shared captures are not at ../shared beside the repository; set WEIR_SHARED")
	}
	return dir, names
}

// records reads at most limit packets of a capture; 0 is all. A fuzzed file may end in an error.
func records(t testing.TB, path string, limit int) (recs []pcapfile.Record) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for limit == 0 || len(recs) < limit {
		rec, err := r.Next()
		if err != nil {
			if err != io.EOF && !strings.Contains(path, "fuzz") {
				t.Errorf("%s: %v", path, err)
			}
			break
		}
		rec.Data = bytes.Clone(rec.Data)
		recs = append(recs, rec)
	}
	return recs
}
