package replay_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"testing"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/replay"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// hashed authenticates with a key in memory.
type hashed struct{}

func (hashed) Key() string { return "key" }

func (hashed) Make(_ context.Context, message []byte) ([]byte, error) {
	h := hmac.New(sha256.New, []byte("secret"))
	h.Write(message)
	return h.Sum(nil), nil
}

func (h hashed) Verify(ctx context.Context, message, code []byte) (bool, error) {
	want, err := h.Make(ctx, message)
	return hmac.Equal(want, code), err
}

// authenticated gives the first backup a MAC, which the restores of the world check.
func (w *world) authenticated() {
	w.Helper()
	record := w.record()
	mac, err := manifest.Authenticate(w.Context(), hashed{}, manifest.Sealed{Source: "photos", Backup: firstRun, SHA256: record.Manifest.SHA256, Entries: record.Manifest.Entries})
	if err == nil {
		_, err = w.Put(w.Context(), vault.MAC("photos", firstRun), mac, vault.Always())
	}
	if err == nil {
		_, err = catalog.New(w.Vault).Update(w.Context(), "photos", firstRun, func(r *catalog.Record) error {
			r.Manifest.MAC = string(vault.MAC("photos", firstRun))
			return nil
		})
	}
	if err != nil {
		w.Fatal(err)
	}
	w.limits = func(s *replay.Steps) { s.MAC = hashed{} }
}

// TestOtherManifest puts what was signed with our key in the place of a backup, under its id and source, but is not what
// its record names: as an archive, as volumes, and as packs with their manifest.
func TestOtherManifest(t *testing.T) {
	forged := bulky()
	forged["a.txt"] = "FORGED"
	split := step.Policy{Split: 400 << 10}
	for _, c := range []struct {
		name    string
		policy  []step.Policy
		damages func(w *world)
		keys    []string // beginnings of what the other backup takes the place of
		kind    failure.Kind
	}{
		{"archive, a pack damaged", nil, func(w *world) { w.damageObject(t, "large.bin", 100) }, []string{"archives/"}, failure.Corrupt},
		{"archive, no manifest", nil, func(w *world) { w.lose(vault.Seal("photos", firstRun)) }, []string{"archives/"}, failure.NotFound},
		{"volumes, a pack damaged", []step.Policy{split}, func(w *world) { w.damageObject(t, "large.bin", 100) }, []string{"archives/"}, failure.Corrupt},
		{"volumes, no manifest", []step.Policy{split}, func(w *world) { w.lose(vault.Seal("photos", firstRun)) }, []string{"archives/"}, failure.NotFound},
		{"all", nil, func(*world) {}, []string{"archives/", "packs/", "snapshots/"}, failure.Corrupt},
	} {
		for _, mac := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				from, w := newWorld(t, forged, c.policy...), newWorld(t, bulky(), c.policy...)
				if mac {
					w.authenticated()
				}
				c.damages(w)
				for _, key := range append(from.Keys(t), w.Keys(t)...) {
					for _, begin := range c.keys {
						if strings.HasPrefix(key, begin) && !strings.HasSuffix(key, "mac.json") {
							w.takeFrom(from, vault.Key(key))
						}
					}
				}
				if c.policy != nil {
					w.sizesOf(from)
				}
				w.failed(w.run(w.toApp()), c.kind)
			})
		}
	}
}

// lose removes an object of the vault.
func (w *world) lose(key vault.Key) {
	w.Helper()
	if err := w.Delete(w.Context(), key); err != nil {
		w.Fatal(err)
	}
}

// takeFrom takes over an object of another vault, if that has it.
func (w *world) takeFrom(from *world, key vault.Key) {
	w.Helper()
	data, _, err := from.Get(w.Context(), key)
	if err != nil {
		return
	}
	if err := os.WriteFile(w.Path(key), data, 0o600); errors.Is(err, os.ErrNotExist) {
		_, err = w.Put(w.Context(), key, data, vault.Always())
		if err != nil {
			w.Fatal(err)
		}
	}
}

// sizesOf writes the sizes of the volumes of another vault into the record.
func (w *world) sizesOf(from *world) {
	w.Helper()
	_, err := catalog.New(w.Vault).Update(w.Context(), "photos", firstRun, func(r *catalog.Record) error {
		r.Archive = from.record().Archive
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// TestVolumesInstead restores the volumes of a backup whose packs are damaged, or whose manifest is gone.
func TestVolumesInstead(t *testing.T) {
	for name, damages := range map[string]func(w *world){
		"a pack damaged": func(w *world) { w.damageObject(t, "large.bin", 100) },
		"no manifest":    func(w *world) { w.lose(vault.Seal("photos", firstRun)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, bulky(), step.Policy{Split: 400 << 10})
			w.authenticated()
			damages(w)
			r := w.completed(w.run(w.toApp()))
			if r.Status != backup.Completed || len(r.Notes) == 0 || r.Notes[0].Kind != replay.NoteArchive {
				t.Errorf("%+v", r)
			}
			w.holds(bulky())
		})
	}
}
