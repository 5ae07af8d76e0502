package setup_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// TestOwnerOfRestores restores into buckets that only the restore names: every request of whatever kind names the account
// that the restore, lifeboat.yaml or the stack says, in this order.
func TestOwnerOfRestores(t *testing.T) {
	w := newWorld(t)
	w.put(w.vault.Client(), "data", "", files())
	record, err := w.backup("spliced")
	if err != nil {
		t.Fatal(err)
	}
	if err := vault.New(w.vault.Client(), "free", nil).CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		to      events.Bucket
		account string
		want    string
	}{
		"the restore says so":          {events.Bucket{Name: "free", Prefix: "a", Owner: ours}, "", ours},
		"the restore says it better":   {events.Bucket{Name: "free", Prefix: "b", Owner: ours}, theirs, ours},
		"lifeboat.yaml says so":        {events.Bucket{Name: "data-back", Prefix: "c"}, "", ours},
		"lifeboat.yaml says it better": {events.Bucket{Name: "data-back", Prefix: "d"}, theirs, ours},
		"the stack says so":            {events.Bucket{Name: "free", Prefix: "e"}, ours, ours},
		"nobody says so":               {events.Bucket{Name: "free", Prefix: "f"}, "", ""},
		"others' keys reach it":        {events.Bucket{Name: "free", Prefix: "g", AccessKey: "env:AWS_ACCESS_KEY_ID", SecretKey: "env:AWS_SECRET_ACCESS_KEY"}, theirs, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.requests, w.account = nil, test.account
			restored, err := w.restoreTo(record, events.To{Bucket: &test.to})
			if err != nil || restored.Status != backup.Completed || restored.Put.Spliced != 1 {
				t.Fatalf("%v: %+v", err, restored)
			}
			w.named(t, test.to.Name, test.want)
		})
	}
}

// named looks at every request to a bucket since w.requests was emptied.
func (w *world) named(t *testing.T, bucket, owner string) (kinds map[string]bool) {
	t.Helper()
	kinds = map[string]bool{}
	for _, q := range w.asked(bucket) {
		if q.bucket != bucket {
			continue
		}
		kind := q.method + " " + q.upload
		if q.copied != "" {
			kind += " copied"
		}
		kinds[kind] = true
		if q.owner != owner {
			t.Errorf("%s names the owner %q, want %q", kind, q.owner, owner)
		}
	}
	if len(kinds) == 0 {
		t.Errorf("nothing was asked of %s", bucket)
	}
	return kinds
}

// TestOwnerOnEveryKind: what a restore asks of a bucket in its life, a look, a list, a write, an upload of copies or of
// what streams, its end and its giving up, names the account.
func TestOwnerOnEveryKind(t *testing.T) {
	w := newWorld(t)
	w.put(w.vault.Client(), "data", "", files())
	w.put(w.vault.Client(), "data", "", map[string]string{"larger.bin": strings.Repeat("fedcba9876543210", 17<<16)}) // more than a part
	record, err := w.backup("spliced")
	if err != nil {
		t.Fatal(err)
	}
	w.requests, w.account = nil, ours
	to := func(prefix string) events.To {
		return events.To{Bucket: &events.Bucket{Name: "data-back", Prefix: prefix}}
	}
	restore := func(prefix string) {
		t.Helper()
		if restored, err := w.restoreTo(record, to(prefix)); err != nil || restored.Status != backup.Completed {
			t.Fatalf("%s: %v: %+v", prefix, err, restored)
		}
	}
	restore("copied")
	w.put(w.vault.Client(), "data-back", "copied/again/", map[string]string{"files/small.txt": "small"})
	w.requests = nil
	restore("copied/again")
	w.refuse = func(q request) bool { return q.bucket == "data-back" && q.copied != "" }
	restore("streamed")
	w.refuse = func(q request) bool { return q.bucket == "data-back" && q.method == "POST" && q.upload == "uploadId" }
	_, _ = w.restoreTo(record, to("given-up"))
	kinds := w.named(t, "data-back", ours)
	want := []string{"DELETE uploadId", "GET ", "HEAD ", "POST uploadId", "POST uploads", "PUT ", "PUT uploadId", "PUT uploadId copied"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Errorf("the kinds of requests (-want +got):\n%s", diff)
	}
}

// TestOwnerIsAnAccount: what is no account is refused before anything is asked.
func TestOwnerIsAnAccount(t *testing.T) {
	w := newWorld(t)
	w.put(w.vault.Client(), "data", "", files())
	record, err := w.backup("spliced")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.restoreTo(record, events.To{Bucket: &events.Bucket{Name: "data-back", Owner: "me"}})
	if failure.KindOf(err) != failure.Usage {
		t.Errorf("%s: %v", failure.KindOf(err), err)
	}
}
