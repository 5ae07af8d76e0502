package step

import (
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// snapshot stores the documents and the list of objects. Each attempt has a folder of its own, so that one that
// was given up but still lives cannot write into another's files.
func (s *Steps) snapshot(ctx context.Context, run events.Run) (events.Snapshot, error) {
	source, _, err := s.Sources.Open(ctx, run.Source)
	if err != nil {
		return events.Snapshot{}, err
	}
	if err := s.renew(ctx, run); err != nil {
		return events.Snapshot{}, err
	}
	s.phase("snapshot", 0, 0)
	attempt := strings.ToLower(rand.Text()[:10])
	sink := &sink{steps: s, work: s.work(run, attempt), ctx: ctx}
	sink.list = sink.work.create(ctx, sink.work.key("objects.jsonl"), vault.Always())
	sink.found = &lazy{open: func() *writer { return sink.work.create(ctx, sink.work.key("findings.jsonl"), vault.Always()) }}
	facts, err := source.Snapshot(ctx, run.Scope, sink)
	sink.leftOut()
	if err == nil {
		err = sink.err
	}
	if err != nil {
		sink.list.Abort()
		return events.Snapshot{}, sink.found.end(err)
	}
	if err := together(sink.list.Close, func() error { return sink.found.end(nil) }); err != nil {
		return events.Snapshot{}, err
	}
	sink.file.Found = sink.found.w != nil
	for _, d := range sink.file.Documents {
		facts.Secrets = facts.Secrets || d.Entry.Secret
	}
	sink.file.Facts = facts
	if err := sink.work.putJSON(ctx, "snapshot.json", sink.file); err != nil {
		return events.Snapshot{}, err
	}
	return events.Snapshot{Done: true, Attempt: attempt}, nil
}

// sink stores a snapshot in the run's work files.
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
}

// Document implements app.Sink: the content is compressed once, here, and those bytes go into every archive.
func (k *sink) Document(ctx context.Context, d app.Document, body io.Reader) error {
	name := k.work.name(fmt.Sprintf("documents/%d", len(k.file.Documents)))
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
	k.steps.add(1, 0)
	return writeLine(k.list, o)
}

// Found implements app.Sink.
func (k *sink) Found(f app.Finding) {
	if err := writeLine(k.found, f); err != nil && k.err == nil {
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
