package deployed_test

import (
	"testing"

	"lifeboat/internal/lambdafn/deployed"
)

// TestCovers: a * stands for one part of a key, and the function that packs writes work files only.
func TestCovers(t *testing.T) {
	for key, want := range map[string]bool{
		"snapshots/photos/20261121T120000Z-aaaaaa/work/1/objects.jsonl": true,
		"snapshots/photos/20261121T120000Z-aaaaaa/work/":                false,
		"snapshots/photos/20261121T120000Z-aaaaaa/manifest.jsonl.gz":    false,
		"snapshots/photos/20261121T120000Z-aaaaaa/mac.json":             false,
		"snapshots/photos/work/x":                                       false,
		"snapshots/photos/20261121T120000Z-aaaaaa/other/work/x":         false,
		"archives/photos/20261121T120000Z-aaaaaa/work/1":                false,
	} {
		if got := (deployed.Grant{Action: "s3:PutObject", Prefix: "snapshots/*/*/work/"}).Covers(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
		if f, _ := deployed.Named("copy"); f.May("s3:PutObject", key) != want {
			t.Errorf("copy may write %s: %v", key, !want)
		}
	}
	for _, c := range []struct {
		prefix, key string
		want        bool
	}{{"packs/", "packs/a/b", true}, {"packs/", "packs/", false}, {"packs/", "packs", false}, {"", "", true}, {"", "a", false}, {"vault.json", "vault.json", true}} {
		if got := (deployed.Grant{Prefix: c.prefix}).Covers(c.key); got != c.want {
			t.Errorf("%q covers %q: %v", c.prefix, c.key, got)
		}
	}
}
