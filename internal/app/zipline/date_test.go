package zipline

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
)

func TestParseDate(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-01T00:00:00.000Z":                "2026-01-01T00:00:00.000Z",
		"2026-01-01T01:02:03.456789+01:00":        "2026-01-01T00:02:03.456Z",
		"2026-01-01":                              "2026-01-01T00:00:00.000Z",
		"2026-03":                                 "2026-03-01T00:00:00.000Z",
		"2026":                                    "2026-01-01T00:00:00.000Z",
		"2026-01-01T10:11":                        "2026-01-01T10:11:00.000Z",
		"2026-01-01T10:11:12.5":                   "2026-01-01T10:11:12.500Z",
		"2026-01-01 10:11:12":                     "2026-01-01T10:11:12.000Z",
		"2026-01-01 10:11:12.5+02":                "2026-01-01T08:11:12.500Z",
		"2026-01-01 10:11:12 +0200":               "2026-01-01T08:11:12.000Z",
		"2026/1/2":                                "2026-01-02T00:00:00.000Z",
		"1/2/2026":                                "2026-01-02T00:00:00.000Z",
		"1/2/2026, 3:04:05 PM":                    "2026-01-02T15:04:05.000Z",
		"1/2/2026, 12:04 am":                      "2026-01-02T00:04:00.000Z",
		"Thu Jan 01 2026":                         "2026-01-01T00:00:00.000Z",
		"Thu Jan 01 2026 00:30:00 GMT+0100 (CET)": "2025-12-31T23:30:00.000Z",
		"Thu Jan 01 2026 00:30:00 GMT+0100 (Central (no))": "",
		"Thu, 01 Jan 2026 12:00:00 GMT":                    "2026-01-01T12:00:00.000Z",
		"Thursday, January 1, 2026 at noon":                "",
		"Jan 1, 2026":                                      "2026-01-01T00:00:00.000Z",
		"January 1, 2026 10:00 EST":                        "2026-01-01T15:00:00.000Z",
		"1 Jan 2026":                                       "2026-01-01T00:00:00.000Z",
		"01-Jan-2026 10:00 Z":                              "2026-01-01T10:00:00.000Z",
		"":                                                 "",
		"not a date":                                       "",
		"Thu":                                              "",
		"2026-13-01":                                       "",
		"2026-02-30T00:00:00Z":                             "2026-03-02T00:00:00.000Z",
		"2026-02-31T10:00:00+02:00":                        "2026-03-03T08:00:00.000Z",
		"2026/2/30":                                        "2026-03-02T00:00:00.000Z",
		"30 Feb 2026 10:00":                                "2026-03-02T10:00:00.000Z",
		"Thu, 30 Feb 2026 24:00:00 GMT":                    "2026-03-03T00:00:00.000Z",
		"2930-02-30":                                       "2930-03-02T00:00:00.000Z",
		"1290-02-29":                                       "1290-03-01T00:00:00.000Z",
		"2026-02-32T00:00:00Z":                             "",
		"2026-02-00":                                       "",
		"2026-01-01T24:00:00.000Z":                         "2026-01-02T00:00:00.000Z",
		"2026-01-01T24:00":                                 "2026-01-02T00:00:00.000Z",
		"2026-01-01T24:00:01Z":                             "",
		"2026-01-01T24:00:00.001Z":                         "",
		"2026-01-01T00:00:00,000Z":                         "",
		"2026-01-01T00:00:00,000+01:00":                    "",
		"+010000-01-01T00:00:00.000Z":                      "+010000-01-01T00:00:00.000Z",
		"+010000-02-30T24:00:00Z":                          "+010000-03-02T00:00:00.000Z",
		"+010000-01-01 10:00:00":                           "+010000-01-01T10:00:00.000Z",
		"+010000":                                          "+010000-01-01T00:00:00.000Z",
		"+002026-01-01T00:00:00.000Z":                      "2026-01-01T00:00:00.000Z",
		"-000001-01-01T00:00:00.000Z":                      "-000001-01-01T00:00:00.000Z",
		"-000000-01-01T00:00:00Z":                          "",
		"0000-01-01T00:00:00+14:00":                        "-000001-12-31T10:00:00.000Z",
		"+275760-09-13T00:00:00.000Z":                      "+275760-09-13T00:00:00.000Z",
		"+275760-09-13T00:00:00.001Z":                      "",
		"-271821-04-20T00:00:00.000Z":                      "-271821-04-20T00:00:00.000Z",
		"-271821-04-19T23:59:59.999Z":                      "",
		"13/13/2026":                                       "",
		"2026-01-01T25:00":                                 "",
		"10:00":                                            "",
		"2026-01-01T00:00:00.000Z and a word":              "",
	} {
		at, ok := parseDate(text)
		if got := iso(at); ok != (want != "") || ok && got != want {
			t.Errorf("%q is %s, %v; want %q", text, got, ok, want)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, text := range []string{"2026-01-01", "Thu Jan 01 2026 00:30:00 GMT+0100 (CET)", "1/2/2026, 3:04:05 PM", "(", "2026-01-01T00:00:00,000Z", "+010000-02-30T24:00Z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		row := fields{"createdAt": text, "deletesAt": text, "lastUsed": text}
		unknown := settleDates(row)
		at, ok := parseDate(str(row, "createdAt"))
		if !ok || !unknown && iso(at) != moment(row["createdAt"]) {
			t.Errorf("%q became %q", text, row["createdAt"])
		}
	})
}

// TestSnapshotOddValues names, at the backup, what an import would refuse or stumble over.
func TestSnapshotOddValues(t *testing.T) {
	row := func(was, is string) string {
		return `"files":[` + strings.Replace(fileRow("a", `"a"`, "1"), was, is, 1) + `]`
	}
	user := `{"id":"u","createdAt":"not a date","username":"ann","password":null,"avatar":null,"role":"USER","view":{},"totpSecret":null}`
	legal := strings.Replace(user, "not a date", "Thu Jan 01 2026", 1)
	for _, each := range []struct {
		name, member string
		want         []string
	}{
		{"no date of a user", `"users":[` + user + `]`, []string{"problem schema data.users[].createdAt"}},
		{"an empty date", `"users":[` + strings.Replace(user, "not a date", "", 1) + `]`, []string{"problem schema data.users[].createdAt"}},
		{"dates that JavaScript reads", `"users":[` + legal + `]`, []string{}},
		{"a day", row("2026-01-01T00:00:00.000Z", "2026-01-01"), []string{}},
		{"no date of deletion", row(`"deletesAt":null`, `"deletesAt":"soon"`), []string{"problem schema data.files[].deletesAt"}},
		{"a wide number", row(`"maxViews":null`, `"maxViews":5e9`), []string{"problem schema data.files[].maxViews"}},
		{"a size that is none", row(`"size":1`, `"size":1.5`), []string{"problem schema data.files[].size"}},
		{"a zero byte", row("text/plain", `text\u0000plain`), []string{"problem schema data.files[].type"}},
	} {
		t.Run(each.name, func(t *testing.T) {
			sink, _, err := snapshot(t, ziplineWith(exportOf(each.member)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(sink.short(), func(line string) bool { return !strings.Contains(line, " schema ") })
			if diff := cmp.Diff(each.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReplayDates restores rows whose dates are in other forms than Zipline's, or are none.
func TestReplayDates(t *testing.T) {
	b := sampleBed(t, "admin")
	b.edit("users", func(rows []map[string]any) []map[string]any {
		rows[1]["createdAt"], rows[2]["createdAt"] = "not a date", "Thu Jan 01 2026"
		return rows
	})
	b.edit("files", func(rows []map[string]any) []map[string]any {
		rows[0]["createdAt"], rows[1]["createdAt"], rows[2]["deletesAt"] = "2026-01-01", "", "Wed, 01 Jan 2098 12:00:00 GMT"
		rows[3]["createdAt"], rows[4]["createdAt"] = "2026-02-30T00:00:00.000Z", "2026-01-01T24:00:00.000Z"
		rows[5]["deletesAt"], rows[6]["deletesAt"] = "+010000-01-01T00:00:00.000Z", "+010000-01-31"
		return rows
	})
	b.edit("folders", func(rows []map[string]any) []map[string]any {
		rows[4]["name"] = "2025"
		rows[0]["createdAt"], rows[3]["createdAt"] = "no date", "2026-05-05 10:00:00+02"
		return rows
	})
	for attempt := range 2 {
		forecast, confirmation := b.must(nil)
		for what, found := range map[string][]app.Finding{"plan": forecast.Findings, "confirmation": confirmation.Findings} {
			if got := lines(found, app.Problem, "date"); len(got) != 3 && (what != "plan" || attempt == 0) {
				t.Errorf("the %s of attempt %d names %q", what, attempt, got)
			}
		}
		if got := lines(confirmation.Findings, app.Problem); len(got) != 3 {
			t.Errorf("problems: %q", got)
		}
		if got := b.stand(); !strings.HasPrefix(got, "users 4,") || !strings.Contains(got, "folders 8,") || !strings.Contains(got, "files 18,") {
			t.Errorf("the target holds %s", got)
		}
		if attempt > 0 && b.writes() != 0 {
			t.Errorf("the second run wrote %d times", b.writes())
		}
	}
	dates, ends := map[string]any{}, map[any]int{}
	for _, row := range b.targetRows()["files"] {
		ends[row["createdAt"]]++
		ends[row["deletesAt"]]++
	}
	for _, want := range []string{"2026-03-02T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "+010000-01-01T00:00:00.000Z", "+010000-01-31T00:00:00.000Z"} {
		if ends[want] != 1 {
			t.Errorf("%d files have the date %s", ends[want], want)
		}
	}
	for _, array := range []string{"users", "files", "folders"} {
		for _, row := range b.targetRows()[array] {
			dates[str(row, "username")+str(row, "name")] = row["createdAt"]
		}
	}
	for name, want := range map[string]string{
		"pavel": unknownDate, "kim": "2026-01-01T00:00:00.000Z", "Qm3vT1.mp4": "2026-01-01T00:00:00.000Z", "s8Yk2L.webm": unknownDate,
		"Photos": unknownDate, "Work": "2026-05-05T08:00:00.000Z",
	} {
		if dates[name] != want {
			t.Errorf("%s is of %v, want %s", name, dates[name], want)
		}
	}
}
