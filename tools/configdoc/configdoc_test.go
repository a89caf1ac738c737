package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/dataplane/port"
)

const reference = "../../appliance/config/REFERENCE.md"

// TestUpToDate fails when a comment, a key or a default changed and the reference did not.
func TestUpToDate(t *testing.T) {
	t.Parallel()
	want, err := Markdown()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run `make docs`", reference)
	}
}

func TestEveryKeyIsThere(t *testing.T) {
	t.Parallel()
	text, err := Markdown()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		leaf := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !bytes.Contains(text, []byte("| `"+leaf+"` | ")) {
			t.Errorf("%s is not documented", k.Path)
		}
	}
	for _, d := range port.Drivers() {
		if !bytes.Contains(text, []byte("### Driver "+d+"\n")) {
			t.Errorf("the options of driver %s are not documented", d)
		}
	}
	for _, want := range []string{"| `eal` | list of text |  | ", "| `retire` | duration | `8ms` | ", "| `tick` | duration | `1s` | ", "| `next_hop_ipv6` | address | `100::1` | ", "## bgp.peers[]", "## hostgroups.NAME"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the reference lacks %q", want)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "r.md")
	var out, errs bytes.Buffer
	if s := run([]string{"-o", file}, &out, &errs); s != 0 {
		t.Fatalf("status %d: %s", s, errs.String())
	}
	if s := run([]string{"-check", "-o", file}, &out, &errs); s != 0 {
		t.Errorf("a fresh file is out of date: %s", errs.String())
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := run([]string{"-check", "-o", file}, &out, &errs); s != 1 || !strings.Contains(errs.String(), "out of date") {
		t.Errorf("an old file is up to date: %d %s", s, errs.String())
	}
	if s := run([]string{"-frob"}, &out, &errs); s != 2 {
		t.Errorf("wrong usage gives %d", s)
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Queues is how many there are.": "How many there are.",
		"Queues says how many.":         "Says how many.",
		"Queues replace the others.":    "Replace the others.",
		"How many Queues.":              "How many Queues.",
		"Queues: how many.":             "How many.",
		"Queues is all, or one.":        "all, or one.",
		"Queues and Bursts are many.":   "Queues and Bursts are many.",
	} {
		if got := sentence(text, "Queues"); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
