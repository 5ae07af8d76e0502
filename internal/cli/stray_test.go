package cli

import (
	"os"
	"strings"
	"testing"
)

// TestStrayRecord: a file that somebody left among the records is no backup whose record cannot be read.
func TestStrayRecord(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	if err := os.WriteFile(p.recordOf("old copy"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := p.run("status").exits(0).out; strings.Contains(out, "UNREADABLE") {
		t.Error(out)
	}
	if out := p.run("doctor").exits(0).out; !strings.Contains(out, "photos/old copy") || strings.Contains(out, "archives/photos/old copy") {
		t.Error(out)
	}
}
