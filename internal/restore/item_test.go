package restore_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
)

// TestItemJSON: a plan gives every name back as it was, and has no more than the name where that is text.
func TestItemJSON(t *testing.T) {
	for _, key := range []string{"", "plain.txt", "写真 🌊", "in\xffvalid", "\xed\xa0\x80", "new\nline", "\ufffd"} {
		want := restore.Unit{Length: 7, Items: []restore.Item{{Key: key, Entry: manifest.Entry{Path: "files/x", Size: 7}, Offset: 9}}}
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got restore.Unit
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", key, diff)
		}
		if strings.Contains(string(data), "key_bytes") == utf8.ValidString(key) {
			t.Errorf("%q: %s", key, data)
		}
	}
}
