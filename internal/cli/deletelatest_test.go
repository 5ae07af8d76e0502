package cli

import (
	"strings"
	"testing"
)

// TestDeleteLatest: where "latest" passes over a newer backup, it deletes none: the older may be the last that is good.
func TestDeleteLatest(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.backup(0)
	p.write("uploads/CHANGES.md", "changed")
	second := p.backup(3) // it has another size than its row
	flip(t, p.recordOf(second.ID), 40)
	for _, text := range []string{"latest", "photos:latest"} {
		p.run("delete", text, "--yes").complains(13, second.ID+" is passed over", "name the whole id")
		p.run("delete", text, "--yes", "--now").complains(13, "nothing was deleted")
	}
	p.good(first.ID)
	p.run("delete", second.ID).exits(0)
	if out := p.run("delete", "latest", "--yes").exits(0).out; !strings.Contains(out, "deleted "+first.ID) {
		t.Error(out)
	}
}
