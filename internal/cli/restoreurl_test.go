package cli

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// shelf serves archives: ranged below /ranged/, without a length below /endless/, and breaking off once in the middle
// below /broken/.
func shelf(files map[string][]byte) http.Handler {
	var broke, busy atomic.Bool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		how, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		data, ok := files[name]
		switch {
		case !ok:
			http.NotFound(w, r)
		case how == "page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
		case how == "endless":
			w.(http.Flusher).Flush()
			_, _ = w.Write(data)
		case how == "busy" && !busy.Swap(true):
			w.WriteHeader(http.StatusServiceUnavailable)
		case how == "broken" && !broke.Swap(true):
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("ETag", `"one"`)
			http.ServeContent(w, r, name, time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), bytes.NewReader(data))
		}
	})
}

const secretQuery = "?X-Amz-Signature=hunter2hunter2"

// TestRestoreURL restores archives from a server that is allowed, by http and by https, and says one sentence about what
// is none, and about every server that is not allowed.
func TestRestoreURL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	p.inside("download", "latest", "-q", "-o", p.path("photos.zip")).exits(0)
	p.zipOf("foreign.zip", append([]string{"zipline-export-1764000000.json", string(p.instance.Export())}, p.uploadsOf(p.path("uploads"))...)...)
	files := map[string][]byte{"photos.zip": p.read("photos.zip"), "foreign.zip": p.read("foreign.zip"), "none.zip": []byte("no archive at all, but text")}
	plain, secure := httptest.NewServer(shelf(files)), httptest.NewTLSServer(shelf(files))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	p.write("lifeboat.yaml", string(p.read("lifeboat.yaml"))+"fetch: {allow: [\""+plain.URL+"\", \""+secure.URL+"\"]}\n")
	g := p.goal("fresh", empty("nora"))

	t.Run("nothing is written of what is refused", func(t *testing.T) {
		p := p.of(t)
		stranger := httptest.NewServer(shelf(files))
		t.Cleanup(stranger.Close)
		for _, c := range []struct {
			url  string
			code int
			text string
		}{
			{stranger.URL + "/ranged/photos.zip", 12, "not allowed, or nothing answers there as it should"},
			{strings.Replace(stranger.URL, "http:", "https:", 1) + "/ranged/photos.zip", 12, "not allowed, or nothing answers there as it should"},
			{"http://127.0.0.1:1/photos.zip", 12, "not allowed, or nothing answers there as it should"},
			{"https://169.254.169.254/latest/meta-data/", 12, "not allowed, or nothing answers there as it should"},
			{plain.URL + "/ranged/nothing.zip", 10, "answers with status 404"},
			{plain.URL + "/page/photos.zip", 0, ""},
			{plain.URL + "/ranged/none.zip", 0, ""},
		} {
			for _, to := range []string{"fresh", "dir:" + p.path("never")} {
				r := p.inside("restore", c.url+secretQuery, "--to", to, "-v")
				if c.code == 0 && (r.code == 13 || r.code == 16) {
					c.code = r.code
				}
				if strings.Contains(r.err+r.out, "hunter2") || strings.Contains(r.err+r.out, "X-Amz") {
					t.Errorf("the query of %s is in the output:\n%s%s", c.url, r.out, r.err)
				}
				p.inside("restore", c.url+secretQuery, "--to", to, "-q").complains(c.code, c.text)
			}
		}
		g.untouched(t)
		if _, err := os.Stat(p.path("never")); err == nil {
			t.Error("a folder was made")
		}
		p.inside("restore", plain.URL+"/ranged/foreign.zip"+secretQuery, "--to", "fresh", "-q").complains(12, "nobody signed it", "--trust")
		p.inside("restore", "ftp://example.org/x.zip", "--to", "fresh", "-q").complains(12)
		g.untouched(t)
		if all := p.inside("restores", "--json").exits(0); strings.Contains(all.out, "hunter2") {
			t.Errorf("a record holds the query:\n%s", all.out)
		}
	})
	for _, how := range []string{"ranged", "endless", "broken"} {
		t.Run(how, func(t *testing.T) {
			p := p.of(t)
			m := p.restoreOf(0, plain.URL+"/"+how+"/photos.zip"+secretQuery, "--to", "dir:"+p.path(how))
			if m.URL != plain.URL+"/"+how+"/photos.zip" || m.Written != 21 || m.Signature != "authenticated" || m.Steps[0].Step != "fetch" {
				t.Errorf("%+v", m)
			}
			if string(p.read(how+"/uploads/README.md")) != string(p.read("uploads/README.md")) {
				t.Error("README.md is another one")
			}
		})
	}
	p.restoreOf(0, plain.URL+"/ranged/foreign.zip"+secretQuery, "--to", "fresh", "--trust")
	sameTables(t, exportRows(t, p.instance.Export()).tables("nora"), renamedSample(g.rows(t).tables("nobody")), "users")

	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	p.write("roots.pem", string(certificate))
	asked := p.inside("restore", plain.URL+"/busy/photos.zip"+secretQuery, "--to", "dir:"+p.path("busy"), "-q").exits(0).
		says("lifeboat: warning: ", "it is asked again for a while")
	if strings.Contains(asked.err, "hunter2") {
		t.Error(asked.err)
	}
	p.run("restore", secure.URL+"/ranged/photos.zip", "--to", "dir:untrusted", "-q").complains(12, "not allowed, or nothing answers there as it should")
	p.env = append(p.env, "SSL_CERT_FILE="+p.path("roots.pem"))
	p.run("restore", secure.URL+"/ranged/photos.zip", "--to", "dir:secure", "-q").exits(0)
	p.inside("restore", plain.URL+"/ranged/photos.zip", "--to", "dir:"+p.path("dry"), "--dry-run", "-q").exits(0)
	if left, _ := filepath.Glob(p.path("vault/buckets/vault/incoming/*")); len(left) > 0 {
		t.Errorf("left of what was fetched: %v", left)
	}
}

// uploadsOf returns pairs for zipOf: the files of a folder, below uploads/.
func (p *place) uploadsOf(folder string) []string {
	p.Helper()
	var pairs []string
	entries, err := os.ReadDir(folder)
	if err != nil {
		p.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			p.Fatal(err)
		}
		pairs = append(pairs, "uploads/"+entry.Name(), string(data))
	}
	return pairs
}
