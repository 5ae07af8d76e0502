package setup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/estimate"
)

// billed is how many requests of a class S3 counts. What deletes costs nothing.
type billed struct{ Put, Get int64 }

// bill counts a request for the step that works.
func (w *world) bill(r *http.Request) {
	q := r.URL.Query()
	n := w.billed[w.doing]
	switch _, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case r.Method == http.MethodDelete, q.Has("delete"):
	case r.Method == http.MethodHead, r.Method == http.MethodGet && key != "" && !q.Has("uploadId"):
		n.Get++
	default: // what writes, copies and lists
		n.Put++
	}
	if w.billed != nil {
		w.billed[w.doing] = n
	}
}

// call is what a function gets for one step: its time.
func (w *world) call(ctx context.Context, payload json.RawMessage) (context.Context, func()) {
	var about struct {
		Step string `json:"step"`
	}
	_ = json.Unmarshal(payload, &about)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.doing = about.Step
	return context.WithTimeout(ctx, 15*time.Minute)
}

// TestEstimateCounts holds the requests that the estimate expects against those that runs in functions make, by step and
// by class, for a first backup and for a next one.
func TestEstimateCounts(t *testing.T) {
	several := func(n, size int) map[string]string {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("%03d.bin", i)] = strings.Repeat(fmt.Sprintf("%07d\n", i), size/8)
		}
		return files
	}
	large := several(2, 7<<20)
	for name, text := range several(80, 256<<10) {
		large["small/"+name] = text
	}
	for name, files := range map[string]map[string]string{"small": several(3, 1000), "mid-size": large} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.put(w.vault.Client(), "data", "", files)
			d := estimate.Describe(estimate.Count(func(yield func(int64) bool) {
				for _, text := range files {
					if !yield(int64(len(text))) {
						return
					}
				}
			}), estimate.Policy{Splice: 5 << 20, Archive: true, Fast: true})
			for n := range earlier + 1 {
				w.billed = map[string]billed{}
				if record, err := w.backup("spliced"); err != nil || record.Status != backup.Completed {
					t.Fatal(record, err)
				}
				if n == 0 {
					w.expects(t, "first", d)
				}
			}
			d.Reused = true
			w.expects(t, "next", d)
		})
	}
}

// earlier is how many backups there are before a next one, for the estimate.
const earlier = 10

// expects compares by step. Of notify, whose mail is not sent here, it counts what is there without.
func (w *world) expects(t *testing.T, which string, d estimate.Description) {
	t.Helper()
	want := map[string]billed{}
	for _, s := range estimate.Steps(d) {
		want[s.Name] = billed{s.Put, s.Get}
	}
	mail := want["notify"]
	want["notify"] = billed{mail.Put - 3, mail.Get - 2}
	if diff := cmp.Diff(want, w.billed); diff != "" {
		t.Errorf("%s (-want +got):\n%s", which, diff)
	}
}
