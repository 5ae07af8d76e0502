package linkding

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"lifeboat/internal/datasource/stranger"
	"lifeboat/internal/failure"
)

// reachable makes every folder down to path one that strangers can enter.
func reachable(t *testing.T, path string) {
	t.Helper()
	for ; path != filepath.Clean(os.TempDir()) && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadOnly copies what may be read but not written: an unwritable -shm is no obstacle, linkding running or not.
func TestReadOnly(t *testing.T) {
	for _, role := range []string{"running", "killed"} {
		t.Run(role, func(t *testing.T) {
			data := modern(t)
			l := start(t, data, "idle")
			if role == "killed" {
				l.kill()
			}
			reachable(t, data)
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if err := os.Chmod(filepath.Join(data, database+suffix), 0o444); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(data, 0o555); err != nil {
				t.Fatal(err)
			}
			options := Options{Data: data, TempDir: t.TempDir()}
			reachable(t, options.TempDir)
			if err := os.Chmod(options.TempDir, 0o777); err != nil {
				t.Fatal(err)
			}
			check := unchanged(t, data)
			source, err := New(options)
			if err != nil {
				t.Fatal(err)
			}
			stranger.Become(t)
			sink := &record{map[string][]byte{}, map[string]time.Time{}, map[string]bool{}, nil, nil}
			_, err = source.Snapshot(t.Context(), everything, sink)
			if err != nil {
				t.Fatal(err)
			}
			check()
			if len(sink.documents[database]) == 0 {
				t.Error("no copy")
			}
		})
	}
}

// TestDenied names the file that may not be read.
func TestDenied(t *testing.T) {
	for _, name := range []string{"", database, database + "-wal", database + "-shm"} {
		t.Run("no "+name, func(t *testing.T) {
			data := modern(t)
			start(t, data, "idle")
			temporary := t.TempDir()
			reachable(t, data)
			reachable(t, temporary)
			for path, mode := range map[string]os.FileMode{temporary: 0o777, filepath.Join(data, name): 0} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { _ = os.Chmod(data, 0o700) })
			source, err := New(Options{Data: data, TempDir: temporary})
			if err != nil {
				t.Fatal(err)
			}
			stranger.Become(t)
			_, err = source.Snapshot(t.Context(), everything, nil)
			refused(t, err, failure.Denied, name, "may not be read")
		})
	}
}
