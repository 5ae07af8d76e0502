package zipline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// folderBed is a stateful stand-in with a user of the role USER, whose clock moves when somebody waits.
type folderBed struct {
	server *standin.Server
	url    string
	into   string // folder of the datasource
	waited atomic.Int64
	target *FolderTarget
}

func newFolderBed(t *testing.T, fault func(int, *http.Request) standin.Fault) *folderBed {
	t.Helper()
	b := &folderBed{into: t.TempDir()}
	database := standin.NewDatabase("admin", standin.SuperAdminToken)
	database.AddUser("zoe", "USER", standin.UserToken)
	now := func() time.Time { return exported.Add(time.Duration(b.waited.Add(int64(time.Millisecond)))) } // no two moments are one
	b.server = standin.New(standin.Options{Database: database, Datasource: b.into, Fault: fault, Now: now})
	b.url = serve(t, b.server)
	target, err := NewFolderTarget(TargetOptions{
		URL: b.url, Token: secret.New(standin.UserToken), Now: now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			b.waited.Add(int64(d))
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.target = target
	return b
}

// back backs the only folder at the root of the target up, and returns its paths with the SHA-256 of their bytes.
func (b *folderBed) back(t *testing.T, name string) (map[string]string, *folderMap) {
	t.Helper()
	options := Options{URL: b.url, Token: secret.New(standin.SuperAdminToken), Datasource: datasource.NewFolder(b.into, nil)}
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := source.Folder(t.Context(), "zoe:"+name)
	if err != nil {
		t.Fatal(err)
	}
	sink, _, err := folderSnapshot(t, id, options)
	if err != nil || len(sink.found) > 0 {
		t.Fatalf("%v; %v", err, sink.short())
	}
	m, err := readFolderMap(strings.NewReader(sink.documents[folderDocument]))
	if err != nil {
		t.Fatal(err)
	}
	return digests(t, b.into, sink.objects), m
}

func digests(t *testing.T, folder string, objects map[string]app.Object) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path, object := range objects {
		if object.Dir {
			all[path] = "dir"
			continue
		}
		file, err := os.Open(filepath.Join(folder, object.Key))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			t.Fatal(err)
		}
		file.Close()
		all[path] = hex.EncodeToString(sum.Sum(nil))
	}
	return all
}

// recorded backs a folder of the recorded instance up.
func recorded(t *testing.T, path string) (*folderBackup, map[string]string, *folderMap) {
	t.Helper()
	options, _ := fixture(t)
	uploads := filepath.Join(os.Getenv("LIFEBOAT_FIXTURES"), "zipline", "uploads")
	source, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := source.Folder(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	sink, _, err := folderSnapshot(t, id, options)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readFolderMap(strings.NewReader(sink.documents[folderDocument]))
	if err != nil {
		t.Fatal(err)
	}
	backup := &folderBackup{document: sink.documents[folderDocument], objects: sink.objects, opened: func(path string) (io.ReadCloser, error) {
		return os.Open(filepath.Join(uploads, sink.objects[path].Key))
	}}
	return backup, digests(t, uploads, sink.objects), m
}

// TestFolderStandin takes folders of the recorded instance into the stand-in, as a USER, twice, and backs them up there:
// the same tree with the same bytes.
func TestFolderStandin(t *testing.T) {
	for path, name := range map[string]string{"Photos": "Photos", "Work": "Work", "Ablage ✦ Входящие": "Ablage ✦ Входящие", `Q1\/Q2 reports`: `Q1\/Q2 reports`, "Leer": "Leer", "lin:Memes": "Memes"} {
		t.Run(path, func(t *testing.T) {
			backup, want, m := recorded(t, path)
			b, notes := newFolderBed(t, nil), notebook{}
			r := backup.replay(notes, app.Wishes{FolderInto: "root"})
			if _, err := b.target.Preflight(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				finish(t, b.target, r)
				confirmed(t, b.target, r, int64(len(m.folders)), int64(len(m.files)))
			}
			got, rebuilt := b.back(t, name)
			if path == "Photos" { // three files of one name: their numbers follow their age, which the restore keeps
				if want["Photos/2024/screenshot.png"] == want["Photos/2024/screenshot (2).png"] {
					t.Error("the numbered files are one")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(carriedRows(m), carriedRows(rebuilt)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// carriedRows returns what the API can carry of a tree: by path, flags and names.
func carriedRows(m *folderMap) []string {
	var all []string
	for _, f := range m.folders {
		all = append(all, fmt.Sprintf("%s %q public=%t uploads=%t", f.Path, f.Name, f.Public, f.Uploads))
	}
	for _, f := range m.files {
		all = append(all, fmt.Sprintf("%s %q %s %d favorite=%t max=%d until=%s", f.Path, f.wanted(), f.Type, f.Size, f.Favorite, f.MaxViews, f.DeletesAt))
	}
	slices.Sort(all)
	return all
}

// TestFolderStandinInterrupted breaks each request of a rebuild in the stand-in in each way.
func TestFolderStandinInterrupted(t *testing.T) {
	backup, want := hostileDigests(t)
	whole := newFolderBed(t, nil)
	finish(t, whole.target, backup.replay(notebook{}, app.Wishes{FolderInto: "/", Name: "Again"}))
	requests := whole.server.Requests()
	tree, _ := whole.back(t, "Again")
	if diff := cmp.Diff(want, tree); diff != "" {
		t.Fatalf("undisturbed (-want +got):\n%s", diff)
	}
	for way, fault := range []standin.Fault{{Cut: standin.CutBefore}, {Cut: standin.CutTorn}, {Cut: standin.CutAfter}, {Status: 502}} {
		for n := range upTo(requests, way) {
			b, notes := newFolderBed(t, standin.FailAt(n, fault)), notebook{}
			r := backup.replay(notes, app.Wishes{FolderInto: "/", Name: "Again"})
			if _, err := b.target.Replay(t.Context(), r); err != nil && failure.KindOf(err) != failure.Transient {
				t.Errorf("request %d, %+v: %v", n, fault, err)
			}
			finish(t, b.target, r)
			got, _ := b.back(t, "Again")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("request %d, %+v (-want +got):\n%s", n, fault, diff)
			}
			confirmed(t, b.target, r, 6, 11)
		}
	}
}

// hostileDigests returns the backup of hostile, and the tree that a backup of what is rebuilt of it under another name
// has: with what Zipline takes of its names.
func hostileDigests(t *testing.T) (*folderBackup, map[string]string) {
	t.Helper()
	backup, _ := hostile(t)
	want := map[string]string{}
	renamed := strings.NewReplacer("Work%2FLife/", "Again/", "a%2Fb.txt", "a_b.txt", "%20%20/", "unnamed/")
	for path, object := range backup.objects {
		sum := sha256.Sum256([]byte(object.Key))
		want[renamed.Replace(path)] = hex.EncodeToString(sum[:])
		if object.Dir {
			want[renamed.Replace(path)] = "dir"
		}
	}
	if len(want) != len(backup.objects) || len(slices.Collect(maps.Keys(want))) < 12 {
		t.Fatalf("%d paths of %d", len(want), len(backup.objects))
	}
	return backup, want
}
