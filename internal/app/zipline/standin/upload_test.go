package standin_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app/zipline/standin"
)

// upload uploads one file.
func (i *instance) upload(header map[string]string, name, content string) answer {
	i.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename="%s"`, name)}, "Content-Type": {"text/plain"},
	})
	if err == nil {
		_, err = io.WriteString(part, content)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		i.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.url+"/api/upload", &b)
	if err != nil {
		i.t.Fatal(err)
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	if i.token != "" {
		request.Header.Set("Authorization", i.token)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		i.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, text}
}

type uploaded struct {
	Files []struct{ ID, Name, Type, URL string }
}

func TestUpload(t *testing.T) {
	folder := t.TempDir()
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	i := start(t, standin.Options{Datasource: folder, NoRateLimits: true, Now: func() time.Time { return now }})
	into := decode[row](t, i.want(200, "POST", "/api/user/folders", row{"name": " in here "}))
	if into["name"] != "in here" {
		t.Errorf("the folder is called %q", into["name"])
	}
	a := i.upload(map[string]string{
		"x-zipline-folder": into["id"].(string), "x-zipline-original-name": "true", "x-zipline-deletes-at": "1d", "x-zipline-max-views": "3",
	}, "über.tar.gz", "bytes of it")
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	made := decode[uploaded](t, a.body).Files[0]
	if object, err := os.ReadFile(filepath.Join(folder, made.Name)); err != nil || string(object) != "bytes of it" {
		t.Errorf("object %q, %v", object, err)
	}
	got := one(t, i.data()["files"], "id", made.ID)
	want := row{
		"id": made.ID, "createdAt": "2027-01-01T00:00:00.000Z", "deletesAt": "2027-01-02T00:00:00.000Z", "name": made.Name,
		"originalName": "über.tar.gz", "size": 11.0, "type": "text/plain", "views": 0.0, "maxViews": 3.0, "favorite": false,
		"password": nil, "userId": into["userId"], "folderId": into["id"],
	}
	if diff := gocmp.Diff(want, got); diff != "" || filepath.Ext(made.Name) != ".gz" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	if raw := i.do("GET", "/raw/"+made.Name, nil); string(raw.body) != "bytes of it" {
		t.Errorf("raw: %d %s", raw.status, raw.body)
	}
	if named := decode[uploaded](t, i.upload(map[string]string{"x-zipline-filename": "a%20name"}, "x.txt", "").body).Files[0].Name; named != "a name.txt" {
		t.Errorf("stored as %q", named)
	}
}

func TestUploadRefusals(t *testing.T) {
	folder := t.TempDir()
	i := start(t, standin.Options{Datasource: folder, NoRateLimits: true})
	i.server.Database().AddUser("kim", "USER", "kims")
	kim := i.as("kims")
	shut := decode[row](t, i.want(200, "POST", "/api/user/folders", row{"name": "shut"}))["id"].(string)
	open := decode[row](t, i.want(200, "POST", "/api/user/folders", row{"name": "open"}))["id"].(string)
	i.want(200, "PATCH", "/api/user/folders/"+open, row{"allowUploads": true})
	i.upload(map[string]string{"x-zipline-filename": "taken"}, "x.txt", "")
	i.want(200, "PATCH", "/api/server/settings", row{"filesMaxFileSize": "10b"})
	for name, test := range map[string]struct {
		who     *instance
		header  map[string]string
		content string
		status  int
	}{
		"someone else's folder": {kim, map[string]string{"x-zipline-folder": shut}, "", 403},
		"no such folder":        {i, map[string]string{"x-zipline-folder": "nope"}, "", 404},
		"nobody, shut":          {i.as(""), map[string]string{"x-zipline-folder": shut}, "", 403},
		"nobody, open":          {i.as(""), map[string]string{"x-zipline-folder": open}, "", 200},
		"nobody, no folder":     {i.as(""), nil, "", 401},
		"a taken name":          {i, map[string]string{"x-zipline-filename": "taken"}, "", 400},
		"a path":                {i, map[string]string{"x-zipline-filename": "../up"}, "", 400},
		"too large":             {i, nil, "eleven byte", 413},
		"partial":               {i, map[string]string{"content-range": "bytes 0-1/2"}, "", 400},
		"a date that is over":   {i, map[string]string{"x-zipline-deletes-at": "date=2001-01-01"}, "", 400},
	} {
		if a := test.who.upload(test.header, "x.txt", test.content); a.status != test.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, test.status)
		}
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 2 {
		t.Errorf("%d objects, want the two that were taken; %v", len(left), err)
	}
}

func TestQuota(t *testing.T) {
	i := start(t, standin.Options{Datasource: t.TempDir(), NoRateLimits: true})
	kim := i.server.Database().AddUser("kim", "USER", "kims")
	i.want(200, "PATCH", "/api/users/"+kim, row{"quota": row{"filesType": "BY_FILES", "maxFiles": 1}})
	for _, want := range []int{200, 413} {
		if a := i.as("kims").upload(nil, "x.txt", "12345"); a.status != want {
			t.Errorf("%d %s, want %d", a.status, a.body, want)
		}
	}
	i.want(200, "PATCH", "/api/users/"+kim, row{"quota": row{"filesType": "BY_BYTES", "maxBytes": "10b", "maxUrls": 2}})
	for _, want := range []int{200, 413} {
		if a := i.as("kims").upload(nil, "x.txt", "12345"); a.status != want {
			t.Errorf("%d %s, want %d", a.status, a.body, want)
		}
	}
	me := decode[struct{ User struct{ Quota row } }](t, i.as("kims").want(200, "GET", "/api/user", nil)).User.Quota
	if me["filesQuota"] != "BY_BYTES" || me["maxBytes"] != "10b" || me["maxFiles"] != nil || me["maxUrls"] != 2.0 {
		t.Errorf("quota %v", me)
	}
}

// TestUploadLimit: ten uploads and new URLs a minute, each, for a USER.
func TestUploadLimit(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	i := start(t, standin.Options{Datasource: t.TempDir(), Now: func() time.Time { return now }})
	i.server.Database().AddUser("kim", "USER", "kims")
	for n := range 11 {
		want := map[bool]int{true: 200, false: 429}[n < 10]
		if a := i.as("kims").upload(nil, "x.txt", ""); a.status != want {
			t.Errorf("upload %d: %d, want %d", n+1, a.status, want)
		}
		i.as("kims").want(want, "POST", "/api/user/urls", row{"destination": "https://example.org"})
		if a := i.upload(nil, "x.txt", ""); a.status != 200 {
			t.Errorf("upload %d of the SUPERADMIN: %d", n+1, a.status)
		}
	}
	now = now.Add(time.Minute)
	if a := i.as("kims").upload(nil, "x.txt", ""); a.status != 200 {
		t.Errorf("a minute later: %d", a.status)
	}
}
