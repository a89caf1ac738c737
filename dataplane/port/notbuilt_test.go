package port

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestDriverThatIsNotBuiltIsKnownButNotListed(t *testing.T) {
	t.Parallel()
	RegisterNotBuilt("test_missing", "build with -tags missing")
	if slices.Contains(Drivers(), "test_missing") {
		t.Error("listed as built in")
	}
	d, err := Lookup("test_missing")
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"check": d.Check(Config{}),
		"open":  func() error { _, err := d.Open(Config{}); return err }(),
	} {
		if !errors.Is(err, ErrNotBuilt) || !strings.Contains(err.Error(), "-tags missing") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
