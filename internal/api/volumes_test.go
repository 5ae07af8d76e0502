package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/link"
	"lifeboat/internal/vault"
)

// split makes the archive of the world's backup one of n volumes, which say their number.
func (w *world) split(n int) {
	w.t.Helper()
	a := catalog.Archive{Split: 64 << 20}
	for i := range n {
		text := fmt.Sprintf("PK volume %d", i+1)
		key := vault.ArchiveVolume(source, id, i+1)
		if _, err := w.vault.Put(w.t.Context(), key, []byte(text), vault.IfAbsent()); err != nil {
			w.t.Fatal(err)
		}
		a.Volumes = append(a.Volumes, catalog.Volume{Key: string(key), Bytes: int64(len(text)) + int64(i)*1_000_000, CRC32: fmt.Sprintf("%08x", i+1)})
		a.Bytes += a.Volumes[i].Bytes
	}
	a.Key, a.CRC32 = a.Volumes[0].Key, a.Volumes[0].CRC32
	w.records.record.Archive = a
}

func TestVolumesPage(t *testing.T) {
	w := newWorld(t, false)
	w.split(3)
	token := w.issue(link.Options{NeedsCode: true})
	answer := w.do("GET", "/l/"+token, nil)
	page := answer.Body.String()
	if answer.Code != 200 {
		t.Fatalf("%d\n%s", answer.Code, page)
	}
	for i, size := range []string{"11 bytes", "1.0 MB (1,000,011 bytes)", "2.0 MB (2,000,011 bytes)"} {
		for _, want := range []string{
			fmt.Sprintf(`name="volume" value="%d"`, i+1), fmt.Sprintf("photos-%s.v%03d.zip", id, i+1), fmt.Sprintf("%08x", i+1), size,
		} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	}
	if strings.Count(page, "<button") != 3 || strings.Count(page, `name="code"`) != 1 || strings.Count(page, `name="nonce"`) != 1 || strings.Contains(page, "makes another link") {
		t.Errorf("the form is\n%s", page)
	}
	for _, bad := range []string{"X-Amz", "archives/", "style=", token} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	want := "default-src 'none'; style-src 'self'; form-action 'self' " + w.store + "; base-uri 'none'; frame-ancestors 'none'"
	if got := answer.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %s", got)
	}
}

func TestMintVolume(t *testing.T) {
	w := newWorld(t, false)
	w.split(3)
	token := w.issue(link.Options{NeedsCode: true})
	nonce, code := w.nonce(token), w.links.Code(source, id)
	for i := range 3 {
		answer := w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}, "code": {code}, "volume": {fmt.Sprint(i + 1)}})
		location, err := url.Parse(answer.Header().Get("Location"))
		if answer.Code != 303 || err != nil || location.Path != fmt.Sprintf("/vault/archives/photos/%s.v%03d.zip", id, i+1) {
			t.Fatalf("volume %d: %d %s", i+1, answer.Code, answer.Header())
		}
		if got, want := location.Query().Get("response-content-disposition"), fmt.Sprintf(`attachment; filename="photos-%s.v%03d.zip"`, id, i+1); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if state := w.state(token); state.Mints != i+1 {
			t.Errorf("%d downloads are counted as %d", i+1, state.Mints)
		}
	}
	for _, number := range []string{"", "0", "4", "-1", "1x", "999999999999999999999"} {
		answer := w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}, "code": {code}, "volume": {number}})
		if answer.Code != 400 || answer.Header().Get("Location") != "" || !strings.Contains(answer.Body.String(), "3 volumes") {
			t.Errorf("volume %q: %d", number, answer.Code)
		}
	}
	answer := w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}, "code": {"AAAA-AAAA"}, "volume": {"2"}})
	if answer.Code != 403 || !strings.Contains(answer.Body.String(), "9 more wrong codes") || strings.Count(answer.Body.String(), "<button") != 3 {
		t.Errorf("a wrong code: %d\n%s", answer.Code, answer.Body)
	}
	if err := w.vault.Delete(t.Context(), vault.ArchiveVolume(source, id, 2)); err != nil {
		t.Fatal(err)
	}
	answer = w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}, "code": {code}, "volume": {"2"}})
	if answer.Code != 410 || !strings.Contains(answer.Body.String(), "v002.zip is not in the vault any more") {
		t.Errorf("a volume that is gone: %d\n%s", answer.Code, answer.Body)
	}
	if state := w.state(token); state.Mints != 3 {
		t.Errorf("%d mints", state.Mints)
	}
}

// TestMoreVolumesThanDownloads: a link that cannot start all downloads says so, and how to go on.
func TestMoreVolumesThanDownloads(t *testing.T) {
	w := newWorld(t, false)
	w.split(link.MaxMints + 2)
	token := w.issue(link.Options{})
	if page := w.do("GET", "/l/"+token, nil).Body.String(); !strings.Contains(page, "This link still starts 20 downloads.") || !strings.Contains(page, "makes another link") {
		t.Errorf("%s", page)
	}
	for n := range link.MaxMints {
		if answer := w.do("POST", "/l/"+token, url.Values{"nonce": {w.nonce(token)}, "volume": {fmt.Sprint(n + 1)}}); answer.Code != 303 {
			t.Fatalf("%d: %d", n, answer.Code)
		}
	}
	if answer := w.do("GET", "/l/"+token, nil); answer.Code != 429 {
		t.Errorf("%d", answer.Code)
	}
}

func TestVolumeThroughProxy(t *testing.T) {
	w := newWorld(t, true)
	w.split(2)
	front := httptest.NewServer(w.handler)
	defer front.Close()
	token := w.issue(link.Options{})
	client := front.Client()
	answer, err := client.PostForm(front.URL+"/l/"+token, url.Values{"nonce": {w.nonce(token)}, "volume": {"2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || string(body) != "PK volume 2" {
		t.Errorf("%d %q, %v", answer.StatusCode, body, err)
	}
}

// TestNoArchive: a true link to a backup that keeps no archive says what the owner has to do, and works once it is done.
func TestNoArchive(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{})
	nonce := w.nonce(token)
	kept := w.records.record.Archive
	volumes := []catalog.Volume{{Key: string(vault.ArchiveVolume(source, id, 1))}, {Key: string(vault.ArchiveVolume(source, id, 2))}}
	for want, archive := range map[string]catalog.Archive{
		"it is made on demand":                      {},
		"it expired on 20 November 2026, 01:00 UTC": {Expired: time.Date(2026, 11, 20, 1, 0, 0, 0, time.UTC), Bytes: 5, CRC32: "01234567"},
		"it expired on 19 November 2026, 01:00 UTC": {Expired: time.Date(2026, 11, 19, 1, 0, 0, 0, time.UTC), Split: 5, Volumes: volumes},
	} {
		w.records.record.Archive = archive
		get := w.do("GET", "/l/"+token, nil)
		post := w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}})
		for _, answer := range []*httptest.ResponseRecorder{get, post} {
			page := answer.Body.String()
			if answer.Code != http.StatusGone || !strings.Contains(page, want) || !strings.Contains(page, "lifeboat archive "+string(id)) || strings.Contains(page, "<button") {
				t.Errorf("%d\n%s", answer.Code, page)
			}
		}
		if json := w.do("POST", "/l/"+token, url.Values{"nonce": {nonce}}, "Accept", "application/json"); json.Code != http.StatusGone || !strings.Contains(json.Body.String(), `"kind":"not found"`) {
			t.Errorf("%d %s", json.Code, json.Body)
		}
	}
	if state := w.state(token); state.Mints != 0 {
		t.Errorf("%d mints of nothing", state.Mints)
	}
	if strings.Contains(w.log.String(), `"level":"ERROR"`) {
		t.Errorf("the log is\n%s", w.log.String())
	}
	w.records.record.Archive = kept
	if answer := w.do("POST", "/l/"+token, url.Values{"nonce": {w.nonce(token)}}); answer.Code != 303 {
		t.Errorf("it was made: %d", answer.Code)
	}
	w.records.record.Archive = catalog.Archive{Key: "vault.json"}
	if answer := w.do("GET", "/l/"+token, nil); answer.Code != 410 {
		t.Errorf("no archive's key: %d", answer.Code)
	}
	w.records.record.Status = backup.Deleting
	if answer := w.do("GET", "/l/"+token, nil); answer.Code != 410 {
		t.Errorf("being deleted: %d", answer.Code)
	}
}
