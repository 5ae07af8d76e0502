package doctor_test

import (
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/doctor"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

// TestLeftovers: of a lease that nobody holds any more, it is said whether a backup or a restore left it.
func TestLeftovers(t *testing.T) {
	v := vaulttest.New(t).Vault
	c := catalog.New(v)
	expired := time.Now().Add(-time.Hour)
	lease := func(name backup.Source, run string) {
		if _, err := v.PutJSON(t.Context(), vault.Lease(name), catalog.Lease{Run: backup.ID(run), Holder: "h", Expires: expired}, vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	restore := func(target string, status backup.Status, drill bool) backup.RestoreID {
		id := backup.NewRestoreID(target)
		record := catalog.Restore{ID: id, Target: target, Status: status, Drill: drill, From: catalog.Origin{Source: "photos"}}
		if _, _, err := c.BeginRestore(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		lease(catalog.TargetLease(target), string(id)+" h")
		return id
	}
	lease("photos", "20261121T120000Z-aaaaaa")
	into, ended, drill := restore("fresh", backup.InProgress, false), restore("dir:/there", backup.Completed, false), restore("drill", backup.InProgress, true)
	lease(catalog.TargetLease("unknown"), "r00000000000000000000 h")
	found := map[string]string{}
	doctor.Examine(t.Context(), doctor.Patient{Vault: v, Now: time.Now}, func(f doctor.Finding) {
		if f.Check == "leftovers" {
			if f.Level != doctor.Warning {
				t.Errorf("%+v", f)
			}
			found[f.Message] = f.Hint
		}
	})
	for message, hint := range map[string]string{
		"backup 20261121T120000Z-aaaaaa was interrupted and still holds the source":  "`lifeboat backup photos`",
		"restore " + string(into) + " into fresh was interrupted":                    "run the same restore command again",
		"restore " + string(ended) + " into dir:/there has ended and still holds it": "the next restore takes it over",
		"restore " + string(drill) + ", a drill, was interrupted":                    "`lifeboat drill photos`",
		"restore r00000000000000000000 was interrupted and still holds its target":   "run the same restore command again",
	} {
		if got, ok := found[message]; !ok || !strings.Contains(got, hint) {
			t.Errorf("%s: %q in %v", message, got, found)
		}
	}
	if len(found) != 5 {
		t.Errorf("%v", found)
	}
}
