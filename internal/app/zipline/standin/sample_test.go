package standin_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// TestSampleMatches holds rows and objects of the instance against each other.
func TestSampleMatches(t *testing.T) {
	instance, folder := standin.Sample(), t.TempDir()
	if err := instance.WriteUploads(folder); err != nil {
		t.Fatal(err)
	}
	var export struct {
		Data struct {
			Files []struct {
				Name string
				Size int64
			}
			Thumbnails []struct{ Path string }
		}
	}
	if err := json.Unmarshal(instance.Export(), &export); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for _, f := range export.Data.Files {
		want[f.Name] = f.Size
	}
	for _, thumbnail := range export.Data.Thumbnails {
		want[thumbnail.Path] = 6800
	}
	got, total := map[string]int64{}, int64(0)
	for name, content := range contents(t, folder) {
		got[name] = int64(len(content))
		total += got[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows and objects (-rows +objects):\n%s", diff)
	}
	if total < 8<<20 || total > 12<<20 {
		t.Errorf("%d bytes in all", total)
	}
}

func TestSampleIsTheSameTwice(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, folder := range []string{one, two} {
		if err := standin.Sample().WriteUploads(folder); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range contents(t, one) {
		if !bytes.Equal(content, contents(t, two)[name]) {
			t.Errorf("%q differs", name)
		}
	}
	if !bytes.Equal(standin.Sample().Export(), standin.Sample().Export()) {
		t.Error("the exports differ")
	}
}

func TestChangeTwo(t *testing.T) {
	instance, folder := standin.Sample(), t.TempDir()
	if err := instance.WriteUploads(folder); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before := contents(t, folder)
		changed, err := instance.ChangeTwo(folder)
		if err != nil || len(changed) != 2 {
			t.Fatalf("%q, %v", changed, err)
		}
		var differ []string
		for name, content := range contents(t, folder) {
			if len(content) != len(before[name]) {
				t.Errorf("%q has another size", name)
			}
			if !bytes.Equal(content, before[name]) {
				differ = append(differ, name)
			}
		}
		if len(differ) != 2 {
			t.Errorf("changed: %q", differ)
		}
	}
}

func contents(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		all[entry.Name()], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
