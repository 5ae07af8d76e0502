package zipline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lifeboat/internal/failure"
)

const (
	// maxListing bounds the answer that lists folders or files, in bytes.
	maxListing = 512 << 20
	// maxFolderWaits bounds how often one request waits for a rate limit; each wait is bounded by maxWait.
	maxFolderWaits = 10
	// deadlineMargin is what must be left of a deadline for something to be begun.
	deadlineMargin = 30 * time.Second
)

// folderUser is the user of a token.
type folderUser struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Quota    *struct {
		FilesQuota string `json:"filesQuota"`
		MaxBytes   string `json:"maxBytes"`
		MaxFiles   *int64 `json:"maxFiles"`
	} `json:"quota"`
}

// folderRow is a folder as the API shows it.
type folderRow struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Public  bool    `json:"public"`
	Uploads bool    `json:"allowUploads"`
	Parent  *string `json:"parentId"`
	UserID  string  `json:"userId"`
	Created string  `json:"createdAt"`
}

// fileOnTarget is a file as the API shows it.
type fileOnTarget struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Original  *string `json:"originalName"`
	Size      int64   `json:"size"`
	Type      string  `json:"type"`
	Favorite  bool    `json:"favorite"`
	MaxViews  *int64  `json:"maxViews"`
	DeletesAt *string `json:"deletesAt"`
	Created   string  `json:"createdAt"`
}

// valueOf returns what p points to; the zero value for null.
func valueOf[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

func (t *FolderTarget) get(ctx context.Context, doing, path, query string, into any) error {
	return t.call(ctx, doing, http.MethodGet, path, query, nil, into)
}

// call sends one request with a JSON body, or none, and decodes its answer. It waits for a rate limit. Without an
// answer it is Transient, and nobody knows whether it was done.
func (t *FolderTarget) call(ctx context.Context, doing, method, path, query string, body, into any) error {
	request, err := t.client.repeatable(ctx, method, path, query, body, t.options.Timeout)
	if err != nil {
		return err
	}
	return t.patiently(ctx, doing, into, request)
}

// patiently sends a request, again after a rate limit, and decodes its answer.
func (t *FolderTarget) patiently(ctx context.Context, doing string, into any, send func() (*http.Response, error)) error {
	for waited := 0; ; waited++ {
		answer, err := send()
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if answer.StatusCode == http.StatusOK && !isPage(answer.Header) {
			return t.decode(doing, answer, into)
		}
		said := t.client.errorBody(answer)
		if answer.StatusCode != http.StatusTooManyRequests || waited == maxFolderWaits {
			return refusal(doing, answer, said)
		}
		pause := t.client.retryAfter(answer.Header)
		if end, limited := ctx.Deadline(); limited && time.Until(end) < pause+time.Second {
			return errSoon
		}
		if err := t.client.sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait for Zipline's rate limit: %w", err)
		}
	}
}

func (t *FolderTarget) decode(doing string, answer *http.Response, into any) error {
	defer answer.Body.Close()
	broken := false
	body := readerFunc(func(p []byte) (int, error) {
		n, err := answer.Body.Read(p)
		broken = broken || err != nil && err != io.EOF
		return n, err
	})
	err := json.NewDecoder(io.LimitReader(body, maxListing)).Decode(into)
	switch {
	case err == nil:
		return nil
	case broken || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return failure.New(failure.Transient, "%s: the connection to %s broke during the answer", doing, t.client.base.Host).WithHint("run again")
	}
	return failure.New(failure.Invalid, "%s: the answer is not one of Zipline's", doing).
		WithHint("check that the target's url is that of Zipline itself, without a path")
}

// Codes of Zipline's errors that have a meaning of their own here.
const (
	codeTooLarge = 5001
	codeQuota    = 5002
)

// errRefuses is in the tree of the error where Zipline has answered and refuses; errQuota where its quota is used up,
// so that nothing else would be taken either.
var (
	errRefuses = errors.New("Zipline refuses")
	errQuota   = errors.New("Zipline refuses, for the quota is used up")
)

// refusal maps an answer that is no success to an error.
func refusal(doing string, answer *http.Response, body []byte) error {
	var said complaint
	_ = json.Unmarshal(body, &said) // no JSON: it says nothing
	page := isPage(answer.Header) || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
	kind, hint := failure.Invalid, "lifeboat knows Zipline 4.4.2 to 4.6.3: check the version, and look into Zipline's log"
	switch status := answer.StatusCode; {
	case said.Code == codeTooLarge || status == http.StatusRequestEntityTooLarge:
		kind, hint = failure.Exhausted, "raise the limit in Zipline's settings, and that of the proxy in front of it"
	case said.Code == codeQuota:
		kind, hint = failure.Exhausted, "raise the quota of the token's user in Zipline"
	case status == 401:
		kind, hint = failure.Denied, "put the token of the user who is to own the folder into the target's settings, bare, without “Bearer”"
	case status == 403:
		kind, hint = failure.Denied, "use the token of the user who owns the folder in the target"
	case status == 404 && !page:
		kind, hint = failure.NotFound, "look whether it is still there in Zipline"
	case status == 429:
		kind, hint = failure.Transient, "Zipline's rate limit does not end: run again later"
	case status >= 500:
		kind, hint = failure.Transient, "look into Zipline's log, then run again"
	case page:
		hint = "check that the target's url is that of Zipline itself, without a path, and that no proxy asks for a login"
	}
	why := errRefuses
	if said.Code == codeQuota {
		why = errQuota
	}
	return failure.New(kind, "%s: %w (%s)", doing, why, quote(said.Error, answer)).WithHint("%s", hint)
}

// folders lists the folders of the token's user, oldest first.
func (t *FolderTarget) folders(ctx context.Context) ([]*folderRow, error) {
	var rows []*folderRow
	if err := t.get(ctx, "list the target's folders", "/api/user/folders", "noincl=true", &rows); err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(f *folderRow) bool { return f == nil })
	slices.Reverse(rows) // they come newest first
	slices.SortStableFunc(rows, func(a, b *folderRow) int { return cmp.Compare(a.Created, b.Created) })
	return rows, nil
}

// filesIn lists the files of one folder, oldest first.
func (t *FolderTarget) filesIn(ctx context.Context, id string) ([]*fileOnTarget, error) {
	var folder struct {
		Files []*fileOnTarget `json:"files"`
	}
	if err := t.get(ctx, "list the files of a folder of the target", "/api/user/folders/"+escape(id), "", &folder); err != nil {
		return nil, err
	}
	folder.Files = slices.DeleteFunc(folder.Files, func(f *fileOnTarget) bool { return f == nil })
	slices.SortStableFunc(folder.Files, func(a, b *fileOnTarget) int { return cmp.Compare(a.Created, b.Created) })
	return folder.Files, nil
}

// sent is the answer to an upload.
type sent struct {
	Files []struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"files"`
}

// post uploads one file into a folder under a name, streaming it from open. Each attempt opens it anew. It returns the
// file's id and the type that it got.
func (t *FolderTarget) post(ctx context.Context, u *upload, folder, name, expiry string, open func() (io.ReadCloser, error)) (id, kind string, err error) {
	var answer sent
	doing := fmt.Sprintf("upload %q", shorten(u.Path))
	var ours error // of the backup, not of the target
	err = t.patiently(ctx, doing, &answer, func() (*http.Response, error) {
		body, err := open()
		if err != nil {
			ours = err
			return nil, err
		}
		content := &exactly{body: body, size: u.size, left: u.size}
		answer, err := t.stream(ctx, u, folder, name, expiry, content)
		ours = content.end()
		return answer, err
	})
	switch {
	case ours != nil:
		return "", "", fmt.Errorf("read %q of the backup: %w", shorten(u.Path), ours)
	case err != nil:
		return "", "", err
	case len(answer.Files) != 1 || answer.Files[0].ID == "":
		return "", "", failure.New(failure.Invalid, "%s: the answer is not one of Zipline's", doing).WithHint("look whether the file is in Zipline, then run again")
	}
	return answer.Files[0].ID, answer.Files[0].Type, nil
}

// stream sends one upload and returns the answer. The server may take as long as it takes bytes, and then the time of
// an export for storing them.
func (t *FolderTarget) stream(ctx context.Context, u *upload, folder, name, expiry string, content io.Reader) (*http.Response, error) {
	head, tail, boundary := frame(name, u.Type)
	sending, cancel := context.WithCancel(ctx)
	var expired atomic.Bool
	watch := time.AfterFunc(t.client.idle, func() {
		expired.Store(true)
		cancel()
	})
	end := func() { watch.Stop(); cancel() }
	body := readerFunc(func(p []byte) (int, error) {
		n, err := content.Read(p)
		watch.Reset(t.client.idle)
		if err == io.EOF {
			watch.Reset(t.options.ExportTimeout)
		}
		return n, err
	})
	request, err := http.NewRequestWithContext(sending, http.MethodPost, t.client.base.JoinPath("/api/upload").String(),
		io.NopCloser(io.MultiReader(strings.NewReader(head), body, strings.NewReader(tail))))
	if err != nil {
		end()
		return nil, fmt.Errorf("ask Zipline: %w", err)
	}
	request.ContentLength = int64(len(head)) + u.size + int64(len(tail))
	headers := map[string]string{
		"Authorization": t.client.token.Reveal(), "Accept": "application/json", "User-Agent": "lifeboat",
		"Content-Type": "multipart/form-data; boundary=" + boundary, "x-zipline-folder": folder,
		"x-zipline-original-name": "true", "x-zipline-format": "random", "x-zipline-deletes-at": expiry,
	}
	if u.MaxViews > 0 {
		headers["x-zipline-max-views"] = strconv.FormatInt(u.MaxViews, 10)
	}
	for key, value := range headers {
		if value != "" {
			request.Header.Set(key, value)
		}
	}
	answer, err := t.client.http.Do(request)
	if err != nil {
		end()
		return nil, t.client.unanswered(ctx, err, expired.Load(), t.options.ExportTimeout)
	}
	watch.Reset(t.client.idle)
	answer.Body = closing{answer.Body, end}
	return answer, nil
}

// exactly reads a file of the backup, which has the size that the manifest says, or else is Corrupt. A server may answer
// before it has read all, while a read is still under way.
type exactly struct {
	mutex      sync.Mutex
	body       io.ReadCloser // nil: it is over
	size, left int64
	err        error // of the backup
}

func (e *exactly) Read(p []byte) (int, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.body == nil {
		return 0, io.ErrClosedPipe
	}
	n, err := e.body.Read(p)
	if e.left -= int64(n); e.left < 0 || err == io.EOF && e.left > 0 {
		err = failure.New(failure.Corrupt, "it has another length than the manifest says, which is %d bytes", e.size).
			WithHint("check the backup with `lifeboat verify`")
	}
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, err
}

// end closes the file and returns what was wrong with it.
func (e *exactly) end() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	_ = e.body.Close() // it was only read
	e.body = nil
	return e.err
}

// closing calls after when a body is closed.
type closing struct {
	io.ReadCloser
	after func()
}

func (c closing) Close() error {
	defer c.after()
	return c.ReadCloser.Close()
}

// frame returns what stands before and after the content of the one file of a form. A type that is none, which may be
// anybody's text, is left out.
func frame(name, kind string) (head, tail, boundary string) {
	if _, _, err := mime.ParseMediaType(kind); err != nil || strings.ContainsFunc(kind, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
		kind = "application/octet-stream"
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part := textproto.MIMEHeader{}
	part.Set("Content-Disposition", `form-data; name="file"; filename="`+name+`"`)
	part.Set("Content-Type", kind)
	_, _ = form.CreatePart(part) // into memory: never fails
	head = b.String()
	b.Reset()
	_ = form.Close()
	return head, b.String(), form.Boundary()
}

func escape(id string) string { return url.PathEscape(id) }

// nearEnd reports whether so little is left of ctx's deadline that nothing should be begun.
func nearEnd(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return limited && time.Until(end) < deadlineMargin
}

// parseBytes reads a size as Zipline writes it: "250mb", "2gb", 1024 to the next unit; false where it is none.
func parseBytes(text string) (int64, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	number := strings.TrimRight(text, "kmgtpib ")
	unit := strings.Trim(strings.TrimPrefix(text, number), " ")
	power := strings.Index("bkmgtp", strings.TrimSuffix(cmp.Or(strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i"), "b"), " "))
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || power < 0 || value < 0 || value > 1<<40 {
		return 0, false
	}
	for range power {
		value *= 1024
	}
	return int64(min(value, 1<<62)), true
}
