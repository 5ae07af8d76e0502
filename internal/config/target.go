package config

import (
	"slices"
	"strings"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
)

func (r *reader) targets(v value, sources []Source) []Target {
	var targets []Target
	for name, v := range r.named(v) {
		t := r.open(v)
		kind := r.readKind(&t)
		if kind == "" { // nobody knows what its other keys should be
			targets = append(targets, Target{Name: name})
			continue
		}
		t.only(slices.Concat([]string{"kind"}, required[kind], []string{"notify"}))
		target := Target{Name: name, Instance: r.instance(&t, kind, writesOver), Notify: r.notify(t.at("notify"))}
		at := t.at(place[kind])
		if folder := target.Datasource.Folder; within(folder, r.stateDir) && folder != r.stateDir {
			r.problem(at, "lies inside the state-dir, which is lifeboat's own")
		}
		for _, source := range sources {
			r.beside(&t, target.Instance, source)
		}
		targets = append(targets, target)
	}
	return targets
}

// beside warns of a target that shares files with a source by mistake. A target that is the source itself is none:
// after a disaster that is where things go.
func (r *reader) beside(t *table, target Instance, source Source) {
	at, files := t.at(place[target.Kind]), source.Datasource
	same, sameURL := files.equal(target.Datasource), target.URL != "" && target.URL == source.URL
	switch {
	case same && target.Kind == source.Kind && target.URL == source.URL:
	case same:
		r.warn(at, "is also where the source %s, another application, has its files; a restore would write among them", source.Name)
	case sameURL && files != Location{}:
		r.warn(at, "is not where the source %s, which has the same url, has its files; the application would not find what is restored", source.Name)
	case files.holds(target.Datasource):
		r.warn(at, "lies among the files of the source %s; its next backup would hold what is restored there", source.Name)
	case target.Datasource.holds(files):
		r.warn(at, "holds the files of the source %s; a restore could write over them", source.Name)
	}
}

// Shares says what an instance has in common with another one, in words: its url, or its files; "" where they are apart.
func (i Instance) Shares(other Instance) string {
	switch {
	case i.URL != "" && i.URL == other.URL:
		return "the same url"
	case i.Datasource.equal(other.Datasource):
		return "the same files"
	case i.Datasource.holds(other.Datasource), other.Datasource.holds(i.Datasource):
		return "files that lie in those of the other"
	}
	return ""
}

// equal reports whether both are the same place; nowhere is none.
func (l Location) equal(other Location) bool { return l.holds(other) && other.holds(l) }

// holds reports whether other is the place or lies in it.
func (l Location) holds(other Location) bool {
	if l.Bucket == nil || other.Bucket == nil {
		return within(other.Folder, l.Folder)
	}
	return l.Bucket.Name != "" && l.Bucket.Name == other.Bucket.Name && l.Bucket.Endpoint == other.Bucket.Endpoint &&
		strings.HasPrefix(other.Bucket.Prefix+"/", strings.TrimPrefix(l.Bucket.Prefix+"/", "/"))
}

// What fetch.max-size and fetch.timeout may say at most: the size of the largest object of S3, and the time that a restore
// has as a whole.
const (
	maxFetchSize    = 48 << 40
	maxFetchTimeout = 48 * time.Hour
)

func (r *reader) fetch(v value) Fetch {
	t := r.table(v, "allow", "max-size", "timeout")
	f := Fetch{MaxSize: DefaultFetchSize, Timeout: DefaultFetchTimeout}
	for _, item := range r.list(t.at("allow")) {
		f.Allow = append(f.Allow, r.allowed(item))
	}
	if size := t.at("max-size"); !size.absent() {
		f.MaxSize = r.fetchSize(size)
	}
	if timeout := t.at("timeout"); !timeout.absent() {
		f.Timeout = r.fetchTimeout(timeout)
	}
	return f
}

func (r *reader) fetchSize(v value) int64 {
	text := r.text(v)
	if text == "" {
		return 0
	}
	size, ok := parseSize(text)
	if !ok || size < 1 || size > maxFetchSize {
		r.problem(v, "must be a size up to 48TiB, such as 500GiB")
		return 0
	}
	return size
}

func (r *reader) fetchTimeout(v value) time.Duration {
	text := r.text(v)
	if text == "" {
		return 0
	}
	length, ok := parseLength(text)
	if !ok || length > maxFetchTimeout {
		r.problem(v, "must be a number of minutes, hours or days up to 2d, such as 90m or 6h")
		return 0
	}
	return length
}

// allowed reads v as a host that a fetch may reach.
func (r *reader) allowed(v value) string {
	text := r.text(v)
	if text == "" {
		return ""
	}
	if _, err := netguard.ParseAllowed(text); err != nil { // the error's text may hold a password
		r.problem(v, "must be host, host:port or http://host:port, such as nas.lan, 10.0.0.5:9000 or http://[fd00::1]:8080")
		return ""
	}
	return text
}

// Apart refuses a place that a restore names itself where it holds the vault or the state, or lies in the vault: it would
// write over backups, records or the signing key.
func (c *Config) Apart(l Location) error {
	vault := c.Vault.Bucket
	switch {
	case within(c.Vault.Folder, l.Folder), within(l.Folder, c.Vault.Folder):
		return failure.New(failure.Usage, "%s holds the vault or lies inside of it, which is lifeboat's own", l).WithHint("name another folder")
	case within(c.StateDir, l.Folder):
		return failure.New(failure.Usage, "%s holds the state-dir, and with it the signing key", l).WithHint("name another folder")
	case vault != nil && l.Bucket != nil && vault.Name == l.Bucket.Name && (vault.Endpoint == l.Bucket.Endpoint || l.Bucket.Endpoint == ""):
		return failure.New(failure.Usage, "%s is the vault's own bucket", l).WithHint("name another bucket")
	}
	return nil
}
