package lambdafn_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/machine"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// TestLockedAndAuthenticated runs a backup through the built functions into a bucket with Object Lock, and restores it:
// not after somebody has replaced the MAC of its manifest, or taken it away.
func TestLockedAndAuthenticated(t *testing.T) {
	s := newStack(t, "LIFEBOAT_IMMUTABILITY=30d governance")
	s.put("data", "a.txt", []byte("alpha"))
	s.put("data", "big.bin", []byte(strings.Repeat("0123456789abcdef", 12<<16)))
	now := time.Now()
	record, outcome := s.backup("photos", now)
	if record.Status != backup.Completed || outcome.Status != machine.Succeeded {
		s.explain()
		t.Fatalf("the backup is %s: %+v, %+v", record.Status, record.Failure, outcome)
	}
	if days := record.LockedUntil.Sub(now).Hours() / 24; days < 30 || days > 34 {
		t.Errorf("it is locked until %s", record.LockedUntil)
	}
	packs := 0
	for key := range s.objects("vault") {
		head, err := s.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("vault"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		is := head.ObjectLockRetainUntilDate != nil && !head.ObjectLockRetainUntilDate.Before(record.LockedUntil)
		top, _, _ := strings.Cut(key, "/")
		if must := slices.Contains([]string{"packs", "archives", "snapshots", "vault.json"}, top); must != is {
			t.Errorf("%s: locked %v, %v", key, is, head.ObjectLockRetainUntilDate)
		}
		if top == "packs" {
			packs++
			_, err := s.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: new("vault"), Key: &key, VersionId: head.VersionId})
			if err == nil {
				t.Errorf("%s could be deleted", key)
			}
		}
	}
	mac := vault.MAC("photos", record.ID)
	if packs == 0 || record.Manifest.MAC != string(mac) || s.services.Asked("TrentService.GenerateMac") == 0 {
		t.Errorf("%d packs, MAC %q", packs, record.Manifest.MAC)
	}
	v := vault.New(s.client, "vault", nil)
	right, _, err := v.Get(t.Context(), mac)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(name string) machine.Outcome {
		return s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", name, events.RestoreInput{Restore: events.Restore{
			From: events.From{Backup: "photos:" + string(record.ID)}, To: events.To{Bucket: &events.Bucket{Name: "restored", Prefix: name}},
			Wishes: app.Wishes{Objects: true, Documents: true}, StartedBy: catalog.Starter{By: "person"},
		}})
	}
	wrong := strings.Replace(string(right), `"mac": "`, `"mac": "AAAA`, 1)
	if _, err := v.Put(t.Context(), mac, []byte(wrong), vault.Always()); err != nil { // a new version: no lock forbids that
		t.Fatal(err)
	}
	if o := restore("replaced"); o.Error != "Lifeboat.Corrupt" || !strings.Contains(o.Cause, "somebody has replaced the manifest or its MAC") {
		t.Errorf("a MAC that is wrong: %+v", o)
	}
	if err := v.Delete(t.Context(), mac); err != nil {
		t.Fatal(err)
	}
	if o := restore("gone"); o.Error != "Lifeboat.Corrupt" || !strings.Contains(o.Cause, "is gone") {
		t.Errorf("a MAC that is gone: %+v", o)
	}
	if _, err := v.Put(t.Context(), mac, right, vault.Always()); err != nil {
		t.Fatal(err)
	}
	if o := restore("right"); o.Status != machine.Succeeded {
		t.Errorf("the right MAC: %+v", o)
	}
	restored := s.objects("restored")
	if len(restored) == 0 || slices.ContainsFunc(keysOf(restored), func(key string) bool { return !strings.HasPrefix(key, "right/") }) {
		t.Errorf("restored %v", keysOf(restored))
	}
	s.explain()
}

func keysOf(m map[string]string) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}
