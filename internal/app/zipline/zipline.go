// Package zipline is the adapter of Zipline v4 (4.4.0 to 4.6.3), a server for uploaded files and short URLs.
//
// A snapshot is Zipline's own server export, kept byte for byte as export.json, the operator's configuration files
// as config/<name>, and every object of the datasource as uploads/<key>: unpacked, uploads/ is a drop-in local
// datasource, and export.json goes into Zipline's importer. The export comes first and the listing after it, so
// that an object whose row is in the export is missing only if it is missing in Zipline.
//
// The export streams: memory grows with the number of files (24 bytes and the name of each), not with the size
// of the export. Its rows are checked against export4.schema.json one by one. The bytes come from the datasource
// itself, because Zipline's API counts views, deletes what is due, and hides password-protected files.
//
// Where the datasource is a bucket, a snapshot may pause while it is listed: see cursor.go.
//
// A snapshot of one folder (backup.Scope.Folder) has another layout: see folder.go. FolderTarget rebuilds it.
//
// The package promises that the token is in no error and in no finding. What it finds has these kinds:
//
//	problems  schema bad-name duplicate-name missing size unreadable suspicious counts config
//	notes     unknown-key counts orphan newer probe missing-thumbnail
//	of a folder besides: notes password cycle moved changed
package zipline

import (
	"context"
	"net/http"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Options say which Zipline to back up, and how.
type Options struct {
	URL         string                // of Zipline, without a path: https://files.example.org
	Token       secret.String         // of a SUPERADMIN, bare
	Datasource  datasource.Datasource // where Zipline keeps its files
	Metrics     bool                  // export the metrics too
	ConfigFiles []string              // files of this machine to keep beside the export; base names are unique

	// What has a default.
	Timeout       time.Duration    // until the answer to a count starts; 15 s
	ExportTimeout time.Duration    // until the export starts, which Zipline builds in memory first; 5 min
	IdleTimeout   time.Duration    // for each read of an answer; 60 s
	HTTP          *http.Client     // nil: an own one; its CheckRedirect is replaced
	Now           func() time.Time // nil: time.Now
	// Sleep waits for a rate limit; nil: it does.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Source is one Zipline. It implements app.Source and is safe for concurrent use.
type Source struct {
	options Options
	client  *client
}

var (
	_ app.Describer = (*Source)(nil)
	_ app.Pausing   = (*Source)(nil)
)

// New returns a source. It checks the options, with Usage errors, and asks nobody.
func New(options Options) (*Source, error) {
	client, err := newClient(options.URL, client{
		token: options.Token, http: options.HTTP, idle: options.IdleTimeout, sleep: options.Sleep, now: options.Now,
	})
	if err != nil {
		return nil, err
	}
	if options.Datasource == nil {
		return nil, failure.New(failure.Usage, "a Zipline source needs its datasource").
			WithHint("name the folder or the bucket where Zipline keeps its files")
	}
	if err := checkConfigs(options.ConfigFiles); err != nil {
		return nil, err
	}
	orStandard(&options.Timeout, timeout)
	orStandard(&options.ExportTimeout, exportTimeout)
	return &Source{options: options, client: client}, nil
}

// Snapshot implements app.Source: counts, export, configuration files, objects.
func (s *Source) Snapshot(ctx context.Context, scope backup.Scope, sink app.Sink) (app.Facts, error) {
	return s.SnapshotFrom(ctx, scope, nil, unpaused{sink})
}

// SnapshotFrom implements app.Pausing.
func (s *Source) SnapshotFrom(ctx context.Context, scope backup.Scope, from []byte, sink app.PausingSink) (app.Facts, error) {
	at, err := s.readCursor(from)
	if err != nil {
		return app.Facts{}, err
	}
	if scope.Folder != "" {
		return s.snapshotFolder(ctx, scope.Folder, at, sink)
	}
	metrics := s.options.Metrics && !scope.NoMetrics
	var e *export
	if at == nil {
		e, err = s.documents(ctx, metrics, sink)
	} else {
		e, err = reread(ctx, metrics, at, sink)
	}
	if err != nil {
		return app.Facts{}, err
	}
	if err := s.objects(ctx, e, at, sink); err != nil {
		return app.Facts{}, err
	}
	return e.facts(), nil
}

// documents stores what comes before the objects: the export, what is odd about it, and the configuration files.
func (s *Source) documents(ctx context.Context, metrics bool, sink app.Sink) (*export, error) {
	counted, err := s.countOnly(ctx)
	if err != nil {
		return nil, err
	}
	asked := s.client.now()
	e, err := s.fetch(ctx, metrics, sink)
	if err != nil {
		return nil, err
	}
	if e.date.IsZero() {
		e.date = asked
	}
	for _, finding := range e.findings() {
		sink.Found(finding)
	}
	s.compare(ctx, counted, e, sink)
	return e, s.configFiles(ctx, sink)
}

func (e *export) facts() app.Facts {
	return app.Facts{
		Application: "Zipline",
		Version:     e.versions.zipline,
		Versions:    map[string]string{"export": e.versions.export, "node": e.versions.node},
		Counts:      e.counts,
		Secrets:     true,
		Digest:      e.digest.hex(),
	}
}

// Open implements app.Source: it reads from the datasource, never through Zipline's API.
func (s *Source) Open(ctx context.Context, object app.Object) (app.Content, error) {
	return s.options.Datasource.Open(ctx, object)
}

// Located implements app.Stored, where the datasource is a bucket.
func (s *Source) Located(object app.Object) (app.Location, bool) {
	stored, ok := s.options.Datasource.(datasource.Stored)
	if !ok {
		return app.Location{}, false
	}
	return stored.Located(object)
}

// Describe implements app.Describer, where the datasource is a bucket.
func (s *Source) Describe(ctx context.Context, object app.Object) (app.Description, error) {
	stored, ok := s.options.Datasource.(datasource.Stored)
	if !ok {
		return app.Description{Object: object}, nil
	}
	return stored.Head(ctx, object)
}
