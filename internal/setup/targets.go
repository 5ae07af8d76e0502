package setup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/app/linkding"
	"lifeboat/internal/app/zipline"
	"lifeboat/internal/app/zipline/standin"
	"lifeboat/internal/backup"
	"lifeboat/internal/config"
	"lifeboat/internal/datasource"
	"lifeboat/internal/failure"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Targets opens what restores write to. It implements replay.Targets.
type Targets struct {
	Config  *config.Config
	Zipline zipline.TargetOptions // what the configuration doesn't say: time-outs, client, clock
	Drills  *vault.Vault          // whose prefix drills/ throw-away targets lie below; nil: in a folder of this machine
	Account string                // of who runs this, where it is known: the buckets that restores name belong to it; "": to any

	mutex  sync.Mutex
	drills map[backup.RestoreID]*drill
}

// Name implements replay.Targets.
func (t *Targets) Name(to events.To) (string, error) {
	switch {
	case to.ThrowAway():
		return "drill", nil
	case to.Folder != "":
		folder := filepath.Clean(to.Folder)
		return "dir:" + folder, t.Config.Apart(config.Location{Folder: folder})
	case to.Bucket != nil:
		b := bucketOf(*to.Bucket)
		if b.Owner != "" && !config.IsAccount(b.Owner) {
			return "", failure.New(failure.Usage, "the owner of the bucket %s must be the 12 digits of an AWS account", b.Name).WithHint("such as 111122223333")
		}
		return b.String(), t.Config.Apart(config.Location{Bucket: &b})
	}
	c, err := t.Config.Target(to.Target)
	return c.Name, err
}

// bucketOf is the bucket that a restore names itself.
func bucketOf(b events.Bucket) config.Bucket {
	return config.Bucket{
		Name: b.Name, Prefix: strings.Trim(b.Prefix, "/"), Endpoint: b.Endpoint, Region: b.Region, Profile: b.Profile,
		AccessKey: secret.Reference(b.AccessKey), SecretKey: secret.Reference(b.SecretKey), Owner: b.Owner,
	}
}

// Open implements replay.Targets.
func (t *Targets) Open(ctx context.Context, id backup.RestoreID, to events.To, from replay.Backup, wishes app.Wishes) (replay.Place, error) {
	switch {
	case to.ThrowAway() && t.Drills != nil:
		return t.openPrefix(id, from), PlainWishes(wishes)
	case to.ThrowAway():
		return t.openDrill(ctx, id, from)
	case to.Folder != "":
		return plainFolder(filepath.Join(to.Folder, wishes.Name), from), PlainWishes(wishes)
	case to.Bucket != nil:
		b := bucketOf(*to.Bucket)
		b.Prefix = strings.Trim(b.Prefix+"/"+wishes.Name, "/")
		return plainBucket(ctx, t.intoBucket("restore", t.owned(t.reach(b)), from.Kind, restore.Layout(to.Bucket.Layout))), PlainWishes(wishes)
	}
	c, err := t.Config.Target(to.Target)
	if err != nil {
		return replay.Place{}, err
	}
	if err := matches(c, from, wishes); err != nil {
		return replay.Place{}, err
	}
	return t.openTarget(ctx, c, from, wishes)
}

// PlainWishes refuses for a folder or a bucket what only applications can do.
func PlainWishes(w app.Wishes) error {
	if w.As != "" || w.Rename || w.FolderInto != "" {
		return failure.New(failure.Usage, "--as, --rename and --folder-into are for targets of kind zipline, not for folders and buckets").
			WithHint("leave them out")
	}
	return nil
}

// Wishes refuses what the application of a target can't do, whatever is restored.
func Wishes(c config.Target, w app.Wishes) error {
	switch {
	case c.Kind != "zipline" && (w.As != "" || w.Rename || w.FolderInto != ""):
		return failure.New(failure.Usage, "--as, --rename and --folder-into are for targets of kind zipline; %s is of kind %s", c.Name, c.Kind).
			WithHint("leave them out")
	case w.Name != "" && w.FolderInto == "":
		return failure.New(failure.Usage, "--name: what is restored into %s, a %s, has no name of its own", c.Name, c.Kind).
			WithHint("leave it out; folders, buckets and --folder-into take a name")
	case w.FolderInto != "" && (w.As != "" || w.Rename):
		return failure.New(failure.Usage, "--as and --rename are for a whole Zipline: --folder-into brings in no users").
			WithHint("leave them out")
	}
	return nil
}

// matches refuses a backup that the target's application can do nothing with.
func matches(c config.Target, from replay.Backup, wishes app.Wishes) error {
	switch {
	case from.Kind == "":
		return failure.New(failure.Invalid, "nothing in the archive says which application it is of: it can't be restored into %s, a %s", c.Name, c.Kind).
			WithHint("restore it into a folder: --to dir:PATH")
	case from.Kind != c.Kind:
		return failure.New(failure.Invalid, "a backup of kind %s can't be restored into %s, which is of kind %s", from.Kind, c.Name, c.Kind).
			WithHint("name a target of kind %s, or restore into a folder: --to dir:PATH", from.Kind)
	}
	return Wishes(c, wishes)
}

func (t *Targets) openTarget(ctx context.Context, c config.Target, from replay.Backup, wishes app.Wishes) (replay.Place, error) {
	place := replay.Place{Close: func() {}}
	var err error
	switch c.Kind {
	case "zipline":
		return t.openZipline(ctx, c, from, wishes)
	case "linkding":
		place.App, err = linkding.NewTarget(linkding.TargetOptions{Data: c.Datasource.Folder})
	case "files":
		var there datasource.Datasource
		if there, err = targetDatasource(ctx, c.Name, c.Datasource); err == nil {
			place.App, err = files.NewTarget(files.TargetOptions{Place: there, Folder: c.Datasource.Folder})
		}
	default:
		err = failure.New(failure.Usage, "targets of kind %s are not served yet", c.Kind)
	}
	place.Put = t.into(c, from)
	if folder := c.Datasource.Folder; folder != "" { // it may be made, and goes again if nothing comes of it
		place.Ready = func(bool) (func(), error) { return readyFolder(folder, true) }
	}
	return place, err
}

func (t *Targets) openZipline(ctx context.Context, c config.Target, from replay.Backup, wishes app.Wishes) (replay.Place, error) {
	token, err := c.Token.Resolve()
	if err != nil {
		return replay.Place{}, err
	}
	there, err := targetDatasource(ctx, c.Name, c.Datasource)
	if err != nil {
		return replay.Place{}, err
	}
	options := t.Zipline
	options.URL, options.Token, options.Datasource = c.URL, token, there
	return ziplinePlace(options, t.into(c, from), wishes)
}

// ziplinePlace is a Zipline that a backup of all of it, or of a folder, is replayed into.
func ziplinePlace(options zipline.TargetOptions, put putter, wishes app.Wishes) (replay.Place, error) {
	place := replay.Place{Close: func() {}}
	var err error
	if wishes.FolderInto != "" {
		place.App, err = zipline.NewFolderTarget(options)
		return place, err
	}
	place.App, err = zipline.NewTarget(options)
	place.Put = put
	return place, err
}

// putter opens where the files of a restore go.
type putter = func(ctx context.Context, f replay.Files) (restore.Destination, error)

// into puts files into a target's datasource, which may hold others.
func (t *Targets) into(c config.Target, from replay.Backup) putter {
	l := c.Datasource
	if l.Bucket != nil {
		return t.intoBucket(c.Name, *l.Bucket, from.Kind, "")
	}
	put := intoFolder(l.Folder, from)
	return func(ctx context.Context, f replay.Files) (restore.Destination, error) {
		f.Existing = true
		return put(ctx, f)
	}
}

func intoFolder(folder string, from replay.Backup) putter {
	return func(_ context.Context, f replay.Files) (restore.Destination, error) {
		to, err := restore.OpenFolderTarget(restore.FolderOptions{
			Folder: folder, Existing: f.Existing, Kind: from.Kind, Name: f.Name, Wants: f.Wants, Progress: f.Progress,
		})
		if err != nil {
			return nil, inaccessible(folder, err)
		}
		return to, nil
	}
}

func plainFolder(folder string, from replay.Backup) replay.Place {
	ready := func(existing bool) (func(), error) { return readyFolder(folder, existing) }
	return replay.Place{Ready: ready, Put: intoFolder(folder, from), Close: func() {}}
}

func plainBucket(ctx context.Context, put putter) replay.Place {
	ready := func(bool) (func(), error) {
		to, err := put(ctx, replay.Files{})
		if err == nil {
			err = to.Close()
		}
		return func() {}, err
	}
	return replay.Place{Ready: ready, Put: put, Close: func() {}}
}

func (t *Targets) intoBucket(name string, b config.Bucket, kind string, layout restore.Layout) putter {
	return func(ctx context.Context, f replay.Files) (restore.Destination, error) {
		store, err := storeOf(name, b)
		if err != nil {
			return nil, err
		}
		client, err := vault.Connect(ctx, store)
		if err != nil {
			return nil, err
		}
		if err := Credentialed(ctx, client, "give --access-key and --secret-key, or --profile; --endpoint where the store is not AWS"); err != nil {
			return nil, err
		}
		return restore.OpenBucket(ctx, restore.BucketOptions{
			Client: client, Bucket: b.Name, Prefix: b.Prefix, Role: b.Role, Owner: b.Owner,
			Kind: kind, Layout: layout, Name: f.Name, Wants: f.Wants, Progress: f.Progress,
		})
	}
}

// reach returns how to reach a bucket that a restore names: as it says, or else like the vault, if that is a bucket.
func (t *Targets) reach(b config.Bucket) config.Bucket {
	if b.Endpoint != "" || b.Profile != "" || b.AccessKey != "" || t.Config.Vault.Bucket == nil {
		return b
	}
	like := *t.Config.Vault.Bucket
	like.Name, like.Prefix, like.Owner = b.Name, b.Prefix, b.Owner
	if b.Region != "" {
		like.Region = b.Region
	}
	return like
}

// owned says which account a bucket that a restore names must belong to, where the restore doesn't: the one that
// lifeboat.yaml has for a bucket of this name, or else, where nothing says that another principal reaches it, the account
// of who runs this.
func (t *Targets) owned(b config.Bucket) config.Bucket {
	if b.Owner != "" {
		return b
	}
	for _, l := range t.locations() {
		if l.Bucket != nil && l.Bucket.Name == b.Name && l.Bucket.Endpoint == b.Endpoint && l.Bucket.Owner != "" {
			b.Owner = l.Bucket.Owner
			return b
		}
	}
	if b.Endpoint == "" && b.Profile == "" && b.AccessKey == "" && b.Role == "" {
		b.Owner = t.Account
	}
	return b
}

// locations returns where the targets and sources of the configuration have their files.
func (t *Targets) locations() []config.Location {
	var all []config.Location
	for _, to := range t.Config.Targets {
		all = append(all, to.Datasource)
	}
	for _, s := range t.Config.Sources {
		all = append(all, s.Datasource)
	}
	return all
}

// drill is the throw-away target of one restore.
type drill struct {
	folder string
	server *http.Server
	admin  string // of a Zipline
	place  replay.Place
}

// openDrill makes the throw-away target of a restore, or returns the one that it has.
func (t *Targets) openDrill(ctx context.Context, id backup.RestoreID, from replay.Backup) (replay.Place, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if d, ok := t.drills[id]; ok && !d.other(ctx, from) {
		return d.place, nil
	} else if ok {
		d.end()
		delete(t.drills, id)
	}
	folder, err := os.MkdirTemp("", "lifeboat-drill-")
	if err != nil {
		return replay.Place{}, noFolder(err)
	}
	d := &drill{folder: folder}
	if err := d.open(ctx, from); err != nil {
		d.end()
		return replay.Place{}, err
	}
	if t.drills == nil {
		t.drills = map[backup.RestoreID]*drill{}
	}
	t.drills[id] = d
	return d.place, nil
}

// other reports whether the export says now that somebody else made it: it was read from packs that are damaged, and is
// read from the archive in their place. Nothing has been put yet then.
func (d *drill) other(ctx context.Context, from replay.Backup) bool {
	if d.admin == "" || from.Open == nil {
		return false
	}
	admin, err := exporter(ctx, from)
	return err == nil && admin != d.admin
}

// noFolder says why a drill has no folder for its target.
func noFolder(err error) error {
	kind := failure.KindOf(err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		kind = failure.NotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = failure.Denied
	}
	if kind == failure.Internal {
		return fmt.Errorf("make the folder of the drill: %w", err)
	}
	return failure.New(kind, "make the folder of the drill: %w", err).
		WithHint("a drill writes below %s, the folder for temporary files: $TMPDIR names another one", os.TempDir())
}

func (d *drill) open(ctx context.Context, from replay.Backup) error {
	d.place = replay.Place{Put: intoFolder(d.folder, from), Close: func() {}}
	there := datasource.NewFolder(d.folder, nil)
	var err error
	switch {
	case from.Kind == "zipline":
		return d.openZipline(ctx, from, there)
	case from.Kind == "linkding":
		d.place.App, err = linkding.NewTarget(linkding.TargetOptions{Data: d.folder})
	case from.Kind == "files":
		d.place.App, err = files.NewTarget(files.TargetOptions{Place: there, Folder: d.folder})
	case from.Kind == "":
		err = failure.New(failure.Invalid, "nothing in the archive says which application it is of").WithHint("restore it into a folder instead")
	}
	return err
}

// room is what a drill's Zipline says of its disk. A disk that is full is found when files are put.
var room = standin.Storage{Total: 1 << 50, Available: 1 << 50}

// openZipline starts the built-in stand-in, which has the rules of a real Zipline's import, on this machine.
func (d *drill) openZipline(ctx context.Context, from replay.Backup, there datasource.Datasource) error {
	admin, wishes := "drill", app.Wishes{}
	if from.Folder != "" {
		wishes.FolderInto = "root"
	} else {
		var err error
		if d.admin, err = exporter(ctx, from); err != nil {
			switch failure.KindOf(err) {
			case failure.Corrupt, failure.NotFound, failure.Invalid: // the check says so, or finds the archive whole
				d.admin = admin
			default:
				return err
			}
		}
		admin = d.admin
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	token := rand.Text() // others on this machine can reach the port
	server := standin.New(standin.Options{Admin: admin, Token: token, Datasource: d.folder, NoRateLimits: true, Storage: room})
	d.server = &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	go func() { _ = d.server.Serve(listener) }()
	options := zipline.TargetOptions{URL: "http://" + listener.Addr().String(), Token: secret.New(token), Datasource: there, Sleep: nap}
	d.place, err = ziplinePlace(options, intoFolder(d.folder, from), wishes)
	if err == nil && from.Folder != "" {
		d.place.App = inRoot{d.place.App}
	}
	return err
}

// inRoot rebuilds a folder at the root, which nobody has asked for.
type inRoot struct{ app.Target }

func (t inRoot) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	return t.Target.Preflight(ctx, rooted(r))
}

func (t inRoot) Replay(ctx context.Context, r *app.Replay) (app.Progress, error) {
	return t.Target.Replay(ctx, rooted(r))
}

func (t inRoot) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	return t.Target.Confirm(ctx, rooted(r))
}

func rooted(r *app.Replay) *app.Replay {
	there := *r
	there.Wishes.FolderInto = "root"
	return &there
}

// nap doesn't wait: the stand-in of a drill has no limits, and has answered when it is done.
func nap(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// exporter is the user of Zipline whose token made the export. The stand-in's administrator gets that name, as people do
// it who set up a new Zipline for their backup.
func exporter(ctx context.Context, from replay.Backup) (string, error) {
	body, err := from.Open(ctx, zipline.Export)
	if err != nil {
		return "", err
	}
	defer body.Close()
	return zipline.Exporter(body)
}

// EndDrill removes the throw-away target of a restore.
func (t *Targets) EndDrill(id backup.RestoreID) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if d, ok := t.drills[id]; ok {
		d.end()
		delete(t.drills, id)
	}
}

func (d *drill) end() {
	if d.server != nil {
		_ = d.server.Close()
	}
	_ = os.RemoveAll(d.folder)
}
