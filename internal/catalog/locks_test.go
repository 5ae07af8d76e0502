package catalog_test

import (
	"testing"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

func TestLocks(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	pack, merged := vault.Pack("photos", "00112233445566778899aabbccddeeff"), vault.Merge("photos", "ffeeddccbbaa99887766554433221100")
	read := func() catalog.Locks {
		t.Helper()
		l, err := c.Locks(t.Context(), "photos")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	empty := read()
	if empty.Kept() || !empty.Until(pack).IsZero() {
		t.Errorf("%+v", empty)
	}
	if !empty.Set(pack, now.Add(48*time.Hour)) || !empty.Set(merged, now.Add(24*time.Hour)) || empty.Set(vault.Marker, now) || empty.Set(vault.Pack("other", "00"), now) {
		t.Error("something else than what lies in the pool is written down, or that is not")
	}
	if err := c.SaveLocks(t.Context(), empty, now); err != nil {
		t.Fatal(err)
	}
	if err := c.SaveLocks(t.Context(), empty, now); failure.KindOf(err) != failure.Conflict {
		t.Errorf("over a list that was not read: %v", err)
	}
	one := read()
	if !one.Kept() || !one.Until(pack).Equal(now.Add(48*time.Hour)) || !one.Until(merged).Equal(now.Add(24*time.Hour)) {
		t.Errorf("%+v", one)
	}
	if err := c.SaveLocks(t.Context(), one, now.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if two := read(); !two.Until(merged).IsZero() || two.Until(pack).IsZero() {
		t.Errorf("a lock that has ended is kept, or another is not: %+v", two)
	}
	if _, err := v.Put(t.Context(), vault.Locks("photos"), []byte("damaged"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	damaged := read()
	if !damaged.Kept() || !damaged.Until(pack).IsZero() {
		t.Errorf("damaged: %+v", damaged)
	}
	if err := c.SaveLocks(t.Context(), damaged, now); err != nil {
		t.Errorf("over a damaged one: %v", err)
	}
	if _, err := v.Put(t.Context(), vault.Locks("photos"), []byte(`{"lifeboat_locks":2}`), vault.Always()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Locks(t.Context(), "photos"); failure.KindOf(err) != failure.Usage {
		t.Errorf("of a newer lifeboat: %v", err)
	}
}
