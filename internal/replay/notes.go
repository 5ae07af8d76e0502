package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/vault"
)

// The notes of this package; a target has its own beside them.
const (
	noteBegan   = "began"   // the machine on which the restore has begun to write; what its folder there holds may be its own
	noteURL     = "url"     // the whole address, until the restore has ended
	noteAddress = "address" // fingerprint of the URL that incoming/<id>.zip was fetched from
	noteContent = "content" // digest of the archive that a URL gave
)

// notes keeps what a target remembers of a restore.
type notes struct {
	vault *vault.Vault
	id    backup.RestoreID
}

func (n notes) key(name string) vault.Key {
	return vault.RestoreWork(n.id, fmt.Sprintf("notes/%s.json", name))
}

func (n notes) Get(ctx context.Context, name string, value any) (bool, error) {
	_, err := n.vault.GetJSON(ctx, n.key(name), value)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return false, nil
	}
	return err == nil, err
}

func (n notes) Put(ctx context.Context, name string, value any) error {
	_, err := n.vault.PutJSON(ctx, n.key(name), value, vault.Always())
	return err
}

// trial are the notes of a restore as its dry run sees them: what it writes it forgets.
type trial struct {
	notes
	kept map[string]json.RawMessage
}

func (t trial) Get(ctx context.Context, name string, value any) (bool, error) {
	if data, ok := t.kept[name]; ok {
		return true, json.Unmarshal(data, value)
	}
	return t.notes.Get(ctx, name, value)
}

func (t trial) Put(_ context.Context, name string, value any) (err error) {
	t.kept[name], err = json.Marshal(value)
	return err
}

// notesOf returns what a target remembers of a restore.
func (s *Steps) notesOf(r events.Restore) app.Notes {
	if r.Trial != "" {
		return trial{notes{s.Vault, r.Trial}, map[string]json.RawMessage{}}
	}
	return notes{s.Vault, r.ID}
}

// machine is what of the holder's name stays the same from process to process.
func (s *Steps) machine() string {
	name, _, _ := strings.Cut(s.Holder, " pid ")
	return name
}

// fetchedFrom makes sure that what an earlier attempt has fetched comes from the very address: the id of a restore does
// not tell addresses apart that differ behind the "?" only.
func (s *Steps) fetchedFrom(ctx context.Context, r events.Restore) error {
	if r.From.URL == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(string(r.ID) + " " + r.From.URL))
	now, before := hex.EncodeToString(sum[:]), ""
	there, err := notes{s.Vault, r.ID}.Get(ctx, noteAddress, &before)
	if err != nil || there && before == now {
		return err
	}
	if err := s.forget(ctx, r); err != nil {
		return err
	}
	return notes{s.Vault, r.ID}.Put(ctx, noteAddress, now)
}

// sameContent drops what an earlier attempt remembers of another archive that the same address gave then.
func (s *Steps) sameContent(ctx context.Context, r events.Restore, b *subject) error {
	if r.From.URL == "" {
		return nil
	}
	var before string
	there, err := notes{s.Vault, r.ID}.Get(ctx, noteContent, &before)
	if err != nil || there && before == b.digest() {
		return err
	}
	if there {
		var address string
		if _, err := (notes{s.Vault, r.ID}).Get(ctx, noteAddress, &address); err != nil {
			return err
		}
		if err := s.Vault.DeleteAll(ctx, vault.RestoreWork(r.ID, "notes/")); err != nil {
			return err
		}
		if err := (notes{s.Vault, r.ID}).Put(ctx, noteAddress, address); err != nil {
			return err
		}
	}
	return notes{s.Vault, r.ID}.Put(ctx, noteContent, b.digest())
}

// forgetURL removes the whole address, which is a secret: whoever runs the restore again gives it again.
func (s *Steps) forgetURL(ctx context.Context, r events.Restore) error {
	if r.From.URL == "" {
		return nil
	}
	return s.Vault.Delete(ctx, notes{s.Vault, r.ID}.key(noteURL))
}

// forget removes what a URL gave.
func (s *Steps) forget(ctx context.Context, r events.Restore) error {
	if r.From.URL == "" {
		return nil
	}
	return s.Vault.Delete(ctx, vault.Incoming(r.ID))
}
