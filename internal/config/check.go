package config

import (
	"math"
	"net"
	"net/mail"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeboat/internal/secret"
)

// path reads v as a path and returns it absolute and clean.
func (r *reader) path(v value) string {
	text := r.text(v)
	switch {
	case text == "":
		return ""
	case strings.HasPrefix(text, "s3://"):
		r.problem(v, "must be a path of this machine, not a bucket")
		return ""
	case strings.Contains(text, "://"):
		r.problem(v, "must be a path, not a URL")
		return ""
	case text == "~" || strings.HasPrefix(text, "~/"):
		r.problem(v, "must not start with ~; write the whole path")
		return ""
	}
	return r.absolute(text)
}

func (r *reader) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.base, path)
}

// url reads v as an http or https URL and returns it without a "/" at its end.
func (r *reader) url(v value) string {
	text := r.text(v)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // the error's text may hold a password
		r.problem(v, "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		r.problem(v, "must start with http:// or https://")
	case u.Hostname() == "" || !validPort(u.Port(), true):
		r.problem(v, "must name a host, such as http://127.0.0.1:3000")
	case u.User != nil:
		r.problem(v, "must not hold a user or a password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		r.problem(v, "must end before ? and #")
	default:
		return strings.TrimRight(text, "/")
	}
	return ""
}

func validPort(port string, optional bool) bool {
	if port == "" {
		return optional
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

// prefer reads v as cost or speed.
func (r *reader) prefer(v value) Prefer {
	known := []string{string(PreferCost), string(PreferSpeed)}
	text := r.text(v)
	if text == "" {
		return PreferCost
	}
	if !slices.Contains(known, text) {
		r.problem(v, "must be %s", enumerate(known, "or"))
		return PreferCost
	}
	return Prefer(text)
}

// MinSplit is the smallest volume that an archive may be split into, in bytes.
const MinSplit = 64 << 20

// split reads v as the size of a volume: a number of bytes, or of KiB, MiB, GiB, TiB.
func (r *reader) split(v value) int64 {
	text := r.text(v)
	if text == "" {
		return 0
	}
	size, ok := parseSize(text)
	if !ok || size < MinSplit || size > 48<<40 {
		r.problem(v, "must be a size from 64MiB to 48TiB, such as 4GiB")
		return 0
	}
	return size
}

func parseSize(text string) (int64, bool) {
	digits := strings.TrimRight(text, "KMGTiB ")
	shift, known := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[strings.TrimSpace(text[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 0 || n > math.MaxInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

// archive reads v as always, on-demand, or {keep: 7d}.
func (r *reader) archive(v value) Archive {
	if v.isTable() {
		t := r.table(v, "keep")
		return Archive{Keep: r.days(t.need("keep"))}
	}
	switch r.text(v) {
	case "", "always":
	case "on-demand":
		return Archive{OnDemand: true}
	default:
		r.problem(v, "must be always, on-demand, or a mapping such as {keep: 7d}")
	}
	return Archive{}
}

// days reads v as a time: 7d, 12h.
func (r *reader) days(v value) time.Duration {
	text := r.text(v)
	if text == "" {
		return 0
	}
	length, ok := parseLength(text)
	if !ok || length%time.Hour != 0 || strings.HasSuffix(text, "m") || length > 36_500*24*time.Hour {
		r.problem(v, "must be a number of days or hours, such as 7d or 12h")
		return 0
	}
	return length
}

// parseLength reads a number of minutes, hours or days, of at least one: 90m, 12h, 7d.
func parseLength(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 16)
	return time.Duration(n) * unit, err == nil && n > 0 && unit > 0
}

// listen reads v as host:port.
func (r *reader) listen(v value) string {
	text := r.text(v)
	if text == "" {
		return ""
	}
	if _, port, err := net.SplitHostPort(text); err != nil || !validPort(port, false) {
		r.problem(v, "must be host:port, such as %s", DefaultListen)
		return ""
	}
	return text
}

// address reads v as a mail address without a display name.
func (r *reader) address(v value) string {
	text := r.text(v)
	if text == "" {
		return ""
	}
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Address != text {
		r.problem(v, "must be a mail address, such as ops@example.com")
		return ""
	}
	return text
}

var (
	sourceName   = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// bucket reads v as s3://bucket or s3://bucket/prefix.
func (r *reader) bucket(v value) (name, prefix string) {
	text := r.text(v)
	if text == "" {
		return "", ""
	}
	rest, found := strings.CutPrefix(text, "s3://")
	name, prefix, _ = strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	switch {
	case !found:
		r.problem(v, "must start with s3://")
	case !bucketName.MatchString(name) || strings.Contains(name, ".."):
		r.problem(v, "must be s3://bucket/prefix; a bucket's name is 3 to 63 of a-z, 0-9, - and .")
	default:
		return name, prefix
	}
	return "", ""
}

// schemes are the ways to refer to a secret.
var schemes = []string{"env", "file", "secretsmanager", "ssm"}

// reference reads v as a reference to a secret; a file's path comes out absolute. No message holds the text.
func (r *reader) reference(v value) secret.Reference {
	text := r.text(v)
	scheme, rest, found := strings.Cut(text, ":")
	if !found || !slices.Contains(schemes, scheme) {
		return secret.Reference(text)
	}
	switch {
	case scheme == "env" && !variableName.MatchString(rest):
		r.problem(v, "must name an environment variable after env:")
	case rest == "":
		r.problem(v, "must name something after %s:", scheme)
	case scheme == "file" && (rest == "~" || strings.HasPrefix(rest, "~/")):
		r.problem(v, "must not start with ~; write the whole path")
	case scheme == "file":
		return secret.Reference("file:" + r.absolute(rest))
	default:
		return secret.Reference(text)
	}
	return ""
}

// secret reads v as a reference and warns of a value that stands in the file itself.
func (r *reader) secret(v value) secret.Reference {
	ref := r.reference(v)
	if ref.Bare() {
		hint := "write env:NAME or file:PATH, so that the file holds no secret"
		if scheme, _, found := strings.Cut(string(ref), ":"); found && didYouMean(scheme, schemes) != "" {
			hint = strings.TrimSpace(didYouMean(scheme, schemes)) + " Otherwise " + hint
		}
		r.warn(v, "is taken as the secret itself; %s", hint)
	}
	return ref
}

// smtp reads v as smtp://host:port, smtps://… or a reference to one.
func (r *reader) smtp(v value) secret.Reference {
	ref := r.reference(v)
	if !ref.Bare() {
		return ref
	}
	u, err := url.Parse(string(ref))
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || !validPort(u.Port(), true) {
		r.problem(v, "must be smtp://host:port, smtps://host:port, env:NAME or file:PATH")
		return ""
	}
	if _, hasPassword := u.User.Password(); hasPassword {
		r.warn(v, "holds a password; write env:NAME or file:PATH, so that the file holds no secret")
	}
	return ref
}
