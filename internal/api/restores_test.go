package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/api"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

const (
	restoreID = backup.RestoreID("r0123456789abcdef0123")
	apiToken  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	bearer    = "Bearer " + apiToken
)

// newAPI is a world whose handler serves the restores of the vault.
func newAPI(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, false)
	var err error
	w.handler, err = api.New(api.Options{
		Links: w.links, Records: w.records, Vault: w.vault, PublicURL: "https://backup.example.org",
		Restores: catalog.New(w.vault), Token: secret.New(apiToken), Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// begin writes the record of a restore that started so many hours after the world's time.
func (w *world) begin(id backup.RestoreID, hours int) catalog.Restore {
	w.t.Helper()
	r, _, err := catalog.New(w.vault).BeginRestore(w.t.Context(), catalog.Restore{
		ID: id, Target: "photos-new", From: catalog.Origin{Source: source, Backup: "20261121T020000Z-abcdef"},
		Status: backup.InProgress, Started: w.now.Add(time.Duration(hours) * time.Hour), Check: "full",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) api(target string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do("GET", target, nil, append([]string{"Authorization", bearer}, header...)...)
}

func decode[T any](t *testing.T, answer *httptest.ResponseRecorder) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(answer.Body.Bytes(), &value); err != nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	return value
}

type listing struct {
	Restores   []catalog.Restore
	More       bool
	Unreadable []struct{ ID, Kind, Message string }
}

func TestShowRestore(t *testing.T) {
	w := newAPI(t)
	w.begin(restoreID, 0)
	want, err := catalog.New(w.vault).UpdateRestore(t.Context(), restoreID, func(r *catalog.Restore) error {
		r.Log(catalog.StepLog{Step: "check", Began: w.now, Took: 3 * time.Second, Items: 67, Bytes: 46_000_000, Message: "every byte"})
		r.Forecast = &app.Forecast{Application: "Zipline", Counts: []app.Count{{What: "files", Backup: 62, Create: 62}}}
		r.Add(app.Finding{Severity: app.Problem, Kind: "missing", Item: "<b>\u202e", Message: "It is missing."})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	answer := w.api("/api/restores/" + string(restoreID))
	if answer.Code != 200 || answer.Header().Get("Content-Type") != "application/json" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
	if diff := cmp.Diff(want, decode[catalog.Restore](t, answer)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if head := w.do("HEAD", "/api/restores/"+string(restoreID), nil, "Authorization", bearer); head.Code != 200 || head.Header().Get("Etag") == "" {
		t.Errorf("HEAD: %d %v", head.Code, head.Header())
	}
}

// TestFollow: a follower hears 304 until something has changed, through a proxy that weakens the tag, too.
func TestFollow(t *testing.T) {
	w := newAPI(t)
	w.begin(restoreID, 0)
	for _, target := range []string{"/api/restores/" + string(restoreID), "/api/restores"} {
		tag := w.api(target).Header().Get("Etag")
		if !strings.HasPrefix(tag, `"`) {
			t.Fatalf("%s: tag %s", target, tag)
		}
		for _, sent := range []string{tag, "W/" + tag, `"other", ` + tag, strings.TrimSuffix(tag, `"`) + `-gzip"`, "*"} {
			if answer := w.api(target, "If-None-Match", sent); answer.Code != 304 || answer.Body.Len() != 0 || answer.Header().Get("Etag") != tag {
				t.Errorf("%s, %s: %d %s", target, sent, answer.Code, answer.Body)
			}
		}
		_, err := catalog.New(w.vault).UpdateRestore(t.Context(), restoreID, func(r *catalog.Restore) error {
			r.Put.Written++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if answer := w.api(target, "If-None-Match", tag); answer.Code != 200 || answer.Header().Get("Etag") == tag {
			t.Errorf("%s: after a change %d", target, answer.Code)
		}
	}
}

func TestListRestores(t *testing.T) {
	w := newAPI(t)
	if answer := w.api("/api/restores"); answer.Code != 200 || strings.TrimSpace(answer.Body.String()) != `{"restores":[],"more":false}` {
		t.Errorf("none: %d %s", answer.Code, answer.Body)
	}
	ids := []backup.RestoreID{}
	for i := range 4 {
		ids = append(ids, w.begin(backup.RestoreID(fmt.Sprintf("r%020d", i)), i).ID)
	}
	for key, text := range map[string]string{"r0000000000000000bad0": "{", "r0000000000000000bad1": `{"format":9}`} {
		if _, err := w.vault.Put(t.Context(), vault.Restore(backup.RestoreID(key)), []byte(text), vault.IfAbsent()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := catalog.New(w.vault).UpdateRestore(t.Context(), ids[3], func(r *catalog.Restore) error {
		r.Log(catalog.StepLog{Step: "check"})
		r.Add(app.Finding{Severity: app.Problem, Message: "long"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"": 4, "?limit=4": 4, "?limit=3": 3, "?limit=1": 1, "?limit=1000": 4} {
		got := decode[listing](t, w.api("/api/restores"+query))
		if len(got.Restores) != want || got.More != (want < 4) || len(got.Unreadable) != 2 {
			t.Errorf("%s: %d restores, more %v, unreadable %v", query, len(got.Restores), got.More, got.Unreadable)
		}
		if newest := got.Restores[0]; newest.ID != ids[3] || newest.Steps != nil || newest.Problems != nil || newest.ProblemsTotal != 1 {
			t.Errorf("%s: the newest is %+v", query, newest)
		}
		if bad := got.Unreadable[0]; bad.ID != "r0000000000000000bad0" || bad.Kind != "corrupt" || bad.Message != "The record is damaged." {
			t.Errorf("%s: unreadable %+v", query, bad)
		}
	}
}

func TestAPIRefuses(t *testing.T) {
	w := newAPI(t)
	w.begin(restoreID, 0)
	if _, err := w.vault.Put(t.Context(), vault.Restore("r0000000000000000bad0"), []byte("{secret"), vault.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	one := "/api/restores/" + string(restoreID)
	lies := "api-token of the state-dir"
	for name, test := range map[string]struct {
		method, target, authorization string
		status                        int
		kind, says                    string
	}{
		"no token":         {"GET", one, "", 401, "denied", lies},
		"wrong token":      {"GET", one, "Bearer " + strings.Repeat("0", 64), 401, "denied", lies},
		"half a token":     {"GET", one, bearer[:40], 401, "denied", lies},
		"token and more":   {"GET", one, bearer + "0", 401, "denied", lies},
		"another scheme":   {"GET", one, "Basic " + apiToken, 401, "denied", lies},
		"no scheme":        {"GET", one, apiToken, 401, "denied", lies},
		"token in address": {"GET", one + "?token=" + apiToken, "", 401, "denied", lies},
		"list":             {"GET", "/api/restores", "", 401, "denied", lies},
		"nothing there":    {"GET", "/api/", "", 401, "denied", lies},
		"nothing":          {"GET", "/api/else", bearer, 404, "not found", "/restores"},
		"nothing below":    {"GET", "/restores/a/b", bearer, 404, "not found", "/restores"},
		"no token, short":  {"GET", "/restores", "", 401, "denied", lies},
		"no token, all":    {"GET", "/backups", "", 401, "denied", lies},
		"no token, start":  {"POST", "/backups", "", 401, "denied", lies},
		"unknown":          {"GET", "/api/restores/r00000000000000000000", bearer, 404, "not found", "lifeboat restores"},
		"no id":            {"GET", "/api/restores/x", bearer, 400, "usage", "ids look like"},
		"dots":             {"GET", "/api/restores/..%2F..%2Fvault", bearer, 400, "usage", "ids look like"},
		"damaged":          {"GET", "/api/restores/r0000000000000000bad0", bearer, 500, "corrupt", "The record is damaged."},
		"limit 0":          {"GET", "/api/restores?limit=0", bearer, 400, "usage", "from 1 to 1000"},
		"limit of words":   {"GET", "/api/restores?limit=all", bearer, 400, "usage", "from 1 to 1000"},
		"method":           {"DELETE", one, bearer, 405, "usage", "read only"},
		"method unknown":   {"POST", one, "", 401, "denied", lies},
	} {
		answer := w.do(test.method, test.target, nil, "Authorization", test.authorization)
		got := decode[struct {
			Title, Detail, Kind, Hint string
			Status                    int
			Type                      string `json:"message_type"`
		}](t, answer)
		if answer.Code != test.status || got.Status != test.status || got.Kind != test.kind || got.Title == "" || got.Type != "error" {
			t.Errorf("%s: %d %+v", name, answer.Code, got)
		}
		if !strings.Contains(got.Detail+" "+got.Hint, test.says) || strings.Contains(answer.Body.String(), apiToken) || strings.Contains(answer.Body.String(), "secret") {
			t.Errorf("%s: %s", name, answer.Body)
		}
		if answer.Header().Get("Content-Type") != "application/problem+json" || (test.status == 401) != (answer.Header().Get("Www-Authenticate") != "") || answer.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, answer.Header())
		}
	}
	if host := w.api(one, "Host", "evil.example"); host.Code != 421 || !strings.Contains(host.Header().Get("Content-Type"), "problem+json") {
		t.Errorf("a foreign host: %d %v", host.Code, host.Header())
	}
	if lower := w.do("GET", one, nil, "Authorization", "bearer "+apiToken); lower.Code != 200 {
		t.Errorf("a scheme in lower case: %d", lower.Code)
	}
	if log := w.log.String(); strings.Contains(log, apiToken) || strings.Contains(log, apiToken[:32]) {
		t.Errorf("the log holds the token:\n%s", log)
	}
}

func TestWithoutAPI(t *testing.T) {
	w := newWorld(t, false)
	if answer := w.api("/api/restores"); answer.Code != 404 {
		t.Errorf("no restores to serve: %d", answer.Code)
	}
	for _, token := range []string{"", "short"} {
		o := api.Options{Restores: catalog.New(w.vault), Token: secret.New(token)}
		if _, err := api.New(o); failure.KindOf(err) != failure.Usage {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestToken(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	var group sync.WaitGroup
	tokens := make([]string, 8)
	for i := range tokens {
		group.Go(func() {
			token, err := api.Token(folder)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = token.Reveal()
		})
	}
	group.Wait()
	for _, token := range tokens {
		if len(token) != 64 || token != tokens[0] {
			t.Errorf("tokens %q", tokens)
		}
	}
	path := filepath.Join(folder, api.TokenFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("it leaves %v", left)
	}
	if other, err := api.Token(t.TempDir()); err != nil || other.Reveal() == tokens[0] {
		t.Errorf("another folder has the same token: %v", err)
	}
	for name, test := range map[string]struct {
		damage func() error
		want   failure.Kind
	}{
		"readable by others": {func() error { return errors.Join(os.WriteFile(path, []byte(apiToken), 0o600), os.Chmod(path, 0o640)) }, failure.Denied},
		"empty":              {func() error { return os.WriteFile(path, nil, 0o600) }, failure.Corrupt},
		"words":              {func() error { return os.WriteFile(path, []byte("hunter2"), 0o600) }, failure.Corrupt},
		"a link":             {func() error { return os.Symlink("/etc/hostname", path) }, failure.Corrupt},
		"a folder":           {func() error { return os.Mkdir(path, 0o700) }, failure.Corrupt},
	} {
		if err := errors.Join(os.RemoveAll(path), test.damage()); err != nil {
			t.Fatal(err)
		}
		if _, err := api.Token(folder); failure.KindOf(err) != test.want || failure.HintOf(err) == "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
