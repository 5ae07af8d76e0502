package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
)

// download reads the mail of a backup, opens its link, sends the form with the code, and downloads what it is
// redirected to.
func (d *demo) download(ctx context.Context, r catalog.Record) (string, error) {
	text, err := plainText(r.Notified.Message)
	if err != nil {
		return "", err
	}
	address := regexp.MustCompile(`http://\S+/l/\S+`).FindString(text)
	if address == "" {
		return "", failure.New(failure.Internal, "the mail %s has no link", r.Notified.Message)
	}
	d.cli.say("   mail: %s", r.Notified.Message)
	page, _, err := fetchPage(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	form := url.Values{}
	if nonce := regexp.MustCompile(`name="nonce" value="([^"]+)"`).FindSubmatch(page); nonce != nil {
		form.Set("nonce", html.UnescapeString(string(nonce[1])))
	}
	if bytes.Contains(page, []byte(`name="code"`)) {
		code := d.session.notifier().Links().Code(r.Source, r.ID)
		d.cli.say("   the archive holds secrets, so the page asks for a code: %s", code)
		form.Set("code", code)
	}
	_, answer, err := fetchPage(ctx, http.MethodPost, address, form)
	if err != nil {
		return "", err
	}
	target, err := answer.Location()
	if err != nil {
		return "", failure.New(failure.Internal, "the page did not redirect to the archive: %s", answer.Status)
	}
	file := d.path(fmt.Sprintf("%s-%s.zip", r.Source, r.ID))
	n, err := saveTo(ctx, target.String(), file)
	if err != nil {
		return "", err
	}
	if n != r.Archive.Bytes {
		return "", failure.New(failure.Corrupt, "%d bytes came, the archive has %d", n, r.Archive.Bytes)
	}
	d.cli.say("   %s: %s", file, plain.Size(n))
	return file, nil
}

// maxPage bounds a page, in bytes.
const maxPage = 1 << 20

func fetchPage(ctx context.Context, method, address string, form url.Values) ([]byte, *http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := demoClient.Do(request)
	if err != nil {
		return nil, nil, failure.New(failure.Transient, "open the link: %w", err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(io.LimitReader(answer.Body, maxPage))
	if err == nil && answer.StatusCode >= 400 {
		err = failure.New(failure.Internal, "the link answers %s", answer.Status)
	}
	return page, answer, err
}

func saveTo(ctx context.Context, address, name string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	answer, err := demoClient.Do(request)
	if err != nil {
		return 0, failure.New(failure.Transient, "download: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, failure.New(failure.Internal, "the download answers %s", answer.Status)
	}
	var n int64
	err = newFile(name, func(w io.Writer) error {
		n, err = io.Copy(w, answer.Body)
		return err
	})
	return n, err
}

// plainText returns the text part of a mail file.
func plainText(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the mail: %w", err)
	}
	message, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return "", fmt.Errorf("read the mail %s: %w", name, err)
	}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return "", fmt.Errorf("read the mail %s: %w", name, err)
	}
	parts := multipart.NewReader(message.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return "", fmt.Errorf("the mail %s has no text: %w", name, err)
		}
		if !strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			continue
		}
		var body io.Reader = part
		switch strings.ToLower(part.Header.Get("Content-Transfer-Encoding")) {
		case "quoted-printable":
			body = quotedprintable.NewReader(part)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, part)
		}
		text, err := io.ReadAll(body)
		return string(text), err
	}
}

// sameFolders compares two folders byte by byte and returns how many files they have.
func sameFolders(a, b string) (int, error) {
	list := func(root string) (map[string]string, error) {
		files := map[string]string{}
		err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				relative, _ := filepath.Rel(root, name)
				files[relative] = name
			}
			return err
		})
		return files, err
	}
	left, err := list(a)
	if err != nil {
		return 0, err
	}
	right, err := list(b)
	if err != nil {
		return 0, err
	}
	if len(left) != len(right) {
		return 0, failure.New(failure.Corrupt, "%s has %d files, %s has %d", a, len(left), b, len(right))
	}
	for name, path := range left {
		x, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		y, err := os.ReadFile(right[name])
		if err != nil || !bytes.Equal(x, y) {
			return 0, failure.New(failure.Corrupt, "%s differs between %s and %s", name, a, b)
		}
	}
	return len(left), nil
}
