package zipline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"lifeboat/internal/failure"
)

// file uploads a file, or sets right what is there of it. What Zipline refuses about this one file is noted.
func (w *folderWork) file(ctx context.Context, u *upload, there *fileOnTarget) error {
	if there != nil && w.ended.Once && w.before[u.Path] == "" {
		return nil // it was set right before, and what was changed since stays
	}
	if there == nil {
		if u.size > w.most {
			w.refused[u.Path] = "it is larger than the target takes"
			return nil
		}
		if err := w.soon(ctx); err != nil {
			return err
		}
		id, kind, err := w.upload(ctx, u)
		if err != nil {
			return w.refuse(err, u)
		}
		w.done++
		w.r.Working(1, u.size)
		there = &fileOnTarget{ID: id, Type: kind, MaxViews: &u.MaxViews}
		if !u.carried() {
			there.Original = &u.name
		}
	}
	if u.twin && w.twins[u.Path] != there.ID {
		w.twins[u.Path] = there.ID
		if err := w.r.Notes.Put(ctx, noteTwins, w.twins); err != nil {
			return err
		}
	}
	return w.refuse(w.settle(ctx, u, there), u)
}

func (w *folderWork) refuse(err error, u *upload) error {
	if err == nil || !aboutOne(err) {
		return err
	}
	if len(w.refused) < maxBadNames {
		w.refused[u.Path] = err.Error()
	}
	return nil
}

// upload sends a file into its folder.
func (w *folderWork) upload(ctx context.Context, u *upload) (id, kind string, err error) {
	expiry := w.never
	if due := u.expiry(w.client.now()); due != "" {
		expiry = due
	}
	name := u.name
	if u.carried() {
		name = u.carrier()
	}
	open := func() (io.ReadCloser, error) { return w.r.Open(ctx, u.Path) }
	id, kind, err = w.post(ctx, u, w.made[u.folder].ID, name, expiry, open)
	if failure.KindOf(err) == failure.Invalid && !w.sure && expiry == w.never { // an older one may know no "never"
		if id, kind, err = w.post(ctx, u, w.made[u.folder].ID, name, "", open); err == nil {
			w.never, w.sure = "", true
		}
	}
	w.sure = w.sure || err == nil && expiry == w.never
	return id, kind, err
}

// settle gives a file on the target what the upload could not give it.
func (w *folderWork) settle(ctx context.Context, u *upload, there *fileOnTarget) error {
	change := map[string]any{}
	if valueOf(there.Original) != u.name {
		change["originalName"] = u.name
	}
	if u.Type != "" && there.Type != u.Type {
		change["type"] = u.Type
	}
	if there.Favorite != u.Favorite {
		change["favorite"] = u.Favorite
	}
	if valueOf(there.MaxViews) != u.MaxViews {
		change["maxViews"] = u.MaxViews
	}
	if len(change) == 0 {
		return nil
	}
	named := change["originalName"] != nil
	if named && percent(u.name) != u.name && valueOf(there.Original) != percent(u.name) {
		change["originalName"] = percent(u.name) // up to 4.6.3 it is decoded, and a bare % refused
		now, err := w.patch(ctx, u, there.ID, change)
		if err != nil || valueOf(now.Original) == u.name {
			return err
		}
		change["originalName"] = u.name
	}
	now, err := w.patch(ctx, u, there.ID, change)
	if err == nil && named && valueOf(now.Original) != u.name {
		return failure.New(failure.Invalid, "%w its original name: it makes %q of it", errRefuses, shorten(valueOf(now.Original)))
	}
	return err
}

func (w *folderWork) patch(ctx context.Context, u *upload, id string, change any) (*fileOnTarget, error) {
	row := &fileOnTarget{}
	err := w.call(ctx, fmt.Sprintf("set the name and flags of %q", shorten(u.Path)), http.MethodPatch, "/api/user/files/"+escape(id), "", change, row)
	return row, err
}

// carried reports whether the file travels under a name of its own, and is renamed in the target: its name can't stand
// in the head of a form, would be decoded by the target, is cut there, or is that of a twin.
func (u *upload) carried() bool {
	return u.twin || strings.ContainsFunc(u.name, func(c rune) bool { return c < 0x20 || c == 0x7f || strings.ContainsRune(`%";\/`, c) }) || len(u.name) > maxName
}

// carrier is the name that a carried file travels under.
func (u *upload) carrier() string {
	digest := sha256.Sum256([]byte(u.Stored + "\x00" + u.Path))
	name := "lifeboat-" + hex.EncodeToString(digest[:10])
	_, extension := split(u.name)
	if strings.ContainsFunc(extension, func(c rune) bool { return c >= 0x7f || c <= ' ' || strings.ContainsRune(`%";\/`, c) }) {
		extension = ""
	}
	return name + extension
}

// percent returns a name that is name once decoded.
func percent(name string) string { return strings.ReplaceAll(name, "%", "%25") }
