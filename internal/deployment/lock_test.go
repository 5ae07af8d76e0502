package deployment_test

import (
	"strings"
	"testing"
	"time"

	"lifeboat/internal/deployment"
)

const locked = "vault: ./v\nsources: {papers: {kind: files, path: s3://example-papers}}\ndeploy: {immutability: "

// TestLongestLock: S3 locks for a hundred years at most, the spare time included.
func TestLongestLock(t *testing.T) {
	for text, right := range map[string]bool{"33180d governance": true, "33182d governance": false, "36500d compliance": false, "99999d governance": false} {
		_, err := deployment.Parse("lifeboat.yaml", []byte(locked+text+"}\n"), "/")
		if right != (err == nil) || err != nil && !strings.Contains(err.Error(), "36500 days at most") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLockFacts: a lock holds the bytes and not the key that reads them, and what is passed through goes soon.
func TestLockFacts(t *testing.T) {
	for _, mode := range []string{"governance", "compliance"} {
		o, err := deployment.Parse("lifeboat.yaml", []byte(locked+"30d "+mode+"}\n"), "/")
		if err != nil {
			t.Fatal(err)
		}
		v := o.Facts(time.Now()).Vault
		if !strings.Contains(v.Lock, "the key that reads it is not locked") || strings.Contains(v.Lock, "nobody can delete it,") {
			t.Errorf("%s: %s", mode, v.Lock)
		}
		noncurrent := map[string]int{}
		for _, r := range v.Lifecycle {
			if r.Noncurrent > 0 {
				noncurrent[r.Prefix] = r.Noncurrent
			}
		}
		for prefix, want := range map[string]int{"": 30, "drills/": 1, "incoming/": 1, "restores/": 1, "archives/": 0} {
			if noncurrent[prefix] != want {
				t.Errorf("%s: old versions below %q go after %d days, want %d", mode, prefix, noncurrent[prefix], want)
			}
		}
	}
}
