package zipline

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpelled(t *testing.T) {
	for name, want := range map[string][2]string{ // for old and for new versions
		"plain.txt":           {"plain.txt", "plain.txt"},
		"100% sure.txt":       {"100_ sure.txt", "100% sure.txt"},
		"a%20b.txt":           {"a_20b.txt", "a%20b.txt"},
		"%":                   {"_", "%"},
		"2026-11-21_20:18.md": {"2026-11-21_20:18.md", "2026-11-21_20:18.md"},
		"a+b & c#d?.txt":      {"a+b & c#d?.txt", "a+b & c#d?.txt"},
		"cafe\u0301.txt":      {"cafe\u0301.txt", "cafe\u0301.txt"},
		"a/b":                 {"a_b", "a_b"},
		`a\b`:                 {"a_b", "a_b"},
		"..":                  {"_..", "_.."},
		".":                   {"_.", "_."},
		"":                    {"_", "_"},
		"...":                 {"...", "..."},
		"%2e%2e":              {"_2e_2e", "%2e%2e"},
		"%C3":                 {"_C3", "%C3"},
		"a%2Fb":               {"a_2Fb", "a%2Fb"},
		"a%5Cb":               {"a_5Cb", "a%5Cb"},
	} {
		if got := [2]string{spelled(name, true), spelled(name, false)}; got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestQuotaBytes(t *testing.T) {
	for text, want := range map[string]int64{"2gb": 2 << 30, "100 MB": 100 << 20, "1.5kb": 1536, "7": 7, "7b": 7} {
		if got, ok := quotaBytes(text); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "gb", "0", "-1mb", "many", "1xb", "9999999pb"} {
		if got, ok := quotaBytes(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]version{"4.6.3": {4, 6, 3}, "v4.4.2": {4, 4, 2}, "4.5": {4, 5, 0}, "4.7.0-beta.1": {4, 7, 0}} {
		if got, ok := parseVersion(text); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "4", "four.five", "4.5.6.7"} {
		if _, ok := parseVersion(text); ok {
			t.Errorf("%q is a version", text)
		}
	}
}

// TestPlanFolders makes names unique for each user, the same ones each time, and cuts circles.
func TestPlanFolders(t *testing.T) {
	for range 20 { // maps come in any order
		f := &preflight{plan: newPlan(person{ID: "a", Username: "admin"}, nil)}
		f.backup = &view{owner: f.plan.owner, users: map[string]user{"u": {name: "mara"}, "v": {name: "lin"}}, folders: map[string]*folder{}}
		for _, each := range [][5]string{ // id, name, owner, parent, date
			{"1", "2024", "u", "", "d1"},
			{"2", "Work", "u", "", "d2"},
			{"3", "2024", "u", "2", "d3"},
			{"4", "2024 (2)", "u", "", "d4"},
			{"5", "2024", "v", "", "d0"},
			{"6", "2024", "u", "9", "d5"},
			{"7", "x", "v", "8", "d6"},
			{"8", "y", "v", "7", "d7"},
			{"9", "z", "u", "missing", "d8"},
		} {
			f.backup.folders[each[0]] = &folder{id: each[0], name: each[1], owner: each[2], parent: each[3], created: each[4]}
		}
		f.folders(nil)
		if diff := cmp.Diff(map[string]string{"3": "2024 (3)", "6": "2024 (4)"}, f.plan.Sent); diff != "" {
			t.Fatalf("sent (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]bool{"8": true, "9": true}, f.plan.Cut); diff != "" {
			t.Fatalf("cut (-want +got):\n%s", diff)
		}
	}
}

// TestPlanFoldersTaken avoids names that the administrator has on the target, for the administrator only.
func TestPlanFoldersTaken(t *testing.T) {
	f := &preflight{plan: newPlan(person{ID: "a", Username: "admin"}, nil)}
	f.plan.Merge = "u"
	f.backup = &view{owner: f.plan.owner, users: map[string]user{"u": {name: "mara"}, "v": {name: "lin"}}, folders: map[string]*folder{
		"1": {id: "1", name: "Photos", owner: "u", created: "d1"},
		"2": {id: "2", name: "Photos", owner: "v", created: "d2"},
	}}
	f.folders(map[string]bool{"Photos": true, "Photos (2)": true})
	if diff := cmp.Diff(map[string]string{"1": "Photos (3)"}, f.plan.Sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}
