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
	if r, err := c.Find(t.Context(), "latest"); r.ID != id("zzzzzz") || err != nil {
		t.Errorf("%s, %v", r.ID, err)
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
