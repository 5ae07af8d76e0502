package retention_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/retention"
	"lifeboat/internal/vault"
)

// TestIncoming: what was fetched goes a week after the last attempt of its restore, not before.
func TestIncoming(t *testing.T) {
	t.Parallel()
	v := vaulttest.New(t)
	ctx := t.Context()
	gone, tried := backup.NewRestoreID("a"), backup.NewRestoreID("b")
	for _, id := range []backup.RestoreID{gone, tried} {
		if _, err := v.Put(ctx, vault.Incoming(id), []byte("PK"), vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().Add(8 * 24 * time.Hour)
	record := catalog.Restore{ID: tried, Status: backup.Failed, Started: now.Add(-time.Hour)}
	if _, _, err := catalog.New(v.Vault).BeginRestore(ctx, record); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		now   time.Time
		dry   bool
		files int
	}{{time.Now(), false, 0}, {now, true, 1}, {now, false, 1}, {now, false, 0}, {now.Add(retention.KeepFetched), false, 1}} {
		files, _, err := retention.Incoming(ctx, v.Vault, step.now, step.dry)
		if err != nil || files != step.files {
			t.Errorf("%+v: %d, %v", step, files, err)
		}
	}
	if diff := cmp.Diff([]string{string(vault.Restore(tried))}, v.Keys(t)); diff != "" {
		t.Error(diff)
	}
}
