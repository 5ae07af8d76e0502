// Package config reads lifeboat.yaml, the one file that says what to back up and where to.
//
// Every problem of the file is reported at once, each with its line; what is odd but usable is a warning. Paths are
// relative to the file's folder and come out absolute. Secrets stay references until the line that needs one
// resolves it. The package needs no network and touches no file but the one it loads; whether the named folders
// and servers exist is for the steps (and `lifeboat doctor`) to find out.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// FileName is what the file is called where nobody says otherwise.
const FileName = "lifeboat.yaml"

// Config is a whole lifeboat.yaml, checked. Sources and Targets keep the order of the file.
type Config struct {
	File     string // the file's name as the caller gave it
	Base     string // the folder that the file's relative paths are relative to, absolute
	Vault    Location
	StateDir string // journals and the signing key; absolute, never inside the vault
	Sources  []Source
	Targets  []Target
	Fetch    Fetch
	Serve    Serve
	Mail     *Mail     // nil: no mail is sent
	Warnings []Problem // by line
}

// Instance is one running application: what a source and a target have in common.
type Instance struct {
	Kind       string // one of Kinds
	URL        string // http or https, without a "/" at its end
	Token      secret.Reference
	Datasource Location // zipline: where its files are; linkding: its data folder; files: the folder or bucket itself
}

// Source is one application instance to back up.
type Source struct {
	Name backup.Source
	Instance
	Metrics     bool     // whether the documents hold metrics; default true
	ConfigFiles []string // absolute paths of files to keep as secret documents
	Include     []string // linkding: folders beside the database, empty for all; files: globs
	Exclude     []string // files: globs
	Notify      Notify
	Link        Link
	Prefer      Prefer
	Split       int64 // bytes of a volume of the archive; 0: one file
	Archive     Archive
}

// Prefer says what counts more where a choice costs one and saves the other.
type Prefer string

// The values of Prefer.
const (
	PreferCost  Prefer = "cost"
	PreferSpeed Prefer = "speed"
)

// Archive says when a backup's archive is made, and how long it is kept.
type Archive struct {
	OnDemand bool          // only when somebody asks; otherwise by every run
	Keep     time.Duration // from when it is made; 0: as long as its backup
}

// Target is one application instance to restore into.
type Target struct {
	Name string // of the same form as a source's
	Instance
	Notify Notify // who hears of restores into it
}

// Fetch bounds what a restore from a URL reaches and takes.
type Fetch struct {
	Allow   []string      // as netguard.ParseAllowed reads them: reached although private, on another port, or without TLS
	MaxSize int64         // bytes of an archive; default DefaultFetchSize
	Timeout time.Duration // of one request, to its last byte; default DefaultFetchTimeout
}

// The bounds of a fetch where the file does not say.
const (
	DefaultFetchSize    = 500 << 30 // bytes
	DefaultFetchTimeout = 6 * time.Hour
)

// Location is a folder of this machine, or a bucket. Exactly one of the two is set.
type Location struct {
	Folder string // absolute; "" for a bucket
	Bucket *Bucket
}

// Remote reports whether the location is a bucket.
func (l Location) Remote() bool { return l.Bucket != nil }

// String names the location for a person: an absolute path or s3://bucket/prefix.
func (l Location) String() string {
	if l.Bucket != nil {
		return l.Bucket.String()
	}
	return l.Folder
}

// Bucket is an S3 bucket, or the part of one below a prefix, and how to reach it. What is empty is left to the
// usual chain of the AWS SDK (environment, profile, role).
type Bucket struct {
	Name      string
	Prefix    string // without "/" at either end; always "" for a vault
	Endpoint  string // URL of a store that is not AWS
	Region    string
	Profile   string // excludes the keys
	AccessKey secret.Reference
	SecretKey secret.Reference // set when AccessKey is

	// Role is the ARN of a role that is assumed to reach the bucket, usually one of its owner's account; "": none. It
	// excludes the profile, the keys and an endpoint that is not AWS's. ExternalID is what the role's trust policy asks for,
	// which is no secret, and yet not printed.
	Role       string
	ExternalID secret.Reference
	// Owner is the account that the bucket must belong to, in 12 digits; "": any. Where nobody says, it is the role's.
	Owner string
}

func (b Bucket) String() string {
	if b.Prefix == "" {
		return "s3://" + b.Name
	}
	return "s3://" + b.Name + "/" + b.Prefix
}

// Notify says who hears of a source's runs, or of restores into a target, and when.
type Notify struct {
	To []string // mail addresses without display names; empty: nobody
	On When
}

// When says which runs are worth a message.
type When string

// The values of When.
const (
	OnAlways  When = "always"
	OnProblem When = "problem"
	OnChange  When = "change"
)

// Link says how the link in a mail behaves.
type Link struct {
	Code bool // whether the download of an archive that holds secrets asks for a code; default true
}

// Serve says where `lifeboat serve` listens.
type Serve struct {
	Listen    string // host:port; default DefaultListen
	PublicURL string // how others reach it, without a "/" at its end; "" when the file has no serve section
}

// DefaultListen is where `lifeboat serve` listens when the file does not say.
const DefaultListen = "127.0.0.1:8420"

// Mail says how mail leaves.
type Mail struct {
	From string           // an address without a display name
	SMTP secret.Reference // resolves to smtp://… or smtps://…, which may hold a user and a password
}

// maxFile bounds the size of a configuration, in bytes.
const maxFile = 1 << 20

// Load reads and checks the configuration at path. A missing or unreadable file is a Usage error; for a wrong
// one see Parse.
func Load(path string) (*Config, error) {
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", path, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failure.New(failure.Usage, "no configuration at %s", path).
			WithHint("`lifeboat init` writes one; --config names another file")
	case err == nil && !info.Mode().IsRegular():
		return nil, failure.New(failure.Usage, "read the configuration: %s is not a file", path)
	case err == nil && info.Size() > maxFile:
		return nil, failure.New(failure.Usage, "read the configuration: %s is larger than %d bytes", path, maxFile)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, failure.New(failure.Denied, "the configuration %s may not be read", path).WithHint("run lifeboat as the user that owns it, or make it readable: chmod u+r %s", path)
	}
	if err != nil {
		return nil, failure.New(failure.Usage, "read the configuration: %w", err)
	}
	return Parse(path, data, base)
}

// Source returns the source of that name, or a NotFound error that lists the known ones.
func (c *Config) Source(name string) (Source, error) {
	var known []string
	for _, s := range c.Sources {
		if string(s.Name) == name {
			return s, nil
		}
		known = append(known, string(s.Name))
	}
	return Source{}, c.unknown("source", name, known)
}

// Target returns the target of that name, or a NotFound error that lists the known ones.
func (c *Config) Target(name string) (Target, error) {
	var known []string
	for _, t := range c.Targets {
		if t.Name == name {
			return t, nil
		}
		known = append(known, t.Name)
	}
	err := c.unknown("target", name, known)
	if _, none := c.Source(name); none == nil {
		return Target{}, failure.New(failure.NotFound, "%w", err).
			WithHint("%s is a source, which backups are made of; what is restored into needs an entry of its own under targets: in %s", name, c.File)
	}
	return Target{}, err
}

func (c *Config) unknown(what, name string, known []string) error {
	err := failure.New(failure.NotFound, "%s has no %s %q", c.File, what, name)
	if len(known) == 0 {
		return err.WithHint("add one under %ss: in %s", what, c.File)
	}
	return err.WithHint("%sthe %ss are %s", didYouMean(name, known), what, enumerate(known, "and"))
}
