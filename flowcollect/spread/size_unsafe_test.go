package spread

import (
	"testing"
	"unsafe"
)

func TestEntrySize(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(entry{}); n+16 != EntrySize {
		t.Errorf("an entry has %d bytes, EntrySize says %d", n, EntrySize-16)
	}
}
