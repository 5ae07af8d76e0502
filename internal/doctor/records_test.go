package doctor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/doctor"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// aboutRecords returns what the doctor says of the records of a vault.
func aboutRecords(t *testing.T, v *vaulttest.Store) []doctor.Finding {
	t.Helper()
	var found []doctor.Finding
	doctor.Examine(t.Context(), doctor.Patient{Vault: v.Vault, Now: time.Now}, func(f doctor.Finding) {
		if f.Check == "records" {
			found = append(found, f)
		}
	})
	return found
}

func numbered(i int) backup.ID { return backup.ID(fmt.Sprintf("20261121T1200%02dZ-aaaaaa", i)) }

func putRecord(t *testing.T, v *vaulttest.Store, id backup.ID, text string) {
	t.Helper()
	if _, err := v.Put(t.Context(), vault.Record("photos", id), []byte(text), vault.Always()); err != nil {
		t.Fatal(err)
	}
}

// TestStrayFile: a file among the records that bears the name of no backup is named as that, and no archive with it.
func TestStrayFile(t *testing.T) {
	for _, name := range []backup.ID{"old copy", numbered(1) + " (1)"} {
		v := vaulttest.New(t)
		if err := catalog.New(v.Vault).Create(t.Context(), catalog.Record{ID: numbered(1), Source: "photos", Status: backup.Completed}); err != nil {
			t.Fatal(err)
		}
		putRecord(t, v, name, "{")
		found := aboutRecords(t, v)
		if len(found) != 2 || found[0].Level != doctor.Warning || found[0].Subject != "photos/"+string(name) || strings.Contains(found[0].Hint, "archives/") || found[1].Level != doctor.OK {
			t.Errorf("%+v", found)
		}
	}
}

// TestManyUnreadable: ten records that cannot be read are named, and the others counted.
func TestManyUnreadable(t *testing.T) {
	v := vaulttest.New(t)
	for i := range 13 {
		putRecord(t, v, numbered(i), "{")
	}
	found := aboutRecords(t, v)
	if len(found) != 11 || found[9].Subject != "photos/"+string(numbered(9)) || found[10].Subject != "" || !strings.Contains(found[10].Message, "3 more records") {
		t.Errorf("%d: %+v", len(found), found)
	}
	for _, f := range found {
		if f.Level != doctor.Trouble || f.Kind != failure.Corrupt || f.Hint == "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestStoreFailsAfterListing: a store that refuses to read is one trouble, and not one of each record.
func TestStoreFailsAfterListing(t *testing.T) {
	v := vaulttest.New(t)
	for i := range 13 {
		putRecord(t, v, numbered(i), "{}")
	}
	v.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "catalog/backups/photos/") {
			r = r.Clone(r.Context())
			r.Header.Del("Authorization")
		}
		return next.RoundTrip(r)
	})
	found := aboutRecords(t, v)
	if len(found) != 1 || found[0].Level != doctor.Trouble || found[0].Kind == failure.Corrupt {
		t.Errorf("%d: %+v", len(found), found)
	}
}
