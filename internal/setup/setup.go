// Package setup turns the configuration into what the steps work with: adapters of the sources, and the notifier
// with its links. It is the same for the command line and for functions.
package setup

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/app/linkding"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/datasource"
	"lifeboat/internal/estimate"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/notify"
	"lifeboat/internal/secret"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// Sources opens the sources of a configuration, each once. It implements step.Sources.
type Sources struct {
	Config  *config.Config
	Zipline zipline.Options // what the configuration doesn't say: time-outs, client, clock

	mutex sync.Mutex
	open  map[backup.Source]app.Source
}

// Open implements step.Sources.
func (s *Sources) Open(ctx context.Context, name backup.Source) (app.Source, string, error) {
	c, err := s.Config.Source(string(name))
	if err != nil {
		return nil, "", err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if source, ok := s.open[name]; ok {
		return source, c.Kind, nil
	}
	source, err := s.make(ctx, c)
	if err != nil {
		return nil, "", fmt.Errorf("source %s: %w", name, err)
	}
	if s.open == nil {
		s.open = map[backup.Source]app.Source{}
	}
	s.open[name] = source
	return source, c.Kind, nil
}

// Policy implements step.Sources.
func (s *Sources) Policy(name backup.Source) (step.Policy, error) {
	c, err := s.Config.Source(string(name))
	if err != nil {
		return step.Policy{}, err
	}
	region := ""
	if s.Config.Vault.Bucket != nil {
		region = s.Config.Vault.Bucket.Region
	}
	floor, err := estimate.SpliceFloor(estimate.Splice{Prefer: string(c.Prefer), Prices: estimate.Prices(region), Filler: true})
	return step.Policy{
		Floor: floor, Eager: c.Prefer == config.PreferSpeed,
		Split: c.Split, OnDemand: c.Archive.OnDemand, Keep: c.Archive.Keep,
	}, err
}

func (s *Sources) make(ctx context.Context, c config.Source) (app.Source, error) {
	switch c.Kind {
	case "zipline":
		return s.makeZipline(ctx, c)
	case "linkding":
		return linkding.New(linkding.Options{Data: c.Datasource.Folder, Include: c.Include})
	case "files":
		return makeFiles(ctx, c)
	}
	return nil, failure.New(failure.Usage, "kind %s is not served yet", c.Kind)
}

func (s *Sources) makeZipline(ctx context.Context, c config.Source) (app.Source, error) {
	token, err := c.Token.Resolve()
	if err != nil {
		return nil, err
	}
	data, err := Datasource(ctx, string(c.Name), c.Datasource)
	if err != nil {
		return nil, err
	}
	options := s.Zipline
	options.URL, options.Token, options.Datasource = c.URL, token, data
	options.Metrics, options.ConfigFiles = c.Metrics, c.ConfigFiles
	return zipline.New(options)
}

func makeFiles(ctx context.Context, c config.Source) (app.Source, error) {
	options := files.Options{Path: c.Datasource.Folder, Include: c.Include, Exclude: c.Exclude}
	if c.Datasource.Bucket != nil {
		var err error
		if options.Bucket, err = bucket(ctx, string(c.Name), *c.Datasource.Bucket); err != nil {
			return nil, err
		}
	}
	return files.New(options)
}

// Datasource opens the place where an application keeps its files. The name is the application's, for the logs of whom a
// bucket belongs to.
func Datasource(ctx context.Context, name string, l config.Location) (datasource.Datasource, error) {
	if l.Bucket == nil {
		return datasource.NewFolder(l.Folder, nil), nil
	}
	return bucket(ctx, name, *l.Bucket)
}

// targetDatasource is Datasource for the place of a target, whose errors say so.
func targetDatasource(ctx context.Context, name string, l config.Location) (datasource.Datasource, error) {
	if l.Bucket == nil {
		return datasource.NewFolder(l.Folder, nil).OfTarget(), nil
	}
	b, err := bucket(ctx, name, *l.Bucket)
	if err != nil {
		return nil, err
	}
	return b.OfTarget(), nil
}

func bucket(ctx context.Context, name string, b config.Bucket) (*datasource.Bucket, error) {
	store, err := storeOf(name, b)
	if err != nil {
		return nil, err
	}
	client, err := vault.Connect(ctx, store)
	if err != nil {
		return nil, err
	}
	return datasource.NewBucket(client, b.Name, b.Prefix).As(datasource.Access{Role: b.Role, Owner: b.Owner}), nil
}

// storeOf is Store for the bucket of a source or target, whose name the logs of the other account then show.
func storeOf(name string, b config.Bucket) (vault.Store, error) {
	store, err := Store(b)
	store.Role.Session = "lifeboat-" + name // 64 characters at most; a name has 40
	return store, err
}

// Store resolves how to reach a bucket.
func Store(b config.Bucket) (vault.Store, error) {
	store := vault.Store{Endpoint: b.Endpoint, Region: b.Region, Profile: b.Profile, Owner: b.Owner}
	store.Role = vault.Role{ARN: b.Role, Session: "lifeboat"}
	var err error
	if b.ExternalID != "" {
		if store.Role.ExternalID, err = b.ExternalID.Resolve(); err != nil {
			return store, err
		}
	}
	if b.AccessKey == "" {
		return store, nil
	}
	if store.AccessKey, err = b.AccessKey.Resolve(); err != nil {
		return store, err
	}
	store.SecretKey, err = b.SecretKey.Resolve()
	return store, err
}

// Notifier writes the mails of a configuration. It implements step.Notifier.
type Notifier struct {
	Config  *config.Config
	Vault   *vault.Vault
	LinkKey secret.String
	Holder  string
	Version string
	Sender  notify.Sender // nil: the mail server that the configuration names, or a folder
	From    string        // the sender's address, where Sender is set
}

// MailFolder is where mails are written when no SMTP server is configured: `mail` beside the folder of the state,
// which is var/mail unless the configuration says otherwise.
func MailFolder(c *config.Config) string { return filepath.Join(filepath.Dir(c.StateDir), "mail") }

// defaultFrom is the sender's address when no mail section names one; such mails are only written to a folder.
const defaultFrom = "lifeboat@localhost.localdomain"

// Notify implements step.Notifier.
func (n *Notifier) Notify(ctx context.Context, record catalog.Record, previous *catalog.Record, before backup.Status) (catalog.Notified, error) {
	source, err := n.Config.Source(string(record.Source))
	if err != nil {
		return catalog.Notified{}, err
	}
	if len(source.Notify.To) == 0 {
		return catalog.Notified{Status: "quiet", Message: "the source names nobody to be told (notify: {to: …})"}, nil
	}
	sender, from, err := n.sender()
	if err != nil {
		return catalog.Notified{Status: "failed", Message: err.Error()}, nil
	}
	policy, err := notify.ParsePolicy(string(source.Notify.On))
	if err != nil {
		return catalog.Notified{}, err
	}
	var recipients []notify.Recipient
	for _, to := range source.Notify.To {
		l, err := n.link(ctx, record, source, to)
		if err != nil {
			return catalog.Notified{}, err
		}
		recipients = append(recipients, notify.Recipient{Address: to, Link: l})
	}
	outbox := notify.Outbox{Vault: n.Vault, Sender: sender, Policy: policy, Holder: n.Holder}
	message := notify.Message{Record: record, Previous: previous, From: from, Zone: time.Local, Version: n.Version}
	notified, err := outbox.Deliver(ctx, message, before, recipients...)
	if err == nil && notified.Status == "quiet" {
		notified.Message = fmt.Sprintf("notify: {on: %s} keeps quiet about this run", policy)
	}
	return notified, err
}

func (n *Notifier) sender() (notify.Sender, string, error) {
	if n.Sender != nil {
		return n.Sender, n.From, nil
	}
	mail := n.Config.Mail
	if mail == nil || mail.SMTP == "" {
		from := defaultFrom
		if mail != nil && mail.From != "" {
			from = mail.From
		}
		return notify.Folder{Dir: MailFolder(n.Config)}, from, nil
	}
	address, err := mail.SMTP.Resolve()
	if err != nil {
		return nil, "", err
	}
	smtp, err := notify.NewSMTP(address)
	return smtp, mail.From, err
}

// link makes the link of a good backup that has an archive; where no public address is configured the mail says how to
// serve it.
func (n *Notifier) link(ctx context.Context, record catalog.Record, source config.Source, to string) (notify.Link, error) {
	if !record.Status.Good() || len(record.Archive.Files()) == 0 {
		return notify.Link{}, nil
	}
	if n.Config.Serve.PublicURL == "" {
		return notify.Link{}, nil
	}
	made, err := n.Links().Issue(ctx, record.Source, record.ID, to, link.Options{NeedsCode: record.Secrets && source.Link.Code, Files: len(record.Archive.Files())})
	if err != nil {
		return notify.Link{}, err
	}
	return notify.Link{ID: made.ID, URL: made.URL(n.Config.Serve.PublicURL), Expires: made.Expires, NeedsCode: made.NeedsCode}, nil
}

// Links returns the links of the vault.
func (n *Notifier) Links() *link.Service { return &link.Service{Vault: n.Vault, Key: n.LinkKey} }
