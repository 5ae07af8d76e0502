// Package files is the adapter of everything that has no adapter of its own: any folder of this machine, and any S3
// bucket or prefix of one.
//
// A snapshot has these documents and objects:
//
//	files.json       always: what was asked for, when, and what was found (report); so a backup of an empty folder
//	                 is one with a document, and not a suspicious one
//	symlinks.jsonl   one {"path", "target"} a line, only where there are symbolic links
//	files/<path>     every file; and files/<path>/ every folder in which nothing is in the backup, an empty one too
//
// Of a folder, files have their permission bits and times; set-user-id and other special bits are left out. Symbolic
// links are listed and never followed. Another file system that is mounted below the folder is followed. Of a bucket,
// every key is taken, as odd as S3 allows: only a folder marker (no bytes, "/" at its end, a name before it) becomes a
// folder, whether it is empty or not. The order of files is that of their names; the bucket's is its store's.
//
// # Names
//
// Names are bytes. An object's path is its name in the encoding of Encode, which any ZIP can hold and no reader can be
// led astray by; Decode(path below "files/") is the name. Object.Key is the name itself, for people and for a restore
// into a bucket; only where the name is no UTF-8, which JSON can't hold, it is the encoded one too. Open goes by the
// path. Names that differ by case or normalisation, a name that is a folder of another (k and k/x, in a bucket), and
// segments that no file system takes are data: a restore into a folder reports what does not fit there.
//
// # Patterns
//
// Include and Exclude are globs on whole names, from the root down and case-sensitive: * is any part of a segment, ?
// one character of it, [a-z] one of a set ([^a-z] none of it), \ takes the next character as it is, ** is any number of
// segments, and a / at the end makes it match folders only. What a pattern matches it covers, and of a folder all that
// lies in it: "cache", "cache/" and "cache/**" leave out the same files, the last keeps the empty folder. Exclude wins
// over Include. Patterns see names as they are, not encoded. What is excluded is not looked at.
//
// # Findings
//
//	problems  unreadable (a file or a folder that may not be read) bad-name (longer than a ZIP's names can be)
//	          unmatched (an include pattern that nothing matches)
//	notes     symlinks (one, with their count) special (sockets, pipes, devices; each of the first 100)
//	          set-id (each of the first 100) empty
//
// What vanishes while the folder is listed is as if it had never been there.
package files

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
)

// Folder is where the files lie in an archive.
const Folder = "files/"

// Options say which files to back up. Either Path or Bucket is set.
type Options struct {
	Path    string             // of a folder of this machine
	Bucket  *datasource.Bucket // or a bucket
	Include []string           // globs; none: everything
	Exclude []string           // globs
	Now     func() time.Time   // nil: time.Now
}

// Source is a folder or a bucket. It implements app.Source and is safe for concurrent use.
type Source struct {
	options Options
	filter  filter
	place   datasource.Datasource
}

var (
	_ app.Describer = (*Source)(nil)
	_ app.Pausing   = (*Source)(nil)
)

// New returns a source. It checks the options, with Usage errors, and touches neither folder nor bucket.
func New(options Options) (*Source, error) {
	if (options.Path == "") == (options.Bucket == nil) {
		return nil, failure.New(failure.Usage, "a files source needs either a folder or a bucket").
			WithHint("set path to the folder or the s3:// address whose files are to be backed up")
	}
	f, err := newFilter(options.Include, options.Exclude)
	if err != nil {
		return nil, err
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Source{options: options, filter: f}
	if options.Bucket != nil {
		s.place = options.Bucket
	} else {
		s.place = datasource.NewFolder(options.Path, options.Now)
	}
	return s, nil
}

// Snapshot implements app.Source. The list comes first: the documents tell about it. Memory holds the names of the
// folders on the way, and about 100 bytes of each symbolic link.
func (s *Source) Snapshot(ctx context.Context, _ backup.Scope, sink app.Sink) (app.Facts, error) {
	return s.snapshot(ctx, newListing(s.filter, s.options.Now(), sink))
}

// SnapshotFrom implements app.Pausing. A folder's runs to its end.
func (s *Source) SnapshotFrom(ctx context.Context, _ backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	l := newListing(s.filter, s.options.Now(), sink)
	if s.options.Bucket != nil {
		l.pausing, l.what = sink, digestOf(s.options.Bucket.Place(), s.options.Include, s.options.Exclude)
	}
	if from != nil {
		if err := l.resume(from); err != nil {
			return app.Facts{}, err
		}
	}
	return s.snapshot(ctx, l)
}

func (s *Source) snapshot(ctx context.Context, l *listing) (app.Facts, error) {
	var err error
	if s.options.Bucket != nil {
		err = l.bucket(ctx, s.options.Bucket)
	} else {
		err = l.folder(ctx, s.options.Path, l.began)
	}
	if err != nil {
		return app.Facts{}, err
	}
	l.conclude(s.place.Describe())
	if err := l.documents(ctx, s.report(l.began)); err != nil {
		return app.Facts{}, err
	}
	return l.facts(), nil
}

// Open implements app.Source.
func (s *Source) Open(ctx context.Context, object app.Object) (app.Content, error) {
	named, err := named(object)
	if err != nil {
		return nil, err
	}
	inner, err := s.place.Open(ctx, named)
	if err != nil {
		return nil, err
	}
	return content{inner, object}, nil
}

// named returns an object as its place calls it.
func named(object app.Object) (app.Object, error) {
	path, ours := strings.CutPrefix(object.Path, Folder)
	if !ours || object.Dir {
		return object, failure.New(failure.Invalid, "%q is no file of this source", object.Path)
	}
	var err error
	object.Key, err = Decode(path)
	return object, err
}

// Located implements app.Stored, where the place is a bucket.
func (s *Source) Located(object app.Object) (app.Location, bool) {
	stored, ok := s.place.(datasource.Stored)
	if !ok {
		return app.Location{}, false
	}
	named, err := named(object)
	if err != nil {
		return app.Location{}, false
	}
	return stored.Located(named)
}

// Describe implements app.Describer, where the place is a bucket.
func (s *Source) Describe(ctx context.Context, object app.Object) (app.Description, error) {
	stored, ok := s.place.(datasource.Stored)
	if !ok {
		return app.Description{Object: object}, nil
	}
	named, err := named(object)
	if err != nil {
		return app.Description{}, err
	}
	d, err := stored.Head(ctx, named)
	d.Object.Key, d.Object.Path, d.Object.Mode, d.Object.Type = object.Key, object.Path, object.Mode, object.Type
	return d, err
}

// content is an open file that is called what the listing calls it.
type content struct {
	app.Content
	listed app.Object
}

// Now implements app.Content.
func (c content) Now() (app.Object, error) {
	now, err := c.Content.Now()
	now.Key, now.Path, now.Mode, now.Type = c.listed.Key, c.listed.Path, c.listed.Mode, c.listed.Type
	return now, err
}

// Skip implements app.Skipper.
func (c content) Skip(ctx context.Context, n int64) error { return app.Skip(ctx, c.Content, n) }

// key returns what Object.Key says of a name.
func key(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return Encode(name)
}
