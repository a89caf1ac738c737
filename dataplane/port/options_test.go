package port

import (
	"strings"
	"testing"
	"time"
)

type sampleOptions struct {
	Size  int      `json:"size"`
	Name  string   `json:"name"`
	On    bool     `json:"on"`
	List  []string `json:"list"`
	Wait  Duration `json:"wait"`
	Small uint8    `json:"small"`
}

func TestDecodeOptionsKeepsDefaultsAndReadsEveryType(t *testing.T) {
	t.Parallel()
	got := sampleOptions{Size: 7, Name: "kept"}
	err := DecodeOptions(map[string]any{
		"on": true, "list": []any{"arp", "tcp/179"}, "wait": "8ms", "small": 255,
	}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Size != 7 || got.Name != "kept" || !got.On || len(got.List) != 2 || got.List[1] != "tcp/179" ||
		got.Wait != Duration(8*time.Millisecond) || got.Small != 255 {
		t.Fatalf("decoded %+v", got)
	}
}

func TestDecodeOptionsNamesEveryBadKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		key   string
		value any
		want  string
	}{
		{"unknown", "sise", 1, "unknown option; there are size, name"},
		{"case matters", "Size", 1, "unknown option"},
		{"text for number", "size", "many", "string does not fit, want a whole number"},
		{"number for text", "name", 5, "number does not fit, want text"},
		{"too large", "small", 256, "does not fit, want a whole number from 0 to 255"},
		{"fraction", "size", 1.5, "does not fit, want a whole number"},
		{"bad duration", "wait", "soon", `"soon" is not a duration`},
		{"number for duration", "wait", 8, "does not fit, want a duration such as 8ms"},
		{"list of numbers", "list", []any{1}, "does not fit, want text"},
		{"text for list", "list", "a", "string does not fit, want a list of text"},
		{"text for switch", "on", "yes", "string does not fit, want true or false"},
		{"nothing", "on", nil, "has no value"},
		{"not json", "size", func() {}, "cannot be used"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := DecodeOptions(map[string]any{tc.key: tc.value, "zzz": 1}, &sampleOptions{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range []string{"options." + tc.key + ": ", tc.want, "options.zzz: unknown"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}
