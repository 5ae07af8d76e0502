package standin_test

import (
	"net/http"
	"testing"
	"time"

	"lifeboat/internal/app/zipline/standin"
)

// TestFaults: each way in which a request can be cut, and what it leaves.
func TestFaults(t *testing.T) {
	body := wrap(altered(t, nil), `{}`)
	for name, test := range map[string]struct {
		fault standin.Fault
		rows  map[string]int
	}{
		"before":          {standin.Fault{Cut: standin.CutBefore}, map[string]int{"users": 1, "files": 0}},
		"no row":          {standin.Fault{Cut: standin.CutInside}, map[string]int{"users": 1, "files": 0}},
		"inside users":    {standin.Fault{Cut: standin.CutInside, Rows: 2}, map[string]int{"users": 3, "folders": 0}},
		"inside folders":  {standin.Fault{Cut: standin.CutInside, Rows: 3 + 1 + 4}, map[string]int{"users": 4, "userQuotas": 1, "folders": 4, "files": 0}},
		"inside files":    {standin.Fault{Cut: standin.CutInside, Rows: 3 + 1 + 7 + 2 + 5}, map[string]int{"folders": 7, "files": 5, "userTags": 0}},
		"before metrics":  {standin.Fault{Cut: standin.CutInside, Rows: 3 + 1 + 7 + 2 + 17 + 2 + 2 + 2}, map[string]int{"files": 17, "invites": 2, "metrics": 0}},
		"torn":            {standin.Fault{Cut: standin.CutTorn}, map[string]int{"files": 17, "metrics": 3}},
		"answer lost":     {standin.Fault{Cut: standin.CutAfter}, map[string]int{"files": 17, "metrics": 3}},
		"a proxy answers": {standin.Fault{Status: 502}, map[string]int{"users": 1, "files": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			i := start(t, standin.Options{Fault: standin.FailAt(2, test.fault)})
			i.want(200, "GET", "/api/user", nil)
			a, err := i.try("POST", importPath, body)
			if (err == nil) != (test.fault.Status != 0) || err == nil && a.status != test.fault.Status {
				t.Errorf("answer %d, %v", a.status, err)
			}
			data := i.data()
			for table, want := range test.rows {
				if len(data[table]) != want {
					t.Errorf("%d %s, want %d", len(data[table]), table, want)
				}
			}
			if i.server.Requests() != 2 {
				t.Errorf("%d requests", i.server.Requests())
			}
			i.want(200, "GET", "/api/user", nil)
		})
	}
}

// TestEveryRow: an import can be cut after each row, and ends where there are no more.
func TestEveryRow(t *testing.T) {
	body := wrap(altered(t, nil), `{}`)
	for rows := range 100 {
		i := start(t, standin.Options{Fault: standin.FailAt(1, standin.Fault{Cut: standin.CutInside, Rows: rows})})
		a, err := i.try("POST", importPath, body)
		if err != nil {
			continue
		}
		// users, quota, folders, parents, files, tags, URLs, invites, metrics; the answered import made no more
		if want := 3 + 1 + 7 + 2 + 17 + 2 + 2 + 2 + 1; rows != want || a.status != 200 {
			t.Errorf("%d rows and %d, want %d rows", rows, a.status, want)
		}
		return
	}
	t.Error("the import was never answered")
}

// TestRateLimits: one import in five seconds, with the headers and the refusal as recorded.
func TestRateLimits(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	i := start(t, standin.Options{Now: func() time.Time { return now }})
	body := wrap(altered(t, nil), `{}`)
	i.want(200, "POST", importPath, body)
	now = now.Add(4 * time.Second)
	like(t, i.do("POST", importPath, body), "", "04-login-ratelimited")
	i.server.Database().AddUser("other", "SUPERADMIN", "other")
	i.as("other").want(200, "POST", importPath, body) // by user
	i.want(200, "PATCH", "/api/server/settings", row{"filesLength": 7})
	if a := i.do("PATCH", "/api/server/settings", row{"filesLength": 8}); a.status != http.StatusTooManyRequests {
		t.Errorf("a second setting within a second: %d", a.status)
	}
	now = now.Add(time.Second)
	i.want(200, "POST", importPath, body)
	i.want(200, "PATCH", "/api/server/settings", row{"filesLength": 8})
	i.want(200, "POST", "/api/user/folders", row{"name": "one"})
	if a := i.do("POST", "/api/user/folders", row{"name": "two"}); a.status != 429 || a.header.Get("Retry-After") != "2" {
		t.Errorf("a second folder within two seconds: %d %v", a.status, a.header)
	}
	i.want(200, "GET", "/api/server/export", nil)
	i.want(200, "GET", "/api/server/export", nil)
}
