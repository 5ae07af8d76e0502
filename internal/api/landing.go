package api

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/plain"
	"lifeboat/internal/vault"
)

const (
	downloadTTL = 15 * time.Minute // of a presigned URL
	maxForm     = 4 << 10          // bytes
	maxShown    = 120              // characters of a stranger's text
	maxCounts   = 30
)

//go:embed *.html.tmpl
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "*.html.tmpl"))

// view is what a page shows.
type view struct {
	Title   string
	Root    string // relative way to the root
	Problem *problem
	Rows    []row
	File    string // of an archive that is one file
	Size    string
	Volumes []volume // of a split one
	Few     string   // the link starts fewer downloads than there are volumes
	Expires string
	Nonce   string
	Code    bool
	Backup  backup.ID
}

type row struct{ Label, Value string }

type volume struct {
	Number            int
	File, Size, CRC32 string
}

// opened is a link with what it leads to.
type opened struct {
	token  string
	state  link.State
	record catalog.Record
}

// files returns what can be downloaded: the archive, or its volumes.
func (o opened) files() []catalog.Volume { return o.record.Archive.Files() }

// name is under which name a browser saves a file: photos-20261121T020000Z-abcdef.zip, or ….v001.zip.
func (o opened) name(f catalog.Volume) string {
	return fmt.Sprintf("%s-%s", o.state.Source, path.Base(f.Key))
}

// chosen returns the file that a form asks for: the only one, or the volume that it names.
func (o opened) chosen(number string) (catalog.Volume, bool) {
	files := o.files()
	if number == "" && len(files) == 1 {
		return files[0], true
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(files) {
		return catalog.Volume{}, false
	}
	return files[n-1], true
}

// landing shows what the link leads to. It changes nothing.
func (s *server) landing(w http.ResponseWriter, r *http.Request) {
	o, err := s.open(r)
	if err != nil {
		s.failGone(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, o, nil)
}

// mint starts a download.
func (s *server) mint(w http.ResponseWriter, r *http.Request) {
	if err := s.crossOrigin(r); err != nil {
		s.explain(w, r, problem{
			Status: http.StatusForbidden, Kind: failure.Denied, Title: "Not from here",
			Message: "The form was sent from another site.", Hint: "open the link from the mail and press the button there",
		})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.explain(w, r, problem{Status: http.StatusBadRequest, Kind: failure.Usage, Title: "Not a form", Message: "What was sent is no form of this page."})
		return
	}
	o, err := s.open(r)
	if err != nil {
		s.failGone(w, r, err)
		return
	}
	if !s.nonceValid(o.token, r.PostForm.Get("nonce")) {
		s.show(w, r, http.StatusForbidden, o, &problem{
			Status: http.StatusForbidden, Kind: failure.Denied, Title: "Page too old",
			Message: "This page was open for too long.", Hint: "press the button again",
		})
		return
	}
	file, ok := o.chosen(r.PostForm.Get("volume"))
	if !ok {
		s.show(w, r, http.StatusBadRequest, o, &problem{
			Status: http.StatusBadRequest, Kind: failure.Usage, Title: "Which volume?",
			Message: fmt.Sprintf("The archive has %s; the form names none of them.", plain.Count(int64(len(o.files())), "volume")),
			Hint:    "press the button of one of them",
		})
		return
	}
	s.redirect(w, r, o, file)
}

// redirect counts the download and sends the browser there. The URL is made first: what can fail fails uncounted.
func (s *server) redirect(w http.ResponseWriter, r *http.Request, o opened, file catalog.Volume) {
	location, err := s.location(r.Context(), o, file)
	if err != nil {
		s.failGone(w, r, err)
		return
	}
	if _, err := s.Links.Mint(r.Context(), o.token, r.PostForm.Get("code")); err != nil {
		if p := problemOf(err); p.Status == http.StatusForbidden {
			s.show(w, r, p.Status, o, &p)
			return
		}
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Location", location) // relative to the page where we proxy, which http.Redirect would resolve
	w.WriteHeader(http.StatusSeeOther)
}

// open looks up the link, the record and the archive of a request.
func (s *server) open(r *http.Request) (opened, error) {
	token := r.PathValue("token")
	state, err := s.Links.Lookup(r.Context(), token)
	if err != nil {
		return opened{}, err
	}
	o := opened{token: token, state: state}
	if o.record, err = s.Records.Record(r.Context(), state.Source, state.Backup); err != nil {
		return opened{}, gone(err, "backup")
	}
	if !o.record.Status.Good() {
		return opened{}, &goneError{"archive"}
	}
	files := o.files()
	if len(files) == 0 {
		return opened{}, &unmadeError{o.record}
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Key, archives) {
			return opened{}, &goneError{"archive"}
		}
	}
	if _, err := s.Vault.Head(r.Context(), vault.Key(files[0].Key)); err != nil {
		return opened{}, gone(err, "archive")
	}
	return o, nil
}

// unmadeError is a true link to a backup that keeps no archive now. It can be made.
type unmadeError struct{ record catalog.Record }

func (u *unmadeError) Error() string {
	if expired := u.record.Archive.Expired; !expired.IsZero() {
		return "no archive of this backup is kept any more: it expired on " + clock(expired)
	}
	return "no archive of this backup is kept: it is made on demand"
}

// goneError is a true link to something that was removed.
type goneError struct{ what string }

func (g *goneError) Error() string { return "the " + g.what + " is not in the vault any more" }

func gone(err error, what string) error {
	if failure.KindOf(err) == failure.NotFound {
		return &goneError{what}
	}
	return err
}

func (s *server) failGone(w http.ResponseWriter, r *http.Request, err error) {
	if u, ok := errors.AsType[*unmadeError](err); ok {
		s.explain(w, r, problem{
			Status: http.StatusGone, Kind: failure.NotFound, Title: "No archive at the moment", Message: sentence(u.Error()),
			Hint: fmt.Sprintf("on the machine that runs lifeboat, `lifeboat archive %s` makes it; then open this link again", u.record.ID),
		})
		return
	}
	if g, ok := errors.AsType[*goneError](err); ok {
		s.explain(w, r, problem{
			Status: http.StatusGone, Kind: failure.NotFound, Title: "Not there any more",
			Message: sentence(g.Error()), Hint: "`lifeboat list` shows what there is",
		})
		return
	}
	s.fail(w, r, err)
}

// location is where the bytes of a file come from: a presigned URL, or the way through our proxy.
func (s *server) location(ctx context.Context, o opened, file catalog.Volume) (string, error) {
	if _, err := s.Vault.Head(ctx, vault.Key(file.Key)); err != nil {
		return "", gone(err, "file "+o.name(file))
	}
	presigned, err := s.Vault.Presign(ctx, vault.Key(file.Key), o.name(file), downloadTTL)
	if err != nil || s.endpoint == nil {
		return presigned, err
	}
	return s.proxied(presigned)
}

// formTarget is where the form of a page may lead.
func (s *server) formTarget(ctx context.Context, o opened) (string, error) {
	if s.endpoint != nil {
		return "'self'", nil
	}
	presigned, err := s.Vault.Presign(ctx, vault.Key(o.files()[0].Key), "archive.zip", time.Minute)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(presigned)
	if err != nil {
		return "", failure.New(failure.Internal, "the vault's presigned URL is none")
	}
	return "'self' " + u.Scheme + "://" + u.Host, nil
}

// show renders the landing page, with a problem above the form where there is one.
func (s *server) show(w http.ResponseWriter, r *http.Request, status int, o opened, p *problem) {
	if p != nil && wantsJSON(r) {
		s.explain(w, r, *p)
		return
	}
	target, err := s.formTarget(r.Context(), o)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Security-Policy", policy(target))
	v := view{
		Title: "Backup of " + string(o.state.Source), Root: root(r), Problem: p, Rows: rows(o), Expires: clock(o.state.Expires),
		Nonce: s.nonce(o.token), Code: o.state.NeedsCode, Backup: o.state.Backup,
	}
	v.offer(o)
	s.render(w, status, "landing", v)
}

// offer lists what there is to download.
func (v *view) offer(o opened) {
	files := o.files()
	if len(files) == 1 {
		v.File, v.Size = o.name(files[0]), plain.Size(files[0].Bytes)
		return
	}
	for i, f := range files {
		v.Volumes = append(v.Volumes, volume{i + 1, o.name(f), plain.ExactSize(f.Bytes), plain.Short(f.CRC32, maxShown)})
	}
	if left := o.state.MaxMints - o.state.Mints; left < len(files) {
		v.Few = fmt.Sprintf("This link still starts %s.", plain.Count(int64(max(0, left)), "download"))
	}
}

func (s *server) render(w http.ResponseWriter, status int, page string, v view) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, page, v); err != nil {
		s.Log.Error("render page", "page", page, "error", err.Error())
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

func clock(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

func rows(o opened) []row {
	r := o.record
	list := []row{{"Source", plain.Short(string(r.Source), maxShown)}}
	add := func(label, value string) {
		if value != "" {
			list = append(list, row{label, value})
		}
	}
	add("Application", plain.Short(strings.TrimSpace(r.Facts.Application+" "+r.Facts.Version), maxShown))
	add("Name", plain.Short(r.Name, maxShown))
	add("Made", clock(r.Started))
	add("Status", status(r))
	add("Contents", plain.Counts(r.Facts.Counts, maxCounts))
	add("Files", plain.Count(int64(r.Documents), "document")+", "+plain.Count(int64(r.Objects), "object"))
	if files := o.files(); len(files) == 1 {
		add("Archive", o.name(files[0]))
		add("CRC-32", plain.Short(files[0].CRC32, maxShown))
	} else {
		add("Archive", plain.Count(int64(len(files)), "volume")+", each a ZIP of its own")
	}
	add("Size", plain.ExactSize(r.Archive.Bytes))
	add("Manifest SHA-256", plain.Short(r.Manifest.SHA256, maxShown))
	add("Proof", proof(r))
	add("Secrets", secrets(r.Secrets))
	add("Link expires", clock(o.state.Expires))
	return list
}

func status(r catalog.Record) string {
	if r.Status == backup.Partial {
		return "partial, with " + plain.Count(int64(r.ProblemsTotal), "problem") + "; `lifeboat show " + string(r.ID) + "` lists them"
	}
	return string(r.Status)
}

func proof(r catalog.Record) string {
	text := map[backup.Proof]string{
		backup.Unproven: "not yet",
		backup.Stored:   "stored: the store's own checksum equals the one derived from the pieces",
		backup.ReRead:   "re-read: every byte was read again and matched",
		backup.Drilled:  "drilled: restored into a throw-away target and compared",
	}[r.Proof]
	if r.Proof != backup.Unproven && !r.Proven.IsZero() {
		text += ", on " + clock(r.Proven)
	}
	return text
}

func secrets(yes bool) string {
	if yes {
		return "yes: passwords, tokens or keys are in it; keep it safe"
	}
	return "no"
}
