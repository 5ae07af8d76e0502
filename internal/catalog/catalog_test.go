package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func id(letters string) backup.ID { return backup.ID("20261121T120000Z-" + letters) }

func record(source backup.Source, letters string, started time.Time, status backup.Status) catalog.Record {
	return catalog.Record{ID: id(letters), Source: source, Kind: "zipline", Status: status, Started: started}
}

func wantKind(t *testing.T, err error, want failure.Kind) {
	t.Helper()
	if err == nil || failure.KindOf(err) != want {
		t.Errorf("got %v (%v), want %v", err, failure.KindOf(err), want)
	}
}

func create(t *testing.T, c *catalog.Catalog, records ...catalog.Record) {
	t.Helper()
	for _, r := range records {
		if err := c.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecord(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	r := record("photos", "aaaaaa", noon, backup.InProgress)
	create(t, c, r, r) // a repeated step
	got, err := c.Update(t.Context(), "photos", r.ID, func(r *catalog.Record) error {
		r.Status = backup.Completed
		return nil
	})
	if err != nil || got.Status != backup.Completed || got.Format != catalog.Format {
		t.Errorf("%+v, %v", got, err)
	}
	stop := errors.New("stop")
	if _, err := c.Update(t.Context(), "photos", r.ID, func(*catalog.Record) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	read, err := c.Record(t.Context(), "photos", r.ID)
	if diff := cmp.Diff(got, read); diff != "" || err != nil {
		t.Error(err, diff)
	}
	_, err = c.Record(t.Context(), "photos", id("zzzzzz"))
	wantKind(t, err, failure.NotFound)
	_, err = c.Update(t.Context(), "photos", id("zzzzzz"), func(*catalog.Record) error { return nil })
	wantKind(t, err, failure.NotFound)
	if err := c.Remove(t.Context(), "photos", r.ID); err != nil {
		t.Error(err)
	}
	_, err = c.Record(t.Context(), "photos", r.ID)
	wantKind(t, err, failure.NotFound)
}

// TestUpdatesAdd: changes of many at the same time are all kept.
func TestUpdatesAdd(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	create(t, c, record("photos", "aaaaaa", noon, backup.InProgress))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := c.Update(t.Context(), "photos", id("aaaaaa"), func(r *catalog.Record) error {
				r.Objects++
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if r, err := c.Record(t.Context(), "photos", id("aaaaaa")); r.Objects != 8 || err != nil {
		t.Errorf("%d of 8, %v", r.Objects, err)
	}
}

// TestUpdateOnce: a change whose answer is lost is not made twice.
func TestUpdateOnce(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	create(t, c, record("photos", "aaaaaa", noon, backup.InProgress))
	v.Intercept(vaulttest.Once(func(r *http.Request) bool { return r.Method == http.MethodPut }, vaulttest.Drop))
	r, err := c.Update(t.Context(), "photos", id("aaaaaa"), func(r *catalog.Record) error {
		r.Objects++
		return nil
	})
	if r.Objects != 1 || err != nil {
		t.Errorf("%d, %v", r.Objects, err)
	}
}

func put(t *testing.T, v *vaulttest.Store, key vault.Key, text string) {
	t.Helper()
	if _, err := v.Put(t.Context(), key, []byte(text), vault.Always()); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedRecords lie among good ones.
func TestDamagedRecords(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	create(t, c, record("photos", "aaaaaa", noon, backup.Completed), record("photos", "zzzzzz", noon.Add(time.Hour), backup.Completed))
	moved := `{"format":1,"id":"20261121T120000Z-aaaaaa","source":"photos"}`
	for letters, text := range map[string]string{"bbbbbb": "{", "cccccc": "", "dddddd": "{}", "eeeeee": moved, "ffffff": `{"format":1,"id":7}`} {
		put(t, v, vault.Record("photos", id(letters)), text)
		_, err := c.Record(t.Context(), "photos", id(letters))
		wantKind(t, err, failure.Corrupt)
	}
	good, bad := 0, 0
	for _, err := range c.All(t.Context(), "photos") {
		if err == nil {
			good++
		} else {
			bad++
			wantKind(t, err, failure.Corrupt)
		}
	}
	if good != 2 || bad != 5 {
		t.Errorf("%d good, %d bad", good, bad)
	}
	if r, err := c.Find(t.Context(), "latest"); r.ID != id("zzzzzz") || err != nil || len(r.Unreadable) != 5 || r.Over()[0] != (catalog.Over{Backup: id("ffffff"), Why: "its record cannot be read"}) {
		t.Errorf("%s, %v: %v", r.ID, err, r.Unreadable)
	}
	b, err := c.Before(t.Context(), "photos", backup.Scope{}, noon.Add(time.Minute))
	if r := b.Good; err != nil || r == nil || r.ID != id("aaaaaa") {
		t.Errorf("%+v, %v", r, err)
	}
	// A record of a later format is not passed over: it may be the latest.
	put(t, v, vault.Record("photos", id("gggggg")), `{"format":2,"id":["of another shape"]}`)
	_, err = c.Record(t.Context(), "photos", id("gggggg"))
	wantKind(t, err, failure.Invalid)
	_, err = c.Find(t.Context(), "latest")
	wantKind(t, err, failure.Invalid)
	_, err = c.Before(t.Context(), "photos", backup.Scope{}, noon)
	wantKind(t, err, failure.Invalid)
}

// damaged writes the record of a backup so that nobody can read it.
func damaged(t *testing.T, v *vaulttest.Store, source backup.Source, id backup.ID) {
	t.Helper()
	put(t, v, vault.Record(source, id), `{"format":1,"id":"`)
}

func at(day int, letters string) backup.ID {
	return backup.NewID(noon.AddDate(0, 0, day))[:17] + backup.ID(letters)
}

// on is a good backup of a day.
func on(day int, letters string, change func(*catalog.Record)) catalog.Record {
	r := catalog.Record{ID: at(day, letters), Source: "photos", Status: backup.Completed, Started: noon.AddDate(0, 0, day)}
	if change != nil {
		change(&r)
	}
	return r
}

// TestUnreadable: a record that cannot be read is told of where "latest" might have meant it, and is never as good as none.
func TestUnreadable(t *testing.T) {
	suspicious := func(r *catalog.Record) { r.Problems = []app.Finding{{Kind: "suspicious"}} }
	scoped := func(r *catalog.Record) { r.Scope.NoMetrics = true }
	partly := func(r *catalog.Record) { r.Scope.Since = noon }
	failed := func(r *catalog.Record) { r.Status = backup.Failed }
	for name, test := range map[string]struct {
		records []catalog.Record
		damaged []backup.ID
		text    string
		want    backup.ID
		told    []backup.ID
		kind    failure.Kind
	}{
		"newer":                {[]catalog.Record{on(1, "aaaaaa", nil)}, []backup.ID{at(2, "bbbbbb")}, "photos:latest", at(1, "aaaaaa"), []backup.ID{at(2, "bbbbbb")}, 0},
		"of another source":    {[]catalog.Record{on(1, "aaaaaa", func(r *catalog.Record) { r.Source = "notes" })}, []backup.ID{at(2, "bbbbbb")}, "latest", at(1, "aaaaaa"), []backup.ID{at(2, "bbbbbb")}, 0},
		"of no concern":        {[]catalog.Record{on(1, "aaaaaa", func(r *catalog.Record) { r.Source = "notes" })}, []backup.ID{at(2, "bbbbbb")}, "notes:latest", at(1, "aaaaaa"), nil, 0},
		"of the same second":   {[]catalog.Record{on(1, "bbbbbb", nil)}, []backup.ID{at(1, "aaaaaa")}, "latest", at(1, "bbbbbb"), []backup.ID{at(1, "aaaaaa")}, 0},
		"older":                {[]catalog.Record{on(2, "aaaaaa", scoped)}, []backup.ID{at(1, "bbbbbb")}, "latest", at(2, "aaaaaa"), nil, 0},
		"several":              {[]catalog.Record{on(1, "aaaaaa", nil), on(3, "cccccc", suspicious)}, []backup.ID{at(2, "bbbbbb"), at(4, "dddddd")}, "latest", at(1, "aaaaaa"), []backup.ID{at(4, "dddddd"), at(2, "bbbbbb")}, 0},
		"older, a second best": {[]catalog.Record{on(2, "aaaaaa", suspicious)}, []backup.ID{at(1, "bbbbbb")}, "latest", at(2, "aaaaaa"), []backup.ID{at(1, "bbbbbb")}, 0},
		"older, a part":        {[]catalog.Record{on(2, "aaaaaa", partly)}, []backup.ID{at(1, "bbbbbb")}, "latest", at(2, "aaaaaa"), []backup.ID{at(1, "bbbbbb")}, 0},
		"the only one":         {nil, []backup.ID{at(1, "aaaaaa")}, "photos:latest", "", nil, failure.Corrupt},
		"beside a failed one":  {[]catalog.Record{on(2, "bbbbbb", failed)}, []backup.ID{at(1, "aaaaaa")}, "latest", "", nil, failure.Corrupt},
		"a name of no backup":  {nil, []backup.ID{"copy of " + at(1, "aaaaaa")}, "latest", "", nil, failure.NotFound},
		"by its id":            {[]catalog.Record{on(1, "aaaaaa", nil)}, []backup.ID{at(2, "bbbbbb")}, string(at(2, "bbbbbb")), at(2, "bbbbbb"), nil, failure.Corrupt},
		"by its beginning":     {[]catalog.Record{on(1, "aaaaaa", nil)}, []backup.ID{at(2, "bbbbbb")}, string(at(2, "b")), "", nil, failure.Corrupt},
		"among beginnings":     {[]catalog.Record{on(1, "aaaaaa", nil)}, []backup.ID{at(1, "bbbbbb")}, string(at(1, "")), "", nil, failure.Usage},
		"another id":           {[]catalog.Record{on(1, "aaaaaa", nil)}, []backup.ID{at(2, "bbbbbb")}, string(at(1, "aaaaaa")), at(1, "aaaaaa"), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t)
			c := catalog.New(v.Vault)
			create(t, c, test.records...)
			for _, id := range test.damaged {
				damaged(t, v, "photos", id)
			}
			found, err := c.Find(t.Context(), test.text)
			var told []backup.ID
			for _, u := range found.Unreadable {
				wantKind(t, u.Err, failure.Corrupt)
				told = append(told, u.ID)
			}
			if diff := cmp.Diff(test.told, told); diff != "" || found.ID != test.want {
				t.Errorf("%s, %s", found.ID, diff)
			}
			if test.kind == 0 && err != nil {
				t.Error(err)
			} else if test.kind != 0 {
				wantKind(t, err, test.kind)
			}
		})
	}
}

// TestLaterFormat: a record of a later format is in the way of nothing but what it may be.
func TestLaterFormat(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	create(t, c, on(1, "aaaaaa", nil))
	put(t, v, vault.Record("photos", at(2, "bbbbbb")), `{"format":2}`)
	if r, err := c.Find(t.Context(), string(at(1, "aaaaaa"))); r.ID != at(1, "aaaaaa") || err != nil {
		t.Error(err)
	}
	for _, text := range []string{"latest", string(at(2, "bbbbbb")), string(at(2, ""))} {
		_, err := c.Find(t.Context(), text)
		wantKind(t, err, failure.Invalid)
	}
}

// TestBeforeUnreadable: what a run is compared with may not be the last one.
func TestBeforeUnreadable(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	before := func(day int) []backup.ID {
		b, err := c.Before(t.Context(), "photos", backup.Scope{}, noon.AddDate(0, 0, day))
		if err != nil {
			t.Error(err)
		}
		return b.Unreadable
	}
	damaged(t, v, "photos", at(2, "bbbbbb"))
	if diff := cmp.Diff([]backup.ID{at(2, "bbbbbb")}, before(9)); diff != "" { // there is no good one
		t.Error(diff)
	}
	create(t, c, on(1, "aaaaaa", nil))
	damaged(t, v, "photos", at(4, "dddddd"))
	if diff := cmp.Diff([]backup.ID{at(2, "bbbbbb")}, before(3)); diff != "" {
		t.Error(diff)
	}
	create(t, c, on(3, "cccccc", nil))
	if diff := cmp.Diff([]backup.ID{at(4, "dddddd")}, before(9)); diff != "" {
		t.Error(diff)
	}
}

// TestBeforeNewScope: an old record that cannot be read is no problem of every scope's first run; a newer one is.
func TestBeforeNewScope(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	damaged(t, v, "photos", at(1, "bbbbbb"))
	create(t, c, on(2, "aaaaaa", nil))
	damaged(t, v, "photos", at(3, "cccccc"))
	damaged(t, v, "photos", "old copy")
	for _, test := range []struct {
		scope             backup.Scope
		unreadable, older []backup.ID
	}{
		{backup.Scope{}, []backup.ID{at(3, "cccccc")}, nil},
		{backup.Scope{NoMetrics: true}, []backup.ID{at(3, "cccccc")}, []backup.ID{at(1, "bbbbbb")}},
	} {
		b, err := c.Before(t.Context(), "photos", test.scope, noon.AddDate(0, 0, 9))
		if diff := cmp.Diff([][]backup.ID{test.unreadable, test.older}, [][]backup.ID{b.Unreadable, b.Older}); diff != "" || err != nil {
			t.Errorf("%s, %v: %s", test.scope, err, diff)
		}
	}
}

// TestRemovedMeanwhile: a record that goes between the listing and its reading is no error.
func TestRemovedMeanwhile(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	create(t, c, record("photos", "aaaaaa", noon, backup.Completed), record("photos", "bbbbbb", noon, backup.Completed))
	first := func(r *http.Request) bool { return r.URL.Query().Has("list-type") }
	v.Intercept(vaulttest.Once(first, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err := c.Remove(context.WithoutCancel(t.Context()), "photos", id("aaaaaa")); err != nil {
			t.Error(err)
		}
		return answer, err
	}))
	if r, err := c.Find(t.Context(), "latest"); r.ID != id("bbbbbb") || err != nil {
		t.Errorf("%s, %v", r.ID, err)
	}
}

func TestFind(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	later := catalog.Record{ID: "20261122T120000Z-aaaaaa", Source: "notes", Status: backup.Failed, Started: noon.Add(24 * time.Hour)}
	create(t, c,
		record("photos", "aaaaaa", noon, backup.Completed), record("photos", "bbbbbb", noon, backup.Partial),
		record("notes", "cccccc", noon.Add(time.Second), backup.Completed), later,
	)
	for text, want := range map[string]backup.ID{
		"latest": id("cccccc"), "photos:latest": id("bbbbbb"), "notes:latest": id("cccccc"), string(id("aaaaaa")): id("aaaaaa"),
		"20261122": later.ID, "notes:2026112": "", "photos:20261121T120000Z-b": id("bbbbbb"),
	} {
		r, err := c.Find(t.Context(), text)
		if r.ID != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v", text, r.ID, err)
		}
	}
	for text, want := range map[string]failure.Kind{
		"2026": failure.Usage, "": failure.NotFound, "photos:": failure.NotFound, "none:latest": failure.NotFound, "UPPER:latest": failure.Usage, "../x:latest": failure.Usage,
	} {
		_, err := c.Find(t.Context(), text)
		wantKind(t, err, want)
		if failure.HintOf(err) == "" {
			t.Errorf("%q: there is no hint", text)
		}
	}
}

// TestNoBackup: what names no backup is told from other things that are not there, and a source from an id.
func TestNoBackup(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	create(t, c, record("photos", "aaaaaa", noon, backup.Completed))
	for text, want := range map[string]string{
		"photos": "photos is a source: write photos:latest", "notes:latest": "`lifeboat list`", "20": "",
	} {
		_, err := c.Find(t.Context(), text)
		if none, ok := errors.AsType[catalog.NoBackup](err); ok != (want != "") || ok && none.Text != text || !strings.Contains(failure.HintOf(err), want) {
			t.Errorf("%s: %v (%s)", text, err, failure.HintOf(err))
		}
	}
	_, err := c.Find(t.Context(), "photos:notes:latest")
	wantKind(t, err, failure.Usage)
}

// TestBusy says whose restore works on a target, as far as that is known.
func TestBusy(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	said := func(want string) {
		t.Helper()
		err := c.Busy(t.Context(), "there")
		if wantKind(t, err, failure.Conflict); err.Error() != want || failure.HintOf(err) == "" {
			t.Errorf("%v (%s)", err, failure.HintOf(err))
		}
	}
	said("another restore works on this target")
	one := backup.NewRestoreID("one")
	if _, err := c.Acquire(t.Context(), catalog.TargetLease("there"), catalog.Lease{Run: backup.ID(string(one) + " desk pid 7"), Holder: "desk pid 7 " + string(one) + "-1795350243895"}, noon, never); err != nil {
		t.Fatal(err)
	}
	said("another restore works on this target: " + string(one) + " (desk pid 7)")
	r := catalog.Restore{ID: one, Target: "there", Name: "same", Status: backup.Completed, Started: noon, StartedBy: catalog.Starter{Who: "ada@desk"}}
	if _, _, err := c.BeginRestore(t.Context(), r); err != nil { // an earlier attempt's
		t.Fatal(err)
	}
	said("another restore works on this target: " + string(one) + " (desk pid 7)")
	r.Status = backup.InProgress
	if _, _, err := c.BeginRestore(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	said("another restore works on this target: " + string(one) + ` of ada@desk since 2026-11-21T12:00:00Z, for the name "same" (desk pid 7)`)
}

// TestFree: a name is free for who holds it, and for nobody else.
func TestFree(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	one, other := backup.NewRestoreID("one"), backup.NewRestoreID("other")
	if err := c.Free(t.Context(), "there", "same", one); err != nil {
		t.Error(err)
	}
	if err := c.Reserve(t.Context(), catalog.Reservation{Target: "there", Name: "same", Restore: one, Who: "ada@desk", At: noon}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Free(t.Context(), "there", "same", one); err != nil {
			t.Error(err)
		}
		err := c.Free(t.Context(), "there", "same", other)
		if wantKind(t, err, failure.Conflict); err == nil || err.Error() != c.Reserve(t.Context(), catalog.Reservation{Target: "there", Name: "same", Restore: other}).Error() {
			t.Error(err)
		}
		if err := c.TakeName(t.Context(), "there", "same", one); err != nil {
			t.Error(err)
		}
	}
}

// TestFindRestore finds restores by the beginnings of their ids, as backups are.
func TestFindRestore(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	one, other := backup.NewRestoreID("one"), backup.NewRestoreID("other")
	for _, id := range []backup.RestoreID{one, other} {
		if _, _, err := c.BeginRestore(t.Context(), catalog.Restore{ID: id, Target: "there"}); err != nil {
			t.Fatal(err)
		}
	}
	unique := 1
	for one[:unique] == other[:unique] {
		unique++
	}
	for _, text := range []backup.RestoreID{one, one[:unique], one[:len(one)-1]} {
		if r, err := c.FindRestore(t.Context(), string(text)); r.ID != one || err != nil {
			t.Errorf("%s: %s, %v", text, r.ID, err)
		}
	}
	for text, want := range map[string]failure.Kind{
		"r": failure.Usage, "": failure.Usage, "latest": failure.Usage, "../r": failure.Usage, string(one) + "0": failure.Usage, "r00000000000000000000": failure.NotFound,
	} {
		_, err := c.FindRestore(t.Context(), text)
		if wantKind(t, err, want); failure.HintOf(err) == "" {
			t.Errorf("%q: there is no hint", text)
		}
	}
	l := catalog.Lease{Run: backup.ID(string(one) + " a host pid 7")}
	if l.Restore() != one || !catalog.OfTarget(catalog.TargetLease("there")) || catalog.OfTarget("target") {
		t.Errorf("%s", l.Restore())
	}
}

func TestBefore(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	scoped := record("photos", "ffffff", noon.Add(3*time.Second), backup.Completed)
	scoped.Scope.NoMetrics = true
	// Ids of one second do not tell the order: aaaaaa began after bbbbbb.
	create(t, c,
		record("photos", "bbbbbb", noon, backup.Completed), record("photos", "aaaaaa", noon.Add(time.Millisecond), backup.Partial),
		record("photos", "cccccc", noon.Add(time.Second), backup.Failed), record("photos", "dddddd", noon.Add(2*time.Second), backup.InProgress),
		record("photos", "eeeeee", noon.Add(2*time.Second), backup.Deleting), scoped, record("other", "gggggg", noon.Add(time.Second), backup.Completed),
	)
	for _, test := range []struct {
		before time.Duration
		scope  backup.Scope
		want   backup.ID
	}{
		{time.Hour, backup.Scope{}, id("aaaaaa")},
		{time.Millisecond, backup.Scope{}, id("bbbbbb")},
		{0, backup.Scope{}, ""},
		{time.Hour, backup.Scope{NoMetrics: true}, id("ffffff")},
	} {
		b, err := c.Before(t.Context(), "photos", test.scope, noon.Add(test.before))
		r := b.Good
		if r != nil && (len(b.Each) == 0 || len(b.Each) > 2 || test.before == time.Hour && b.Each[0].ID != id("ffffff")) {
			t.Errorf("before %v: of each scope %+v", test.before, b.Each)
		}
		if ended := map[time.Duration]backup.Status{time.Hour: backup.Failed, time.Millisecond: backup.Completed}[test.before]; test.scope == (backup.Scope{}) && b.Ended != ended {
			t.Errorf("before %v: the last run ended %q", test.before, b.Ended)
		}
		if err != nil || (r == nil) != (test.want == "") || r != nil && r.ID != test.want {
			t.Errorf("before %v: %+v, %v, want %s", test.before, r, err, test.want)
		}
	}
}

func TestAdd(t *testing.T) {
	var r catalog.Record
	for range catalog.MaxFindings + 5 {
		r.Add(app.Finding{Severity: app.Problem})
	}
	r.Add(app.Finding{Severity: app.Note})
	if len(r.Problems) != catalog.MaxFindings || r.ProblemsTotal != catalog.MaxFindings+5 || len(r.Notes) != 1 || r.NotesTotal != 1 {
		t.Errorf("%d of %d, %d of %d", len(r.Problems), r.ProblemsTotal, len(r.Notes), r.NotesTotal)
	}
}

func never(catalog.Lease) bool { return false }

// contend has 16 runs acquire the lease of a source at the same time and returns who got it, and whom they replaced.
func contend(t *testing.T, c *catalog.Catalog, now time.Time, stale func(catalog.Lease) bool) (winners, lost []backup.ID) {
	t.Helper()
	var group sync.WaitGroup
	var mutex sync.Mutex
	for i := range 16 {
		group.Go(func() {
			run := id(fmt.Sprintf("run%03d", i))
			dead, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: run, Holder: "test"}, now, stale)
			mutex.Lock()
			defer mutex.Unlock()
			var held catalog.Held
			switch {
			case err == nil:
				winners = append(winners, run)
				if dead != "" {
					lost = append(lost, dead)
				}
			case !errors.As(err, &held):
				t.Error(err)
			}
		})
	}
	group.Wait()
	return winners, lost
}

func TestOneWinner(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	winners, lost := contend(t, c, noon, never)
	if len(winners) != 1 || len(lost) != 0 {
		t.Fatalf("winners %v, lost %v", winners, lost)
	}
	first := winners[0]
	if winners, _ := contend(t, c, noon.Add(catalog.LeaseTime-time.Second), never); len(winners) != 1 || winners[0] != first {
		t.Errorf("while it is held: %v", winners) // the holder renewed it
	}
	expired := noon.Add(3 * catalog.LeaseTime)
	if _, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("expire")}, expired, never); err != nil {
		t.Fatal(err)
	}
	winners, lost = contend(t, c, expired.Add(catalog.LeaseTime+1), never)
	if diff := cmp.Diff([]backup.ID{id("expire")}, lost); len(winners) != 1 || diff != "" {
		t.Errorf("expired: winners %v, %s", winners, diff)
	}
	isDead := func(l catalog.Lease) bool { return l.Run == winners[0] }
	again, lost := contend(t, c, expired.Add(catalog.LeaseTime+2), isDead)
	if len(again) > 2 || len(lost) > 1 || len(lost) == 1 && lost[0] != winners[0] {
		t.Errorf("stale: winners %v, lost %v", again, lost)
	}
}

// TestRenewals: the steps of one run renew in parallel, and all succeed.
func TestRenewals(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	lease := catalog.Lease{Run: id("aaaaaa"), Holder: "host pid 1"}
	for round := range 3 {
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if lost, err := c.Acquire(t.Context(), "photos", lease, noon.Add(time.Duration(round)*catalog.LeaseTime/2), nil); err != nil || lost != "" {
					t.Errorf("lost %q, %v", lost, err)
				}
			})
		}
		group.Wait()
	}
	resumed := lease
	resumed.Holder = "host pid 2" // the same run in another process
	if lost, err := c.Acquire(t.Context(), "photos", resumed, noon.Add(catalog.LeaseTime), never); err != nil || lost != "" {
		t.Errorf("lost %q, %v", lost, err)
	}
	_, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("bbbbbb")}, noon.Add(catalog.LeaseTime), nil)
	var held catalog.Held
	if !errors.As(err, &held) || held.Lease.Run != lease.Run || held.Lease.Holder != resumed.Holder {
		t.Errorf("%v", err)
	}
}

func TestRelease(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	if err := c.Release(t.Context(), "photos", id("aaaaaa")); err != nil {
		t.Error(err)
	}
	if _, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("aaaaaa")}, noon, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context(), "photos", id("bbbbbb")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"catalog/leases/photos.json"}, v.Keys(t)); diff != "" {
		t.Errorf("another run gave it back: %s", diff)
	}
	if err := c.Release(t.Context(), "photos", id("aaaaaa")); err != nil {
		t.Error(err)
	}
	if keys := v.Keys(t); len(keys) > 0 {
		t.Errorf("left: %v", keys)
	}
}

// TestReleaseOfTakenLease: between the look and the deletion another run takes the expired lease over.
func TestReleaseOfTakenLease(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	if _, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("aaaaaa")}, noon, nil); err != nil {
		t.Fatal(err)
	}
	isDelete := func(r *http.Request) bool { return r.Method == http.MethodDelete }
	v.Intercept(vaulttest.Once(isDelete, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		ctx := context.WithoutCancel(t.Context())
		if _, err := c.Acquire(ctx, "photos", catalog.Lease{Run: id("bbbbbb")}, noon.Add(catalog.LeaseTime), nil); err != nil {
			t.Error(err)
		}
		return next.RoundTrip(r)
	}))
	if err := c.Release(t.Context(), "photos", id("aaaaaa")); err != nil {
		t.Error(err)
	}
	_, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("cccccc")}, noon.Add(catalog.LeaseTime), nil)
	var held catalog.Held
	if !errors.As(err, &held) || held.Lease.Run != id("bbbbbb") {
		t.Errorf("the lease of the second run is gone: %v", err)
	}
}

// TestLostAnswerOfTakeover: the run that was replaced is still told when the first answer was lost.
func TestLostAnswerOfTakeover(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	if _, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("aaaaaa")}, noon, nil); err != nil {
		t.Fatal(err)
	}
	v.Intercept(vaulttest.Once(func(r *http.Request) bool { return r.Method == http.MethodPut }, vaulttest.Drop))
	lost, err := c.Acquire(t.Context(), "photos", catalog.Lease{Run: id("bbbbbb")}, noon.Add(catalog.LeaseTime), nil)
	if lost != id("aaaaaa") || err != nil {
		t.Errorf("lost %q, %v", lost, err)
	}
}

func TestDamagedLease(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	for _, text := range []string{"", "{", `{"run":"20261121T120000Z-zzzzzz","expires":"2999-01-01T00:00:00Z","holder":7}`} {
		put(t, v, vault.Lease("photos"), text)
		winners, lost := contend(t, c, noon, never)
		if len(winners) != 1 || len(lost) > 0 {
			t.Errorf("%q: winners %v, lost %v", text, winners, lost)
		}
	}
}

// TestPassedOver: what is newer than the latest and does not count is named, newest first.
func TestPassedOver(t *testing.T) {
	c := catalog.New(vaulttest.New(t).Vault)
	damaged, suspicious := record("photos", "dddddd", noon.Add(2*time.Hour), backup.Completed), record("photos", "eeeeee", noon.Add(3*time.Hour), backup.Partial)
	damaged.Damage = "1 problem found"
	suspicious.Add(app.Finding{Severity: app.Problem, Kind: "suspicious"})
	scoped, older := record("photos", "ffffff", noon.Add(4*time.Hour), backup.Completed), record("photos", "cccccc", noon, backup.Completed)
	scoped.Scope.Since = noon
	older.Damage = "old"
	elsewhere := record("notes", "gggggg", noon.Add(5*time.Hour), backup.Completed)
	elsewhere.Damage = "another source's"
	create(t, c, older, record("photos", "hhhhhh", noon.Add(time.Hour), backup.Completed), damaged, suspicious, scoped, elsewhere)
	for _, text := range []string{"latest", "photos:latest"} {
		found, err := c.Find(t.Context(), text)
		if err != nil || found.ID != id("hhhhhh") || len(found.Passed) != 2 || found.Passed[0].ID != suspicious.ID || found.Passed[1].ID != damaged.ID {
			t.Errorf("%s: %s, %d passed over, %v", text, found.ID, len(found.Passed), err)
		}
	}
	if found, err := c.Find(t.Context(), "notes:latest"); found.ID != elsewhere.ID || len(found.Passed) != 0 || err != nil {
		t.Errorf("%s, %v, %v", found.ID, found.Passed, err)
	}
}
