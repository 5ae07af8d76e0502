package replay_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/fetch"
	"lifeboat/internal/machine"
	"lifeboat/internal/netguard"
	"lifeboat/internal/replay"
)

const password = "hunter2-hunter2"

// shop serves one file a query, and counts what was asked for.
type shop struct {
	*httptest.Server
	mutex sync.Mutex
	files map[string][]byte // by the query's "file"
	gets  int
}

func (w *world) shop(files map[string][]byte) *shop {
	w.Helper()
	s := &shop{files: files}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		data, ok := s.files[r.FormValue("file")]
		s.gets++
		s.mutex.Unlock()
		if !ok {
			http.Error(out, "no such file", http.StatusNotFound)
			return
		}
		out.Header().Set("ETag", fmt.Sprintf(`"%d-%x"`, len(data), len(r.FormValue("file"))))
		http.ServeContent(out, r, "a.zip", time.Time{}, bytes.NewReader(data))
	}))
	w.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	host, err := netguard.ParseAllowed(s.URL)
	if err != nil {
		w.Fatal(err)
	}
	w.limits = func(steps *replay.Steps) {
		steps.Fetch = fetch.Options{Guard: netguard.New(netguard.Rules{Allow: []netguard.Allowed{host}, Roots: roots}), Now: w.now}
	}
	return s
}

func (s *shop) url(file string) events.From {
	return events.From{URL: s.URL + "/down/load.zip?file=" + file + "&signature=" + password}
}

// incoming fails the test unless what was fetched is there, or isn't.
func (w *world) incoming(want bool) {
	w.Helper()
	got := slices.ContainsFunc(w.Keys(w), func(key string) bool { return strings.HasPrefix(key, "incoming/") })
	if got != want {
		w.Errorf("what was fetched is there: %v", got)
	}
}

func TestFromURL(t *testing.T) {
	w := newWorld(t, files())
	_, data := w.archive()
	s := w.shop(map[string][]byte{"one": data})
	r := w.toApp()
	r.From = s.url("one")
	w.app.fail = func(call string) error {
		if call == "Replay" {
			return failure.New(failure.Exhausted, "full")
		}
		return nil
	}
	w.failed(w.run(r), failure.Exhausted)
	w.incoming(true) // another attempt goes on with it
	gets := s.gets
	w.app.fail = nil
	got := w.completed(w.run(r))
	if s.gets != gets || got.Attempt != 2 {
		t.Errorf("it was fetched again: %+v", got)
	}
	w.incoming(false)
	w.holds(files())
	if got.From.URL != s.URL+"/down/load.zip" || got.From.Backup != firstRun || got.Steps[0].Step != "fetch" {
		t.Errorf("%+v %+v", got.From, got.Steps)
	}
	dry := to(r, events.To{Target: "other"})
	dry.DryRun = true
	w.completed(w.run(dry))
	w.incoming(false)
	folder := filepath.Join(t.TempDir(), "to")
	s.files["one"] = foreignZIP(t, files())
	r = to(r, events.To{Folder: folder})
	w.failed(w.run(r), failure.Denied)
	r.Trust = true
	w.completed(w.run(r))
	if diff := cmp.Diff(files(), tree(t, folder)); diff != "" {
		t.Error(diff)
	}
	r.From = s.url("none")
	e := w.run(r)
	w.failed(e, failure.NotFound)
	r.From.URL = "https://10.0.0.1/a.zip?signature=" + password
	if e := w.run(r); e.kind != failure.Denied {
		t.Error(e)
	}
	w.secret(e)
}

// secret fails the test where what follows the "?" of an address is anywhere in the vault, in a log or an error.
func (w *world) secret(e ended) {
	w.Helper()
	for key, text := range contents(w, w.Vault) {
		if strings.Contains(text, password) {
			w.Errorf("%s holds the secret of the address", key)
		}
	}
	if strings.Contains(w.logs.String(), password) || strings.Contains(e.message+e.hint, password) {
		w.Errorf("a log or an error holds the secret of the address: %s", e)
	}
	if w.logs.Len() == 0 {
		w.Error("nothing was logged")
	}
}

// TestAnotherQuery asks the same path for another file: what an earlier attempt fetched is not taken for it, and neither
// is what it remembers.
func TestAnotherQuery(t *testing.T) {
	w := newWorld(t, files())
	_, monday := w.archive()
	evening := files()
	evening["a.txt"] = "ALPHA"
	other := newWorld(t, evening)
	_, tuesday := other.archive()
	s := w.shop(map[string][]byte{"monday": monday, "tuesday": tuesday})
	r := w.toApp()
	r.From = s.url("monday")
	w.app.fail = func(call string) error {
		if call == "Replay done" {
			return failure.New(failure.Denied, "not today")
		}
		return nil
	}
	w.failed(w.run(r), failure.Denied)
	w.incoming(true)
	w.app.fail, w.app.folder = nil, t.TempDir()
	clear(w.app.rows)
	r.From = s.url("tuesday")
	w.completed(w.run(r))
	w.holds(evening)
}

// TestDamagedURL forgets what was damaged: the next attempt fetches it again.
func TestDamagedURL(t *testing.T) {
	w := newWorld(t, files())
	_, data := w.archive()
	bad := bytes.Clone(data)
	bad[len(bad)/3] ^= 1
	s := w.shop(map[string][]byte{"one": bad})
	r := w.toApp()
	r.From, r.Trust = s.url("one"), true
	e := w.run(r)
	w.failed(e, failure.Corrupt)
	w.untouched("damaged")
	w.incoming(false)
	s.mutex.Lock()
	s.files["one"] = data
	s.mutex.Unlock()
	w.completed(w.run(r))
	w.holds(files())
}

// TestClosedAndNotHeard does the last steps twice: the answer of the first call was lost.
func TestClosedAndNotHeard(t *testing.T) {
	w := newWorld(t, files())
	_, data := w.archive()
	s := w.shop(map[string][]byte{"one": data})
	for _, dry := range []bool{true, false} {
		r := named(w.toApp(), "spring")
		r.From, r.DryRun = s.url("one"), dry
		last := map[bool]string{true: "check", false: "confirm"}[dry]
		steps := w.process(w.holder)
		engine, lost := w.engine(steps), false
		inner := engine.Invoke
		engine.Invoke = twice(inner, last, &lost)
		r, err := steps.Prepare(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		input, _ := json.Marshal(events.RestoreInput{Restore: r})
		outcome, err := engine.Execute(t.Context(), w.machine(), machine.Execution{Name: "twice", Input: input})
		if err != nil || outcome.Status != machine.Succeeded || !lost {
			t.Fatalf("%+v, %v, lost %v", outcome, err, lost)
		}
		record, err := catalog.New(w.Vault).Restore(t.Context(), r.ID)
		if err != nil || record.Status != "completed" || record.Attempt != 1 {
			t.Errorf("%+v, %v", record, err)
		}
		w.leftovers()
		w.incoming(false)
	}
	w.holds(files())
}

// twice does a step, loses its answer, and does it again.
func twice(invoke machine.Invoker, step string, lost *bool) machine.Invoker {
	return func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
		var request events.RestoreRequest
		if err := json.Unmarshal(payload, &request); err != nil {
			return nil, err
		}
		if request.Step == step && !*lost {
			*lost = true
			if answer, err := invoke(ctx, function, payload); err != nil {
				return answer, err
			}
		}
		return invoke(ctx, function, payload)
	}
}
