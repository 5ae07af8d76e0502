package config

import (
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"lifeboat/internal/backup"
)

// Kinds are the applications that a source or a target may be, in the order in which messages list them.
var Kinds = []string{"zipline", "linkding", "files"}

// Parse checks data as a lifeboat.yaml. The name is for messages; base is the absolute folder that relative paths
// start from. Whatever is wrong comes back at once as a Usage error that wraps an *Error.
func Parse(name string, data []byte, base string) (*Config, error) {
	root, problems := decode(data)
	if problems != nil {
		return nil, Wrong(name, problems)
	}
	r := &reader{base: filepath.Clean(base)}
	c := r.config(root)
	if len(r.problems) > 0 {
		return nil, Wrong(name, r.problems)
	}
	sorted(r.warnings)
	c.File, c.Base, c.Warnings = name, r.base, r.warnings
	return c, nil
}

func (r *reader) config(root value) *Config {
	t := r.table(root, "vault", "state-dir", "sources", "targets", "fetch", "serve", "mail", "deploy")
	r.form(t.at("deploy"), deployShape) // whose values are for package deployment
	r.vault = r.readVault(t.need("vault"))
	r.stateDir = r.readStateDir(t.at("state-dir"))
	sources := r.sources(t.at("sources"))
	return &Config{
		Vault:    r.vault,
		StateDir: r.stateDir,
		Sources:  sources,
		Targets:  r.targets(t.at("targets"), sources),
		Fetch:    r.fetch(t.at("fetch")),
		Serve:    r.serve(t.at("serve")),
		Mail:     r.mail(t.at("mail")),
	}
}

func (r *reader) readVault(v value) Location {
	l := r.location(v)
	if l.Bucket != nil && l.Bucket.Prefix != "" {
		r.problem(v, "must be a whole bucket, without a prefix")
	}
	return l
}

// Keys of a bucket: of every one, and of one that may belong to somebody else.
var (
	bucketKeys  = []string{"s3", "endpoint", "region", "profile", "access-key", "secret-key"}
	accountKeys = []string{"role", "external-id", "owner"}
)

// location reads a path, s3://bucket/prefix, or a mapping with s3 and what else a bucket may have there.
func (r *reader) location(v value, more ...string) Location {
	switch {
	case v.absent():
		return Location{}
	case !v.isTable() && v.node.Kind == yaml.ScalarNode && strings.HasPrefix(v.node.Value, "s3://"):
		b := &Bucket{}
		b.Name, b.Prefix = r.bucket(v)
		return Location{Bucket: b}
	case !v.isTable():
		return Location{Folder: r.path(v)}
	}
	t := r.table(v, slices.Concat(bucketKeys, more)...)
	b := &Bucket{
		Endpoint:  r.url(t.at("endpoint")),
		Region:    r.text(t.at("region")),
		Profile:   r.text(t.at("profile")),
		AccessKey: r.reference(t.at("access-key")),
		SecretKey: r.secret(t.at("secret-key")),
	}
	b.Name, b.Prefix = r.bucket(t.need("s3"))
	profile, access, secret := t.at("profile"), t.at("access-key"), t.at("secret-key")
	if access.absent() != secret.absent() {
		r.problem(v, "needs both access-key and secret-key, or neither")
	}
	if !profile.absent() && !access.absent() {
		r.problem(profile, "can't stand beside access-key; use one of them")
	}
	r.account(&t, b)
	return Location{Bucket: b}
}

// readStateDir reads state-dir. Its default is the folder `state` beside a vault folder, var/state for a bucket.
func (r *reader) readStateDir(v value) string {
	dir := r.absolute("var/state")
	switch {
	case !v.absent():
		dir = r.path(v)
	case r.vault.Folder != "":
		dir = filepath.Join(filepath.Dir(r.vault.Folder), "state")
	}
	if within(dir, r.vault.Folder) {
		r.problem(v, "lies inside the vault; the signing key must lie outside")
	}
	return dir
}

// What is wrong with an instance that holds the vault.
const (
	holdsItself = "a backup must not hold itself"
	writesOver  = "a restore must not write over it"
)

// apart reports a place of files that holds the vault or the state, or lies in the vault: a backup would then hold
// itself, or the signing key, and a restore would write over them.
func (r *reader) apart(v value, l Location, wrong string) {
	switch vault := r.vault.Bucket; {
	case within(r.vault.Folder, l.Folder):
		r.problem(v, "holds the vault; %s", wrong)
	case within(l.Folder, r.vault.Folder):
		r.problem(v, "lies inside the vault, which is lifeboat's own")
	case within(r.stateDir, l.Folder):
		r.problem(v, "holds the state-dir, and with it the signing key")
	case vault != nil && l.Bucket != nil && vault.Name != "" &&
		vault.Name == l.Bucket.Name && vault.Endpoint == l.Bucket.Endpoint:
		r.problem(v, "is the vault's own bucket; use another one")
	}
}

// within reports whether a path is folder or lies in it. Both are clean; with an empty one the answer is no.
func within(path, folder string) bool {
	if path == "" || folder == "" {
		return false
	}
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// keys are what a source of each kind may hold, beside those of every kind.
var keys = map[string][]string{
	"zipline":  {"url", "token", "datasource", "metrics", "config-files"},
	"linkding": {"data", "include"},
	"files":    {"path", "include", "exclude"},
}

// everyKind are the keys of a source of any kind, beside kind, notify and link.
var everyKind = []string{"prefer", "split", "archive"}

func (r *reader) sources(v value) []Source {
	var sources []Source
	for name, v := range r.named(v) {
		t := r.open(v)
		kind := r.readKind(&t)
		if kind == "" { // nobody knows what its other keys should be
			sources = append(sources, Source{Name: backup.Source(name)})
			continue
		}
		t.only(slices.Concat([]string{"kind"}, keys[kind], everyKind, []string{"notify", "link"}))
		link := r.table(t.at("link"), "code")
		source := Source{
			Name: backup.Source(name), Instance: r.instance(&t, kind, holdsItself), Metrics: true,
			Notify: r.notify(t.at("notify")), Link: Link{Code: r.flag(link.at("code"), true)},
			Prefer: r.prefer(t.at("prefer")), Split: r.split(t.at("split")), Archive: r.archive(t.at("archive")),
		}
		switch kind {
		case "zipline":
			source.Metrics, source.ConfigFiles = r.flag(t.at("metrics"), true), r.paths(t.at("config-files"))
		case "linkding":
			source.Include = r.words(t.at("include"), linkdingFolders)
		case "files":
			source.Include, source.Exclude = r.texts(t.at("include")), r.texts(t.at("exclude"))
		}
		sources = append(sources, source)
	}
	return sources
}

// readKind returns the kind of a source or target. Where lifeboat does not know it, which is reported, it is the one that
// seems to be meant, or "".
func (r *reader) readKind(t *table) string {
	kind := r.kind(t.need("kind"))
	switch {
	case slices.Contains(Kinds, kind):
		return kind
	case kind == "":
		return t.looksLike()
	}
	return Closest(kind, Kinds)
}

// looksLike returns the kind that a source or target without one seems to mean.
func (t *table) looksLike() string {
	switch {
	case slices.Contains(t.keys, "data"):
		return "linkding"
	case slices.Contains(t.keys, "path"):
		return "files"
	}
	return "zipline"
}

// linkdingFolders are the folders beside linkding's database that a backup may hold.
var linkdingFolders = []string{"assets", "favicons", "previews"}

// words reads a list of words of which each must be known.
func (r *reader) words(v value, known []string) []string {
	words := r.texts(v)
	for _, word := range words {
		if !slices.Contains(known, word) {
			r.problem(v, "holds %.40q; %sknown: %s", word, didYouMean(word, known), enumerate(known, "and"))
		}
	}
	return words
}

func (r *reader) texts(v value) []string {
	var texts []string
	if v.absent() {
		return nil
	}
	for _, item := range r.list(v) {
		texts = append(texts, r.text(item))
	}
	return texts
}

// named yields the keys of v, which are names, and what stands at each.
func (r *reader) named(v value) iter.Seq2[string, value] {
	t := r.open(v)
	return func(yield func(string, value) bool) {
		for i, name := range t.keys {
			if !sourceName.MatchString(name) {
				r.problem(t.fields[i], "is no name; use 1 to 40 of a-z, 0-9 and -")
			}
			if !yield(name, t.fields[i]) {
				return
			}
		}
	}
}

// place names the key at which an instance of each kind says where its files are.
var place = map[string]string{"zipline": "datasource", "linkding": "data", "files": "path"}

// instance reads what a source and a target of a kind have in common; wrong says why it must not hold the vault.
func (r *reader) instance(t *table, kind, wrong string) Instance {
	i := Instance{Kind: kind}
	if kind == "zipline" {
		i.URL, i.Token = r.url(t.need("url")), r.secret(t.need("token"))
	}
	at := t.need(place[kind])
	if kind == "linkding" {
		i.Datasource.Folder = r.path(at)
	} else {
		i.Datasource = r.location(at, accountKeys...)
	}
	r.apart(at, i.Datasource, wrong)
	return i
}

func (r *reader) kind(v value) string {
	kind := r.text(v)
	if kind != "" && !slices.Contains(Kinds, kind) {
		r.problem(v, "is %.40q, which lifeboat does not know; %sknown: %s",
			kind, didYouMean(kind, Kinds), enumerate(Kinds, "and"))
	}
	return kind
}

func (r *reader) paths(v value) []string {
	var paths []string
	for _, item := range r.list(v) {
		path := r.path(item)
		if path != "" && slices.Contains(paths, path) {
			r.problem(item, "names a file that the list has already")
		}
		paths = append(paths, path)
	}
	return paths
}

func (r *reader) notify(v value) Notify {
	n := Notify{On: OnAlways}
	if v.absent() {
		return n
	}
	t := r.table(v, "to", "on")
	for _, item := range r.list(t.need("to")) {
		n.To = append(n.To, r.address(item))
	}
	if on := t.at("on"); !on.absent() {
		n.On = r.when(on)
	}
	return n
}

func (r *reader) when(v value) When {
	known := []string{string(OnAlways), string(OnProblem), string(OnChange)}
	text := r.text(v)
	if text != "" && !slices.Contains(known, text) {
		r.problem(v, "must be %s", enumerate(known, "or"))
	}
	return When(text)
}

func (r *reader) serve(v value) Serve {
	t := r.table(v, "listen", "public-url")
	s := Serve{Listen: DefaultListen}
	if listen := t.at("listen"); !listen.absent() {
		s.Listen = r.listen(listen)
	}
	if public := t.at("public-url"); !public.absent() {
		s.PublicURL = r.url(public)
	} else if len(t.keys) > 0 {
		s.PublicURL = reachable(s.Listen)
	}
	return s
}

// reachable returns the URL behind an address that names one host, or "" for one that means every interface.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host == "" || port == "0" || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return fmt.Sprintf("http://%s", net.JoinHostPort(host, port))
}

func (r *reader) mail(v value) *Mail {
	if v.absent() {
		return nil
	}
	t := r.table(v, "from", "smtp")
	return &Mail{From: r.address(t.need("from")), SMTP: r.smtp(t.need("smtp"))}
}
