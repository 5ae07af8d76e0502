package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/api"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/vault"
)

// newBackups is a world whose handler serves the backups of the vault's own catalog.
func newBackups(t *testing.T, change func(*api.Options)) *world {
	t.Helper()
	w := newWorld(t, false)
	records := catalog.New(w.vault)
	o := api.Options{Links: w.links, Records: records, Vault: w.vault, PublicURL: "https://backup.example.org", Restores: records, Token: secretOf(apiToken)}
	if change != nil {
		change(&o)
	}
	var err error
	if w.handler, err = api.New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

// made writes the record of a backup.
func (w *world) made(source backup.Source, id backup.ID) catalog.Record {
	w.t.Helper()
	r := record("archives/x.zip")
	r.ID, r.Source, r.Name = id, source, "night"
	r.Add(app.Finding{Severity: app.Problem, Kind: "missing", Item: "a", Message: "It is missing."})
	if err := catalog.New(w.vault).Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	r.Format = catalog.Format
	return r
}

type backups struct {
	Backups    []catalog.Record
	More       bool
	Unreadable []struct{ ID, Kind, Message string }
}

func TestListBackups(t *testing.T) {
	w := newBackups(t, nil)
	if answer := w.api("/backups"); answer.Code != 200 || strings.TrimSpace(answer.Body.String()) != `{"backups":[],"more":false}` {
		t.Errorf("none: %d %s", answer.Code, answer.Body)
	}
	var ids []backup.ID
	for n := range 40 { // two sources, in turn
		ids = append(ids, backup.ID(fmt.Sprintf("20261121T02%02d00Z-abcdef", n)))
		w.made([]backup.Source{"photos", "links"}[n%2], ids[n])
	}
	for key, text := range map[vault.Key]string{
		"catalog/backups/photos/20261121T030000Z-abcdef.json": "{T0KEN", "catalog/backups/photos/else.json": "{}",
	} {
		if _, err := w.vault.Put(t.Context(), key, []byte(text), vault.IfAbsent()); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{"": 40, "?limit=41": 40, "?limit=3": 2, "?source=photos": 20, "?source=links&limit=5": 5, "?source=none": 0} {
		answer := w.api("/backups" + query)
		got := decode[backups](t, answer)
		more := strings.Contains(query, "limit=3") || strings.Contains(query, "limit=5")
		if len(got.Backups) != want || got.More != more {
			t.Errorf("%s: %d backups, more %v", query, len(got.Backups), got.More)
		}
		for i, r := range got.Backups {
			if i > 0 && r.ID >= got.Backups[i-1].ID || r.Problems != nil || r.ProblemsTotal != 1 || r.Name != "night" {
				t.Errorf("%s: number %d is %+v", query, i, r)
			}
		}
		damaged := !strings.Contains(query, "links") && !strings.Contains(query, "none")
		if (len(got.Unreadable) == 1) != damaged || damaged && (got.Unreadable[0].Message != "The record is damaged." || got.Unreadable[0].Kind != "corrupt") {
			t.Errorf("%s: unreadable %+v", query, got.Unreadable)
		}
		if strings.Contains(answer.Body.String(), "T0KEN") {
			t.Errorf("%s: %s", query, answer.Body)
		}
	}
	if got := decode[backups](t, w.api("/api/backups")); len(got.Backups) != 40 {
		t.Errorf("below /api: %d", len(got.Backups))
	}
}

func TestShowBackup(t *testing.T) {
	w := newBackups(t, nil)
	want := w.made("links", "20261121T020000Z-bcdefg")
	w.made("photos", "20261121T020000Z-abcdef")
	answer := w.api("/backups/20261121T020000Z-bcdefg")
	if diff := cmp.Diff(want, decode[catalog.Record](t, answer)); answer.Code != 200 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", answer.Code, diff)
	}
	if again := w.api("/backups/20261121T020000Z-bcdefg", "If-None-Match", answer.Header().Get("Etag")); again.Code != 304 {
		t.Errorf("again: %d", again.Code)
	}
	for target, want := range map[string]struct {
		status int
		says   string
	}{
		"/backups/20261121T020000Z-zzzzzz":      {404, "no such backup"},
		"/backups/latest":                       {400, "latest"},
		"/backups/..%2F..%2Fvault":              {400, "vault"},
		"/backups?limit=0":                      {400, "from 1 to 1000"},
		"/backups?source=..%2F":                 {400, "no name for a source"},
		"/backups/20261121T020000Z-bcdefg/more": {404, "nothing at this address"},
	} {
		if got := w.api(target); got.Code != want.status || !strings.Contains(got.Body.String(), want.says) || got.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", target, got.Code, got.Body)
		}
	}
}

// TestWho: behind an authorizer there is no token; what it has not let through is refused, and a host is its business.
func TestWho(t *testing.T) {
	s := &starter{}
	w := newBackups(t, func(o *api.Options) {
		o.Token, o.Starter = secretOf(""), s
		o.Who = func(r *http.Request) string { return r.Header.Get("X-Test-Who") }
	})
	w.made("photos", "20261121T020000Z-abcdef")
	if answer := w.api("/backups"); answer.Code != 401 {
		t.Errorf("a token instead: %d", answer.Code)
	}
	if answer := w.do("GET", "/backups", nil, "X-Test-Who", "anna", "Host", "id.execute-api.eu-central-1.amazonaws.com"); answer.Code != 200 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if answer := w.do("GET", "/l/x", nil, "Host", "id.execute-api.eu-central-1.amazonaws.com"); answer.Code != 421 {
		t.Errorf("an open route under another name: %d", answer.Code)
	}
	answer := w.send("/backups", `{"source":"photos"}`, "X-Test-Who", "anna", "Authorization", "")
	if answer.Code != 202 || s.run.StartedBy != (catalog.Starter{By: "api", Who: "anna"}) {
		t.Errorf("%d %+v", answer.Code, s.run)
	}
}
