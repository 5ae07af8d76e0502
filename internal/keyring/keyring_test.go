package keyring_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
)

const id = "VAULTVAULT12"

func wantKind(t *testing.T, err error, want failure.Kind) {
	t.Helper()
	if err == nil || failure.KindOf(err) != want {
		t.Errorf("got %v (%v), want %v", err, failure.KindOf(err), want)
	}
}

func generate(t *testing.T, vault string) keyring.Key {
	t.Helper()
	k, err := keyring.Generate(vault)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRoundTrip(t *testing.T) {
	ring := keyring.Ring{Folder: filepath.Join(t.TempDir(), "state", "keys")}
	_, err := ring.Load(id)
	wantKind(t, err, failure.NotFound)
	if failure.HintOf(err) == "" || len(ring.All()) != 0 {
		t.Errorf("%v, %d keys", err, len(ring.All()))
	}
	k := generate(t, id)
	for range 2 {
		if err := ring.Store(k); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ring.Load(id)
	if err != nil || !got.Private.Equal(k.Private) || got.Vault != id {
		t.Errorf("%v", err)
	}
	if !ed25519.Verify(got.Public(), []byte("m"), ed25519.Sign(k.Private, []byte("m"))) {
		t.Error("another key")
	}
	wantKind(t, ring.Store(generate(t, id)), failure.Conflict)
	if again, _ := ring.Load(id); !again.Private.Equal(k.Private) {
		t.Error("the key was written over")
	}
	if all := ring.All(); len(all) != 1 || !all[0].Equal(k.Public()) {
		t.Errorf("%d keys", len(all))
	}
	if a, b := k.Links(), generate(t, id).Links(); len(a.Reveal()) != 64 || a.Equal(b) || !a.Equal(got.Links()) {
		t.Error("link keys")
	}
}

func TestPermissions(t *testing.T) {
	ring := keyring.Ring{Folder: filepath.Join(t.TempDir(), "keys")}
	if err := ring.Store(generate(t, id)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"": fs.ModeDir | 0o700, id + ".json": 0o600} {
		info, err := os.Stat(filepath.Join(ring.Folder, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	if entries, err := os.ReadDir(ring.Folder); len(entries) != 1 || err != nil {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDamaged(t *testing.T) {
	k := generate(t, id)
	good := keyring.Encode(k)
	other := keyring.Encode(generate(t, id))
	var lines, others map[string]any
	if err := json.Unmarshal(good, &lines); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(other, &others); err != nil {
		t.Fatal(err)
	}
	seed := fmt.Sprint(lines["seed"])
	for name, data := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-5], "no JSON": []byte("PEM"), "no key": []byte("{}"),
		"another format":   bytes.Replace(good, []byte(`"lifeboat_key": 1`), []byte(`"lifeboat_key": 2`), 1),
		"a short seed":     bytes.Replace(good, []byte(seed), []byte(seed[:8]), 1),
		"another's seed":   bytes.Replace(good, []byte(seed), fmt.Append(nil, others["seed"]), 1),
		"another's public": bytes.Replace(good, fmt.Append(nil, lines["public_key"]), fmt.Append(nil, others["public_key"]), 1),
	} {
		_, err := keyring.Parse(data)
		wantKind(t, err, failure.Corrupt)
		if err != nil && strings.Contains(err.Error(), seed) {
			t.Errorf("%s: the message tells the key", name)
		}
		ring := keyring.Ring{Folder: t.TempDir()}
		path := filepath.Join(ring.Folder, id+".json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = ring.Load(id)
		wantKind(t, err, failure.Corrupt)
		wantKind(t, ring.Store(k), failure.Conflict) // what is damaged may be all that is left of a key
		if after, err := os.ReadFile(path); !bytes.Equal(after, data) || err != nil || len(ring.All()) > 0 {
			t.Errorf("%s: it was written over, or counts as a key", name)
		}
	}
}

func TestNames(t *testing.T) {
	ring := keyring.Ring{Folder: t.TempDir()}
	for _, name := range []string{"", "short", "../../../../etc/passwd", "VAULT/VAULT12", strings.Repeat("A", 41), "VAULTVAULT12.json"} {
		_, err := ring.Load(name)
		wantKind(t, err, failure.Corrupt)
		wantKind(t, ring.Store(generate(t, name)), failure.Corrupt)
	}
	k := generate(t, id)
	if err := os.WriteFile(filepath.Join(ring.Folder, "ANOTHERVAULT.json"), keyring.Encode(k), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ring.Load("ANOTHERVAULT")
	wantKind(t, err, failure.Corrupt)
}
