package vault_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

func TestParseLock(t *testing.T) {
	for text, want := range map[string]vault.Lock{
		"30d governance": {Days: 30}, "1d compliance": {Days: 1, Compliance: true}, "99999d governance": {Days: 99999},
	} {
		got, err := vault.ParseLock(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || got.String() != text {
			t.Errorf("%s: %v, %s\n%s", text, err, got, diff)
		}
	}
	for _, text := range []string{"", "30d", "0d governance", "30 governance", "30d forever", "-1d governance", "30d governance "} {
		if _, err := vault.ParseLock(text); failure.KindOf(err) != failure.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSpan: what was locked at one seal is left alone by the seals that follow, as long as it stays locked long enough.
func TestSpan(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 500, time.UTC)
	for days, touched := range map[int]int{1: 25, 30: 9, 365: 1} { // of 30 daily backups, how many lock it anew
		l, n := vault.Lock{Days: days}, 0
		var until time.Time
		for day := range 30 {
			at := now.AddDate(0, 0, day)
			span := l.Span(at)
			if until.Before(span.Least) {
				until, n = span.Until, n+1
			}
			if until.Before(at.AddDate(0, 0, days)) {
				t.Errorf("%d days: at day %d it is locked until %s only", days, day, until)
			}
		}
		if n > touched {
			t.Errorf("%d days: locked %d times by 30 backups", days, n)
		}
	}
}

// locking gives a vault in a bucket of the embedded server that was made with Object Lock.
func locking(t *testing.T) *vaulttest.Store {
	t.Helper()
	s := vaulttest.New(t)
	bucket := strings.ToLower(s.Bucket() + "-locked")
	if _, err := s.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: new(true)}); err != nil {
		t.Fatal(err)
	}
	s.Vault = vault.New(s.Client, bucket, nil)
	return s
}

// TestLock is against the embedded server, which keeps locks of versions and refuses what they forbid.
func TestLock(t *testing.T) {
	s := locking(t)
	key := vault.Pack("photos", strings.Repeat("a", 32))
	if err := s.Create(t.Context(), key, []byte("a pack")); err != nil {
		t.Fatal(err)
	}
	info, err := s.Head(t.Context(), key)
	if err != nil || info.Version == "" || !info.Locked.Until.IsZero() {
		t.Fatalf("%+v, %v", info, err)
	}
	now := time.Now()
	thirty := vault.Lock{Days: 30}
	asked := 0
	s.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.URL.Query().Has("retention") {
			if asked++; r.URL.Query().Get("versionId") != info.Version || r.Header.Get("X-Amz-Checksum-Crc32") == "" {
				t.Errorf("%s with the headers %v", r.URL, r.Header)
			}
		}
		return next.RoundTrip(r)
	})
	first := thirty.Span(now)
	for _, step := range []struct {
		what  string
		lock  vault.Lock
		later int // days
		until time.Time
		asked int
	}{
		{"it has no lock", thirty, 0, first.Until, 1},
		{"again", thirty, 0, first.Until, 1},
		{"two days later", thirty, 2, first.Until, 1},
		{"when the spare time is used up", thirty, 4, thirty.Span(now.AddDate(0, 0, 4)).Until, 2},
		{"never shorter", vault.Lock{Days: 3}, 4, thirty.Span(now.AddDate(0, 0, 4)).Until, 2},
		{"it keeps its mode", vault.Lock{Days: 60, Compliance: true}, 4, vault.Lock{Days: 60}.Span(now.AddDate(0, 0, 4)).Until, 3},
	} {
		until, err := s.Lock(t.Context(), key, step.lock, step.lock.Span(now.AddDate(0, 0, step.later)))
		info, headErr := s.Head(t.Context(), key)
		if err != nil || headErr != nil || !until.Equal(step.until) || !info.Locked.Until.Equal(step.until) || info.Locked.Compliance || asked != step.asked {
			t.Errorf("%s: until %s (%+v), want %s; asked %d times; %v, %v", step.what, until, info.Locked, step.until, asked, err, headErr)
		}
	}
	_, err = s.Client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new(s.Bucket()), Key: new(string(key)), VersionId: &info.Version})
	if err == nil {
		t.Error("the locked version was deleted")
	}
	past := first.Until.AddDate(0, 0, -20)
	_, err = s.Client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
		Bucket: new(s.Bucket()), Key: new(string(key)), VersionId: &info.Version, Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &past},
	})
	if err == nil {
		t.Error("the lock was shortened")
	}
	// A deletion without a version leaves a marker: the store has nothing against it, and whoever knows finds the bytes.
	if err := s.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
	out, err := s.Client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new(s.Bucket()), Key: new(string(key)), VersionId: &info.Version})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(out.Body); err != nil || got.String() != "a pack" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

// TestLockEnded: the mode of a lock that has ended binds nobody.
func TestLockEnded(t *testing.T) {
	for _, compliance := range []bool{false, true} {
		s := locking(t)
		key := vault.Pack("photos", strings.Repeat("a", 32))
		if err := s.Create(t.Context(), key, []byte("a pack")); err != nil {
			t.Fatal(err)
		}
		mode, ended := "COMPLIANCE", true
		if compliance {
			mode = "GOVERNANCE"
		}
		s.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil && r.Method == http.MethodHead && ended {
				answer.Header.Set("X-Amz-Object-Lock-Mode", mode)
				answer.Header.Set("X-Amz-Object-Lock-Retain-Until-Date", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
			}
			return answer, err
		})
		lock := vault.Lock{Days: 1, Compliance: compliance}
		if _, err := s.Lock(t.Context(), key, lock, lock.Span(time.Now())); err != nil {
			t.Fatal(err)
		}
		ended = false
		if info, err := s.Head(t.Context(), key); err != nil || info.Locked.Compliance != compliance || info.Locked.Until.IsZero() {
			t.Errorf("it had %s, and was to get compliance %v: %+v, %v", mode, compliance, info.Locked, err)
		}
	}
}

func TestLockRefused(t *testing.T) {
	s := vaulttest.New(t) // made without Object Lock
	lock := vault.Lock{Days: 1}
	if err := s.Create(t.Context(), "vault.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Vault.Lock(t.Context(), "vault.json", lock, lock.Span(time.Now())); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" {
		t.Errorf("a bucket without Object Lock: %v", err)
	}
	if _, err := s.Vault.Lock(t.Context(), "none.json", lock, lock.Span(time.Now())); failure.KindOf(err) != failure.NotFound {
		t.Errorf("nothing there: %v", err)
	}
	s.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.URL.Query().Has("retention") {
			return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
		}
		return next.RoundTrip(r)
	})
	if _, err := s.Vault.Lock(t.Context(), "vault.json", lock, lock.Span(time.Now())); failure.KindOf(err) != failure.Denied || !strings.Contains(failure.HintOf(err), "s3:PutObjectRetention") {
		t.Errorf("forbidden: %v", err)
	}
}
