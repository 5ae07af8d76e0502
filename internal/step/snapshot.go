package step

import (
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/lines"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// snapshot stores the documents and the list of objects. Each attempt has a folder of its own, so that one that
// was given up but still lives cannot write into another's files. Where the time of the function doesn't suffice, an
// attempt is taken in pieces: see snapshotpiece.go.
func (s *Steps) snapshot(ctx context.Context, run events.Run, at *events.Snapshot) (events.Snapshot, error) {
	source, _, err := s.Sources.Open(ctx, run.Source)
	if err != nil {
		return events.Snapshot{}, err
	}
	if err := s.renew(ctx, run); err != nil {
		return events.Snapshot{}, err
	}
	s.phase("snapshot", 0, 0)
	pausing, _ := source.(app.Pausing)
	k := &sink{steps: s, ctx: ctx, time: timeLeft(ctx)}
	if at != nil { // who gives none does not ask again
		k.pauseAt = pauseAt(ctx)
		k.late = !k.pauseAt.IsZero() && !time.Now().Before(k.pauseAt)
	}
	if pausing == nil || at == nil || at.Attempt == "" {
		k.begin(run)
	} else if done, err := k.goOn(run, at.Attempt); err != nil || done {
		return events.Snapshot{Done: done, Attempt: at.Attempt}, err
	}
	k.open()
	var facts app.Facts
	if pausing != nil {
		facts, err = pausing.SnapshotFrom(ctx, run.Scope, k.from, k)
	} else {
		facts, err = source.Snapshot(ctx, run.Scope, k)
	}
	return k.end(facts, err)
}

// end stores what is left of the snapshot, or of a piece of it, or gives up with err.
func (k *sink) end(facts app.Facts, err error) (events.Snapshot, error) {
	paused := k.cursor != nil && errors.Is(err, app.ErrPaused)
	switch {
	case paused:
		err = nil
	case k.cursor != nil && err == nil:
		err = errors.New("the adapter ended a snapshot that was to pause")
	default:
		k.leftOut()
	}
	if err == nil {
		err = k.err
	}
	if err != nil {
		k.list.Abort()
		return events.Snapshot{}, k.found.end(err)
	}
	if err := together(k.list.Close, func() error { return k.found.end(nil) }); err != nil {
		return events.Snapshot{}, err
	}
	k.file.Found = k.file.Found || k.found.w != nil
	if paused {
		return events.Snapshot{Attempt: k.work.attempt}, k.pause()
	}
	for _, d := range k.file.Documents {
		facts.Secrets = facts.Secrets || d.Entry.Secret
	}
	k.file.Facts = facts
	return events.Snapshot{Done: true, Attempt: k.work.attempt}, k.complete()
}

// sink stores a snapshot in the run's work files, or one piece of it.
type sink struct {
	steps *Steps
	work  work
	ctx   context.Context
	list  *writer
	found *lazy
	err   error // of Found, which has no way to say so
	// outside counts the objects that the scope leaves out.
	outside int
	file    snapshotFile

	folder  string          // of this piece's files below the attempt's; "" or ending with "/"
	from    json.RawMessage // where the adapter goes on; nil: it begins
	cursor  json.RawMessage // where the next piece goes on; nil: there is none
	pauseAt time.Time       // zero: never
	late    bool            // the time was over before anything was done
	time    time.Duration   // of the call, which the plan has too; 0: nobody has set one
}

// Document implements app.Sink: the content is compressed once, here, and those bytes go into every archive.
func (k *sink) Document(ctx context.Context, d app.Document, body io.Reader) error {
	name := k.work.name(fmt.Sprintf("%sdocuments/%d", k.folder, len(k.file.Documents)))
	out := k.steps.Vault.NewWriter(ctx, vault.Work(k.work.run.Source, k.work.run.ID, name), vault.Always())
	deflate, err := flate.NewWriter(out, flate.DefaultCompression)
	if err != nil {
		return err
	}
	sum, crc := sha256.New(), crc32.NewIEEE()
	size, err := io.Copy(io.MultiWriter(deflate, sum, crc, progress{k.steps}), body)
	if err == nil {
		err = deflate.Close()
	}
	if err != nil {
		out.Abort()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	modified := d.Modified
	if modified.IsZero() {
		modified = k.work.run.ID.Time()
	}
	k.file.Documents = append(k.file.Documents, pack.Document{Name: name, Entry: manifest.Entry{
		Path: d.Path, Document: true, Secret: d.Secret, Size: size, CRC32: manifest.CRC(crc.Sum32()),
		SHA256: hex.EncodeToString(sum.Sum(nil)), Modified: modified.UTC(),
		Deflated: &manifest.Deflated{Size: out.Size(), CRC32: manifest.CRC(out.CRC32())},
	}})
	return nil
}

// Object implements app.Sink.
func (k *sink) Object(o app.Object) error {
	if !k.work.run.Scope.Holds(o.Modified) {
		k.outside++
		return nil
	}
	k.file.Objects++
	if err := planFits(k.time, k.file.Objects); err != nil { // better now than after hours of listing
		return err
	}
	k.steps.add(1, 0)
	_, err := lines.Write(k.list, o)
	return err
}

// Found implements app.Sink.
func (k *sink) Found(f app.Finding) {
	if _, err := lines.Write(k.found, f); err != nil && k.err == nil {
		k.err = err
	}
}

// leftOut notes how much the scope left out.
func (k *sink) leftOut() {
	if k.outside > 0 {
		k.Found(app.Finding{Severity: app.Note, Kind: "scope", Message: fmt.Sprintf("%d objects lie outside of the scope (%s) and were left out", k.outside, k.work.run.Scope)})
	}
}

type progress struct{ steps *Steps }

func (p progress) Write(b []byte) (int, error) {
	p.steps.add(0, int64(len(b)))
	return len(b), nil
}
