package setup

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/manifest"
	"lifeboat/internal/plain"
	"lifeboat/internal/replay"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// openPrefix makes the throw-away target of a drill where no machine is shared: a prefix of the vault, which gets the files
// of the archive. Nobody reads it but the drill itself, which removes it.
func (t *Targets) openPrefix(id backup.RestoreID, from replay.Backup) replay.Place {
	p := prefixDrill{vault: t.Drills, prefix: string(vault.Drill(id)), kind: from.Kind}
	return replay.Place{App: p, Put: func(ctx context.Context, f replay.Files) (restore.Destination, error) { return p.open(ctx, f) }, Close: func() {}}
}

// prefixDrill is a prefix of the vault as the target of a drill. It is an app.Target without an application: what it
// confirms is that the files are there.
type prefixDrill struct {
	vault  *vault.Vault
	prefix string
	kind   string
}

func (d prefixDrill) open(ctx context.Context, f replay.Files) (*restore.BucketTarget, error) {
	return restore.OpenBucket(ctx, restore.BucketOptions{
		Client: d.vault.Client(), Bucket: d.vault.Bucket(), Prefix: d.prefix, Owner: aws.ToString(d.vault.ExpectedOwner()), Kind: d.kind, Name: f.Name, Wants: f.Wants, Progress: f.Progress,
	})
}

// Preflight implements app.Target.
func (d prefixDrill) Preflight(ctx context.Context, r *app.Replay) (app.Forecast, error) {
	to, err := d.open(ctx, replay.Files{})
	if err != nil {
		return app.Forecast{}, err
	}
	var n int64
	for i, err := range r.Items(ctx) {
		if err != nil {
			return app.Forecast{}, err
		}
		if i.Chosen && to.Wants(entryOf(i)) {
			n++
		}
	}
	return app.Forecast{Application: "files in a throw-away prefix of the vault", Counts: []app.Count{{What: "files", Backup: n, Create: n}}}, nil
}

// Replay implements app.Target: there is nothing to bring in.
func (prefixDrill) Replay(context.Context, *app.Replay) (app.Progress, error) {
	return app.Progress{Done: true}, nil
}

// looks is how many objects a confirmation looks at at a time.
const looks = 32

// Confirm implements app.Target: it holds every object against the manifest, by what the store says of it or, where that
// is no checksum of the whole, by reading it.
func (d prefixDrill) Confirm(ctx context.Context, r *app.Replay) (app.Confirmation, error) {
	to, err := d.open(ctx, replay.Files{})
	if err != nil {
		return app.Confirmation{}, err
	}
	seen := &looked{}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(looks)
	for i, err := range r.Items(ctx) {
		if err != nil {
			return app.Confirmation{}, ended(group, err)
		}
		if working.Err() != nil {
			break
		}
		if e := entryOf(i); i.Chosen && to.Wants(e) {
			group.Go(func() error {
				same, found, err := to.Holds(working, e)
				if err == nil {
					seen.add(e, same, found)
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return app.Confirmation{}, err
	}
	return seen.confirmation(), nil
}

// ended waits for what is under way before an error is returned; what that comes to matters no more.
func ended(group *errgroup.Group, err error) error {
	_ = group.Wait()
	return err
}

// looked is what a confirmation has seen.
type looked struct {
	mutex    sync.Mutex
	items    int64
	good     int64
	bytes    int64 // of what is good
	findings []app.Finding
}

// maxFindings is how many findings a confirmation keeps.
const maxFindings = 1000

func (l *looked) add(e manifest.Entry, same, found bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.items++
	if same {
		l.good, l.bytes = l.good+1, l.bytes+e.Size
		return
	}
	f := app.Finding{Severity: app.Problem, Kind: "missing", Item: e.Path, Message: "is not where it was restored to"}
	if found {
		f.Kind, f.Message = "different", "is there with other bytes than the backup has"
	}
	if len(l.findings) < maxFindings {
		l.findings = append(l.findings, f)
	}
}

func (l *looked) confirmation() app.Confirmation {
	c := app.Confirmation{Counts: []app.Count{{What: "files", Backup: l.items, Create: l.good, Skip: l.items - l.good}}, Findings: l.findings}
	if l.items > 0 && l.good == l.items {
		c.Asserted = []string{
			fmt.Sprintf("%s, %s, were written to a throw-away prefix of the vault and have the sizes and checksums of the manifest there", plain.Count(l.items, "file"), plain.Size(l.bytes)),
			"files only: no application was started with them",
		}
	}
	return c
}

// entryOf is an item as a bucket writes it.
func entryOf(i app.Item) manifest.Entry {
	e := manifest.Entry{Path: i.Object.Path, Size: i.Object.Size, CRC32: manifest.CRC(i.CRC32), SHA256: i.SHA256, Document: i.Document}
	if i.Key != "" {
		e.Origin = &manifest.Origin{Key: i.Key}
	}
	return e
}
