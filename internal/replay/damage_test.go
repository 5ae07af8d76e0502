package replay_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/replay"
	"lifeboat/internal/vault"
)

// damagePack flips a byte of the pack that has most of them. The store has a checksum of what it has now.
func (w *world) damagePack() {
	w.Helper()
	var largest vault.Info
	for info, err := range w.List(w.Context(), vault.Packs("photos")) {
		if err != nil {
			w.Fatal(err)
		}
		if info.Size > largest.Size && !strings.HasSuffix(string(info.Key), ".json") {
			largest = info
		}
	}
	w.damage(largest.Key, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
}

// flipBodies flips a byte of every object's body that is long enough, on its way from the vault: the store says of it
// what it always said.
func (w *world) flipBodies() {
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err != nil || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/packs/") {
			return answer, err
		}
		data, err := io.ReadAll(answer.Body)
		if err == nil && len(data) > 4000 {
			data[len(data)/2] ^= 1
		}
		answer.Body = io.NopCloser(bytes.NewReader(data))
		return answer, err
	})
}

// write writes a file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) damage(key vault.Key, change func([]byte) []byte) {
	w.Helper()
	data, _, err := w.Get(w.Context(), key)
	if err == nil {
		_, err = w.Put(w.Context(), key, change(data), vault.Always())
	}
	if err != nil {
		w.Fatal(err)
	}
}

// untouched fails the test where anything of the application was asked or changed.
func (w *world) untouched(what any) {
	w.Helper()
	if calls := w.app.taken(); len(calls) > 0 || len(w.app.rows) > 0 || w.app.puts > 0 || len(tree(w, w.app.folder)) > 0 {
		w.Errorf("%v: the target was asked %v, has %v and %d files", what, calls, w.app.rows, len(tree(w, w.app.folder)))
	}
}

// message is what a step is asked.
func message(step string, r events.Restore) []byte {
	data, _ := json.Marshal(events.RestoreRequest{Step: step, Restore: r})
	return data
}

// TestEveryByte flips each byte of a small archive (with -short every seventh), and bytes all over a larger one. Without --trust nothing is restored;
// with it, neither.
func TestEveryByte(t *testing.T) {
	small := map[string]string{"a": "b"}
	for _, test := range []struct {
		name    string
		objects map[string]string
		stride  int
		trust   bool
	}{{"small", small, 1, false}, {"small, trusted", small, 13, true}, {"larger", files(), 101, false}, {"larger, trusted", files(), 211, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.objects)
			path, data := w.archive()
			s := w.process("here")
			r := w.toApp()
			r.From, r.Trust = events.From{File: path}, test.trust
			r, err := s.Prepare(t.Context(), r)
			if err == nil {
				_, err = s.Handle(t.Context(), "restore", message("begin", r))
			}
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			stride := test.stride
			if testing.Short() {
				stride *= 7
			}
			for at := 0; at < len(data); at += stride {
				bit := byte(1) << (at % 8)
				if _, err := file.WriteAt([]byte{data[at] ^ bit}, int64(at)); err != nil {
					t.Fatal(err)
				}
				err := s.Checked(t.Context(), r)
				kind := failure.KindOf(err)
				if err == nil || kind != failure.Corrupt && (test.trust || kind != failure.Denied) {
					t.Errorf("byte %d of %d: %v: %v", at, len(data), kind, err)
				}
				w.untouched(at)
				if _, err := file.WriteAt(data[at:at+1], int64(at)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Checked(t.Context(), r); err != nil {
				t.Error("the archive as it was is refused:", err)
			}
		})
	}
}

// rezip writes an archive anew, entry by entry; change returns what an entry holds, or false where it is left out.
func rezip(t *testing.T, data []byte, change func(name string, content []byte) ([]byte, bool), more ...string) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	put := func(h *zip.FileHeader, content []byte) {
		f, err := z.CreateHeader(h)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range in.File {
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		if content, keep := change(f.Name, content); keep {
			put(&zip.FileHeader{Name: f.Name, Method: f.Method, Modified: f.Modified}, content)
		}
	}
	for _, name := range more {
		put(&zip.FileHeader{Name: name}, []byte("more"))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// signedBy returns the archive of a backup that a stranger's vault has made, of the same name as ours.
func signedBy(t *testing.T, objects map[string]string) []byte {
	t.Helper()
	w := newWorld(t, nil)
	if err := w.DeleteAll(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	w.key = stranger()
	w.backup(firstRun, objects)
	_, data := w.archive()
	return data
}

func TestForged(t *testing.T) {
	w := newWorld(t, files())
	_, ours := w.archive()
	foreign := signedBy(t, files())
	entry := func(of []byte, name string) (found []byte) {
		rezip(t, of, func(n string, content []byte) ([]byte, bool) {
			if n == name {
				found = content
			}
			return content, true
		})
		return found
	}
	with := func(of []byte, names ...string) []byte { // entries of the other archive
		return rezip(t, ours, func(n string, content []byte) ([]byte, bool) {
			for _, name := range names {
				if n == name {
					return entry(of, name), true
				}
			}
			return content, true
		})
	}
	const seal, list = "lifeboat/backup.json", "lifeboat/manifest.jsonl"
	all := func(_ string, content []byte) ([]byte, bool) { return content, true }
	for _, test := range []struct {
		name    string
		data    []byte
		kind    failure.Kind
		trusted failure.Kind // with --trust
	}{
		{"an entry is missing", rezip(t, ours, func(n string, c []byte) ([]byte, bool) { return c, n != "uploads/a.txt" }), failure.Corrupt, failure.Corrupt},
		{"an entry more", rezip(t, ours, all, "uploads/more"), failure.Corrupt, failure.Corrupt},
		{"an entry more after the end", append(bytes.Clone(ours), foreignZIP(t, map[string]string{"x": "y"})...), failure.Corrupt, failure.Corrupt},
		{"zipped anew", rezip(t, ours, all), failure.Corrupt, failure.Corrupt},
		{"stripped", rezip(t, ours, func(n string, c []byte) ([]byte, bool) { return c, !strings.HasPrefix(n, "lifeboat/") }), failure.Denied, failure.Invalid},
		{"the seal is missing", rezip(t, ours, func(n string, c []byte) ([]byte, bool) { return c, n != seal }), failure.Corrupt, failure.Corrupt},
		{"the manifest is missing", rezip(t, ours, func(n string, c []byte) ([]byte, bool) { return c, n != list }), failure.Corrupt, failure.Corrupt},
		{"another manifest", with(foreign, list), failure.Corrupt, failure.Corrupt},
		{"another seal", with(foreign, seal), failure.Corrupt, failure.Corrupt},
		{"another manifest and seal", with(foreign, seal, list), failure.Corrupt, failure.Corrupt},
		{"another key", foreign, failure.Denied, 0},
		{"cut off", ours[:len(ours)-1], failure.Corrupt, failure.Corrupt},
		{"a byte more", append(bytes.Clone(ours), 0), failure.Corrupt, failure.Corrupt},
		{"nothing", nil, failure.Invalid, failure.Invalid},
		{"no ZIP", []byte(strings.Repeat("text ", 100)), failure.Corrupt, failure.Corrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.app = newTarget(t.TempDir())
			r := w.toApp()
			r.From = events.From{File: w.file(strings.ReplaceAll(test.name, " ", "-")+".zip", test.data)}
			for _, r.Trust = range []bool{false, true} {
				want := test.kind
				if r.Trust {
					want = test.trusted
				}
				e := w.run(r)
				if want == 0 {
					if w.completed(e); e.record.Signature != "unknown signer" || e.record.NotesTotal != 1 {
						t.Error(e)
					}
					continue
				}
				if e.kind != want {
					t.Errorf("trust %v: want %s, %s", r.Trust, want, e)
				}
				w.untouched(test.name)
				w.leftovers()
			}
		})
	}
}

// TestDamagedVault restores what is whole somewhere, and nothing else.
func TestDamagedVault(t *testing.T) {
	zero := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	seal, list, archived := vault.Seal("photos", firstRun), vault.Manifest("photos", firstRun), vault.Archive("photos", firstRun)
	for _, test := range []struct {
		name    string
		damage  func(w *world)
		check   string
		kind    failure.Kind // 0: it is restored
		archive bool         // from the archive
	}{
		{"a pack", (*world).damagePack, "full", 0, true},
		{"a pack, stored", (*world).damagePack, "stored", 0, true},
		{"the manifest", func(w *world) { w.damage(list, zero) }, "full", 0, true},
		{"the manifest, stored", func(w *world) { w.damage(list, zero) }, "stored", 0, true},
		{"the seal", func(w *world) { w.damage(seal, func(d []byte) []byte { return d[:len(d)-9] }) }, "full", 0, true},
		{"manifest gone", func(w *world) { _ = w.Delete(w.Context(), list) }, "full", 0, true},
		{"a pack and the archive", func(w *world) { w.damagePack(); w.damage(archived, zero) }, "full", failure.Corrupt, false},
		{"a pack and the archive, stored", func(w *world) { w.damagePack(); w.damage(archived, zero) }, "stored", failure.Corrupt, false},
		{"manifest and archive", func(w *world) { w.damage(list, zero); w.damage(archived, zero) }, "full", failure.Corrupt, false},
		{"a pack, no archive", func(w *world) { w.damagePack(); _ = w.Delete(w.Context(), archived) }, "full", failure.Corrupt, false},
		{"the archive", func(w *world) { w.damage(archived, zero) }, "full", 0, false},
		{"nothing, stored", func(*world) {}, "stored", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files())
			test.damage(w)
			r := w.toApp()
			r.Check = test.check
			e := w.run(r)
			if test.kind != 0 {
				if got := w.failed(e, test.kind); e.hint == "" || got.Steps[len(got.Steps)-1].Step != "check" || !got.Steps[len(got.Steps)-1].Failed {
					t.Error(e)
				}
				w.untouched(test.name)
				return
			}
			got := w.completed(e)
			w.holds(files())
			if noted := got.NotesTotal == 1 && got.Notes[0].Kind == replay.NoteArchive; noted != test.archive || got.Signature != "authenticated" {
				t.Errorf("%+v", got.Notes)
			}
		})
	}
}

// TestForgedArchiveBehindPacks damages the packs and puts an archive of the same name in place, signed by a stranger.
func TestForgedArchiveBehindPacks(t *testing.T) {
	evil := files()
	evil["a.txt"] = "alphA"
	forged := signedBy(t, evil)
	for _, lost := range []struct {
		damage func(w *world)
		kind   failure.Kind
	}{
		{(*world).damagePack, failure.Corrupt},
		{func(w *world) { _ = w.Delete(w.Context(), vault.Manifest("photos", firstRun)) }, failure.NotFound},
	} {
		w := newWorld(t, files())
		lost.damage(w)
		w.damage(vault.Archive("photos", firstRun), func([]byte) []byte { return forged })
		e := w.run(w.toApp())
		w.failed(e, lost.kind)
		w.untouched("forged")
	}
	w := newWorld(t, files()) // one of another backup
	w.later(time.Hour)
	second := w.backup("20261121T130000Z-bbbbbb", files())
	w.damagePack()
	data, _, err := w.Get(t.Context(), vault.Key(second.Archive.Key))
	if err != nil {
		t.Fatal(err)
	}
	w.damage(vault.Archive("photos", firstRun), func([]byte) []byte { return data })
	w.failed(w.run(w.toApp()), failure.Corrupt)
	w.untouched("another backup's")
}

func TestTrust(t *testing.T) {
	w := newWorld(t, files())
	w.limits = func(s *replay.Steps) { s.Trusted = nil }
	e := w.run(w.toApp())
	w.failed(e, failure.Denied)
	w.untouched("unknown")
	if !strings.Contains(e.hint, "--trust") {
		t.Error(e)
	}
	folder := filepath.Join(t.TempDir(), "to")
	got := w.completed(w.run(to(w.toApp(), events.To{Folder: folder})))
	if got.NotesTotal != 1 || got.Notes[0].Kind != replay.NoteSignature || got.Signature != "unknown signer" {
		t.Errorf("%+v", got)
	}
	r := w.toApp()
	r.Trust = true
	got = w.completed(w.run(r))
	if got.NotesTotal != 1 || got.ID != e.restore.ID || got.Attempt != 2 {
		t.Errorf("%+v", got)
	}
	stored := to(w.toApp(), events.To{Folder: filepath.Join(t.TempDir(), "to")})
	stored.Check = "stored" // it believes the manifest
	w.failed(w.run(stored), failure.Usage)
	w.app = newTarget(t.TempDir())
	drill := w.toApp()
	drill.To = events.To{Drill: true}
	w.completed(w.run(drill))
}

// TestPreflightRefuses ends a restore before its first write.
func TestPreflightRefuses(t *testing.T) {
	w := newWorld(t, files())
	w.app.preflight = func(context.Context, *app.Replay) error {
		return failure.New(failure.Invalid, "too old").WithHint("update it")
	}
	e := w.run(w.toApp())
	if got := w.failed(e, failure.Invalid); e.hint != "update it" || got.Failure.Message != "too old" {
		t.Error(e)
	}
	if diff := cmp.Diff([]string{"Preflight"}, w.app.taken()); diff != "" || len(tree(t, w.app.folder)) > 0 {
		t.Error(diff)
	}
	if diff := cmp.Diff(fmt.Sprint([]string{"failed"}), fmt.Sprint(w.told.taken())); diff != "" {
		t.Error(diff)
	}
}
