package step_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/machine"
	"lifeboat/internal/manifest"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// locking is a world whose bucket was made with Object Lock, on the embedded server. It counts what is locked.
type locking struct {
	*world
	mutex  sync.Mutex
	locked []string                          // keys, one for each request that was let through
	refuse func(key string, locked int) bool // may be nil
	next   http.RoundTripper
	bucket string
	plain  *s3.Client // past RoundTrip
}

func newLocking(t *testing.T) *locking {
	t.Helper()
	store := vaulttest.New(t)
	w := &locking{next: store, bucket: store.Bucket() + "-locked"}
	w.world = &world{t: t, source: newFake(map[string]string{"a.jpg": "alpha", "b.jpg": "beta"}), told: &told{}, clock: time.Now().UTC().Truncate(time.Second)}
	w.plain = connected(store, w.next)
	client := connected(store, w)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &w.bucket, ObjectLockEnabledForBucket: new(true)}); err != nil {
		t.Fatal(err)
	}
	w.faults = &faults{}
	w.vault = vault.New(client, w.bucket, nil)
	w.steps = w.newSteps()
	w.steps.Lock = &vault.Lock{Days: 30}
	if err := w.vault.Initialise(t.Context(), vault.Description{ID: "TESTVAULT12", Created: w.clock, PublicKey: []byte("public")}); err != nil {
		t.Fatal(err)
	}
	return w
}

// RoundTrip implements http.RoundTripper.
func (w *locking) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.URL.Query().Has("retention") {
		key := strings.TrimPrefix(r.URL.Path, "/"+w.bucket+"/")
		w.mutex.Lock()
		refused := w.refuse != nil && w.refuse(key, len(w.locked))
		if !refused {
			w.locked = append(w.locked, key)
		}
		w.mutex.Unlock()
		if refused {
			return vaulttest.Refuse(r, http.StatusTooManyRequests, "Busy") // nothing that the SDK tries again by itself
		}
	}
	answer, err := w.next.RoundTrip(r)
	if key, lease := strings.CutPrefix(r.URL.Path, "/"+w.bucket+"/catalog/leases/"); err == nil && r.Method == http.MethodDelete && lease {
		err = w.forget(r.Context(), "catalog/leases/"+key)
	}
	return answer, err
}

// forget removes all versions of an object that was deleted. To the embedded server a marker of a deletion is something
// that is there: it refuses to create the object again (If-None-Match: *), which S3 does not.
func (w *locking) forget(ctx context.Context, key string) error {
	versions, err := w.plain.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &w.bucket, Prefix: &key})
	if err != nil {
		return err
	}
	var ids []*string
	for _, v := range versions.Versions {
		ids = append(ids, v.VersionId)
	}
	for _, m := range versions.DeleteMarkers {
		ids = append(ids, m.VersionId)
	}
	for _, id := range ids {
		if _, err := w.plain.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &key, VersionId: id}); err != nil {
			return err
		}
	}
	return nil
}

// backUp runs a backup a number of days after the first.
func (w *locking) backUp(days int) catalog.Record {
	w.t.Helper()
	w.locked = nil
	outcome, record, err := w.later(days)
	if err != nil || outcome.Status != machine.Succeeded || record.Status != backup.Completed {
		w.t.Fatalf("%v, %+v, %s %+v", err, outcome, record.Status, record.Failure)
	}
	return record
}

func (w *locking) later(days int) (machine.Outcome, catalog.Record, error) {
	at := w.clock
	w.clock = at.AddDate(0, 0, days)
	defer func() { w.clock = at }()
	return w.run(backup.NewID(w.clock), "")
}

// unlocked returns the keys of what is locked for less than a time.
func (w *locking) unlocked(until time.Time) (keys []string) {
	w.t.Helper()
	for info, err := range w.vault.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		if info, err = w.vault.Head(w.t.Context(), info.Key); err != nil {
			w.t.Fatal(err)
		}
		if info.Locked.Until.Before(until) {
			keys = append(keys, string(info.Key))
		}
	}
	return keys
}

// TestLocked: when a backup is completed everything that it needs is locked for the time that was asked for, also what
// earlier ones brought, and nothing else is.
func TestLocked(t *testing.T) {
	w := newLocking(t)
	first := w.backUp(0)
	thirty := w.clock.AddDate(0, 0, 30)
	if first.LockedUntil.Before(thirty) || first.Archive.LockedUntil.Before(thirty) || first.LockedUntil.After(thirty.AddDate(0, 0, 4)) {
		t.Errorf("locked until %s, the archive until %s", first.LockedUntil, first.Archive.LockedUntil)
	}
	// The run has told somebody since: that made a version of the record, which no lock needs.
	record := string(vault.Record("photos", first.ID))
	if diff := cmp.Diff([]string{record, "catalog/locks/photos.json"}, w.unlocked(thirty)); diff != "" {
		t.Errorf("not locked (-want +got):\n%s", diff)
	}
	if n := len(w.locked); n == 0 || w.locked[n-1] != record {
		t.Errorf("locked: %v; want the record, once it says completed, last", w.locked)
	}
	second := w.backUp(1)
	shared := w.shared(first, second)
	if second.PackedObjects != 0 || len(shared) == 0 || slices.ContainsFunc(w.locked, func(key string) bool { return slices.Contains(shared, key) }) {
		t.Errorf("a day later it has packed %d objects and locked %v, though %v are locked for long enough", second.PackedObjects, w.locked, shared)
	}
	if second.LockedUntil.Before(thirty.AddDate(0, 0, 1)) {
		t.Errorf("a day later it is locked until %s", second.LockedUntil)
	}
	third := w.backUp(20)
	if until := thirty.AddDate(0, 0, 20); third.LockedUntil.Before(until) || len(w.shared(first, third)) == 0 {
		t.Errorf("three weeks later it is locked until %s", third.LockedUntil)
	}
	for _, key := range w.unlocked(thirty.AddDate(0, 0, 20)) {
		if slices.Contains(w.packs(third), key) {
			t.Errorf("the pack %s, which the last backup names, is locked for less", key)
		}
	}
}

// shared returns the keys of the packs that both of two backups name.
func (w *locking) shared(a, b catalog.Record) []string {
	of := w.packs(a)
	return slices.DeleteFunc(w.packs(b), func(key string) bool { return !slices.Contains(of, key) })
}

// packs returns the keys of the packs that a backup names.
func (w *locking) packs(r catalog.Record) (keys []string) {
	w.t.Helper()
	body, _, err := w.vault.Open(w.t.Context(), vault.Manifest(r.Source, r.ID), 0, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer body.Close()
	m, err := manifest.Open(body)
	if err != nil {
		w.t.Fatal(err)
	}
	for id := range m.Packs {
		keys = append(keys, string(vault.Pack(r.Source, id)))
	}
	return keys
}

// TestLockInterrupted fails the n-th lock, for every n (with -short every fifth): the step is tried again and locks what is left, each once; and
// where it fails for good no record says that the backup is complete, unless everything but the record itself is locked.
func TestLockInterrupted(t *testing.T) {
	for call := range vaulttest.Calls(false) {
		n := call - 1
		w := newLocking(t)
		failed := false
		w.refuse = func(_ string, locked int) bool {
			if locked != n || failed {
				return false
			}
			failed = true
			return true
		}
		record := w.backUp(0)
		if !failed {
			if n < 6 {
				t.Errorf("only %d locks", n)
			}
			break
		}
		sorted := slices.Sorted(slices.Values(w.locked))
		if len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
			t.Errorf("lock %d failed; some were locked twice: %v", n, sorted)
		}
		if left := w.unlocked(record.LockedUntil); len(left) != 2 {
			t.Errorf("lock %d failed; not locked: %v", n, left)
		}
		forever := newLocking(t)
		forever.refuse = func(_ string, locked int) bool { return locked >= n }
		outcome, record, err := forever.later(0)
		if err != nil || outcome.Status != machine.Failed {
			t.Fatalf("%v, %+v", err, outcome)
		}
		if last := n == len(sorted)-1; record.Status.Good() != last {
			t.Errorf("nothing could be locked from %d of %d on, and the backup is %s", n, len(sorted), record.Status)
		}
	}
}

// TestArchiveKept: an archive is locked for as long as it is kept, and no longer.
func TestArchiveKept(t *testing.T) {
	w := newLocking(t)
	w.policy.Keep = 7 * 24 * time.Hour
	record := w.backUp(0)
	if got := record.Archive.LockedUntil.Sub(w.clock); got > w.policy.Keep || got < w.policy.Keep-time.Minute {
		t.Errorf("the archive is locked for %s", got)
	}
	if record.LockedUntil.Before(w.clock.AddDate(0, 0, 30)) {
		t.Errorf("the backup is locked until %s", record.LockedUntil)
	}
	w.policy.Keep = time.Minute
	if record = w.backUp(40); !record.Archive.LockedUntil.IsZero() {
		t.Errorf("an archive that goes at once is locked until %s", record.Archive.LockedUntil)
	}
	w.policy = step.Policy{Split: 1 << 20}
	if record = w.backUp(41); record.Archive.LockedUntil.Before(w.clock.AddDate(0, 0, 71)) || !slices.Contains(w.locked, string(vault.VolumeSeal("photos", record.ID, 1))) {
		t.Errorf("volumes are locked until %s: %v", record.Archive.LockedUntil, w.locked)
	}
}

func TestNothingIsLocked(t *testing.T) {
	w := newLocking(t)
	w.steps.Lock = nil
	if record := w.backUp(0); !record.LockedUntil.IsZero() || len(w.locked) != 0 {
		t.Errorf("%s, %v", record.LockedUntil, w.locked)
	}
}

// hmacs is a key for MACs.
type hmacs struct {
	key   string
	calls int
}

func (h *hmacs) Key() string { return h.key }

func (h *hmacs) Make(_ context.Context, message []byte) ([]byte, error) {
	h.calls++
	mac := hmac.New(sha256.New, []byte(h.key))
	mac.Write(message)
	return mac.Sum(nil), nil
}

func (h *hmacs) Verify(ctx context.Context, message, code []byte) (bool, error) {
	want, _ := h.Make(ctx, message)
	return hmac.Equal(want, code), nil
}

// TestMAC: a backup's record names the MAC of its manifest, and one that does not verify is not built upon.
func TestMAC(t *testing.T) {
	for name, damage := range map[string]func(w *world, key vault.Key) error{
		"as it was": func(*world, vault.Key) error { return nil },
		"gone":      func(w *world, key vault.Key) error { return w.vault.Delete(t.Context(), key) },
		"of another key": func(w *world, key vault.Key) error {
			return w.forge(key, func(m *manifest.MAC) { m.Key = "other" })
		},
		"wrong":  func(w *world, key vault.Key) error { return w.forge(key, func(m *manifest.MAC) { m.Code = "AAAA" }) },
		"no MAC": func(w *world, key vault.Key) error { return w.forge(key, func(m *manifest.MAC) { m.Code = "?" }) },
		"another": func(w *world, key vault.Key) error {
			return w.forge(key, func(m *manifest.MAC) { m.Algorithm = "MD5" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]string{"a.jpg": "alpha"})
			w.steps.MAC = &hmacs{key: "ours"}
			_, first, err := w.run("20261121T120000Z-aaaaaa", "")
			key := vault.MAC("photos", first.ID)
			if err != nil || first.Status != backup.Completed || first.Manifest.MAC != string(key) {
				t.Fatalf("%v, %s, MAC %q", err, first.Status, first.Manifest.MAC)
			}
			check := func() error {
				return catalog.New(w.vault).Authentic(t.Context(), w.steps.MAC, first, first.Manifest.SHA256, first.Manifest.Entries)
			}
			if err := check(); err != nil {
				t.Fatal(err)
			}
			if err := damage(w, key); err != nil {
				t.Fatal(err)
			}
			w.clock = w.clock.Add(time.Hour)
			_, second, err := w.run("20261121T130000Z-bbbbbb", "")
			if err != nil || !second.Status.Good() {
				t.Fatalf("%v, %s", err, second.Status)
			}
			if name == "as it was" {
				if second.PackedObjects != 0 || check() != nil {
					t.Errorf("%d objects packed, %v", second.PackedObjects, check())
				}
				return
			}
			kind := failure.KindOf(check())
			if second.PackedObjects != 1 || len(second.Problems) != 1 || second.Problems[0].Kind != "previous" || kind != failure.Corrupt && kind != failure.Invalid {
				t.Errorf("%d objects packed, problems %+v, %v", second.PackedObjects, second.Problems, check())
			}
			if err := catalog.New(w.vault).Authentic(t.Context(), nil, first, "", 0); err != nil {
				t.Errorf("where nobody has the key: %v", err)
			}
		})
	}
}

// forge changes a MAC in the vault.
func (w *world) forge(key vault.Key, change func(*manifest.MAC)) error {
	data, _, err := w.vault.Get(w.t.Context(), key)
	if err != nil {
		return err
	}
	var m manifest.MAC
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	change(&m)
	_, err = w.vault.PutJSON(w.t.Context(), key, m, vault.Always())
	return err
}

// TestMACGoes: what a failed run has made goes with the rest.
func TestMACGoes(t *testing.T) {
	w := newWorld(t, map[string]string{"a.jpg": "alpha"})
	w.steps.MAC = failing{}
	outcome, record, err := w.run("20261121T120000Z-aaaaaa", "")
	if err != nil || outcome.Status != machine.Failed || record.Failure.Kind != failure.Denied.String() {
		t.Errorf("%v, %+v, %+v", err, outcome, record.Failure)
	}
	for key := range w.contents() {
		if strings.HasPrefix(key, "snapshots/") {
			t.Errorf("left behind: %s", key)
		}
	}
}

type failing struct{ *hmacs }

func (failing) Make(context.Context, []byte) ([]byte, error) {
	return nil, failure.New(failure.Denied, "KMS says AccessDeniedException")
}
