// Package keyring keeps the signing keys of vaults outside of them: <folder>/<vault id>.json, readable by its owner
// only. One Ed25519 key signs the manifests of a vault; the key of its links derives from it.
package keyring

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Ring is a folder of keys.
type Ring struct{ Folder string }

// Key is the key of one vault.
type Key struct {
	Vault   string
	Private ed25519.PrivateKey
}

// file is what lies on disk, and what `key export` prints.
type file struct {
	Format int    `json:"lifeboat_key"`
	Vault  string `json:"vault"`
	Seed   []byte `json:"seed"`
	Public []byte `json:"public_key"`
}

var vaultID = regexp.MustCompile(`^[A-Za-z0-9]{10,40}$`)

// Public returns the public key.
func (k Key) Public() ed25519.PublicKey { return k.Private.Public().(ed25519.PublicKey) }

// Links returns the key that the vault's links derive from.
func (k Key) Links() secret.String {
	mac := hmac.New(sha256.New, k.Private.Seed())
	mac.Write([]byte("lifeboat link key 1"))
	return secret.New(hex.EncodeToString(mac.Sum(nil)))
}

// Generate returns a new key for a vault; it is not stored yet.
func Generate(vault string) (Key, error) {
	_, private, err := ed25519.GenerateKey(nil)
	return Key{vault, private}, err
}

// Load returns the key of a vault, or NotFound.
func (r Ring) Load(vault string) (Key, error) {
	path, err := r.path(vault)
	if err != nil {
		return Key{}, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, failure.New(failure.NotFound, "the signing key of the vault is not in %s", r.Folder).
			WithHint("on the machine that made the vault run `lifeboat key export`, here `lifeboat key import FILE`; or set state-dir: to the folder that holds keys/")
	}
	if err != nil {
		return Key{}, fmt.Errorf("read the signing key: %w", err)
	}
	k, err := Parse(data)
	if err == nil && k.Vault != vault {
		err = failure.New(failure.Corrupt, "it is the key of another vault")
	}
	if err != nil {
		return Key{}, fmt.Errorf("read the signing key %s: %w", path, err)
	}
	return k, nil
}

// Store keeps a key. One that is there already for the same vault is Conflict, unless it is the same; a damaged one
// is not written over.
func (r Ring) Store(k Key) error {
	path, err := r.path(k.Vault)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Folder, 0o700); err != nil {
		return fmt.Errorf("create the folder of the signing keys: %w", err)
	}
	old, err := r.Load(k.Vault)
	switch {
	case err == nil && old.Private.Equal(k.Private):
		return nil
	case err == nil:
		return failure.New(failure.Conflict, "there is another signing key of this vault at %s", path)
	case failure.KindOf(err) != failure.NotFound:
		return failure.New(failure.Conflict, "there is something at %s already: %w", path, err).WithHint("move that file away first")
	}
	return write(path, Encode(k))
}

// write makes the file appear as a whole, and stay after a power loss.
func write(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return fmt.Errorf("write the signing key: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write the signing key: %w", err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("write the signing key: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func (r Ring) path(vault string) (string, error) {
	if !vaultID.MatchString(vault) {
		return "", failure.New(failure.Corrupt, "%q is no id of a vault", vault)
	}
	return filepath.Join(r.Folder, vault+".json"), nil
}

// Encode returns the key as a file; it is secret.
func Encode(k Key) []byte {
	data, _ := json.MarshalIndent(file{1, k.Vault, k.Private.Seed(), k.Public()}, "", "  ") // cannot fail
	return append(data, '\n')
}

// Parse reads what Encode wrote.
func Parse(data []byte) (Key, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil || f.Format != 1 || len(f.Seed) != ed25519.SeedSize {
		return Key{}, failure.New(failure.Corrupt, "this is no signing key of lifeboat")
	}
	k := Key{f.Vault, ed25519.NewKeyFromSeed(f.Seed)}
	if !k.Public().Equal(ed25519.PublicKey(f.Public)) {
		return Key{}, failure.New(failure.Corrupt, "the signing key is damaged: its halves do not belong together")
	}
	return k, nil
}

// Keys returns the keys of the ring; files that are no keys are left out.
func (r Ring) Keys() []Key {
	paths, _ := filepath.Glob(filepath.Join(r.Folder, "*.json"))
	var keys []Key
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if k, err := Parse(data); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// All returns the public keys of the ring.
func (r Ring) All() []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, k := range r.Keys() {
		keys = append(keys, k.Public())
	}
	return keys
}
