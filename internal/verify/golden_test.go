package verify_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/manifest"
	"lifeboat/internal/verify"
)

// goldenKey signed the golden archives. It stands here as text, so that nothing that changes in this code changes it.
const goldenKey = "I7xUkSwebpLEqGglyGfif/3FVb/71CRPF6Jqv//ull0="

// TestGoldenArchives: every version of lifeboat reads what an earlier one has written. Never change these files.
func TestGoldenArchives(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	image, file, err := verify.OpenFile(t.Context(), "../archive/testdata/golden-1.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	report, err := verify.Whole(t.Context(), image, verify.Options{Trusted: []ed25519.PublicKey{key}})
	if err != nil || !report.OK || report.Signature != manifest.Authenticated {
		t.Fatalf("%+v, %v", report, err)
	}
	if report.Header.Backup != "20261121T120000Z-aaaaaa" || report.Header.Facts.Version != "4.4.1" || report.Bytes != 106 {
		t.Errorf("%+v", report)
	}
	var paths []string
	for e, err := range verify.Entries(t.Context(), image) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, e.Path)
	}
	if diff := cmp.Diff([]string{"uploads/a.txt", "uploads/ü.txt", "uploads/none/", "export.json"}, paths); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat("../archive/testdata/golden-1.zip"); err != nil || info.Size() != 2429 {
		t.Errorf("%v, %v", info, err)
	}
}
