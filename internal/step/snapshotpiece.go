package step

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// A snapshot that takes longer than its function may is taken in pieces: when the deadline is near, what was listed is
// stored, a cursor beside it says where to go on, and the state machine calls again with the name of the attempt. Each
// piece after the first has a folder of its own below the attempt's, with a random name, and what counts is created
// once: cursor n by the piece that ends as the n-th, snapshot.json by the last. So a call that is repeated goes on where
// the newest cursor is, and of two that work at the same time the first to end counts; the other's files are named by
// nothing, and go with the run.

const (
	// pauseMargin is how long before its deadline a piece stops listing: to store the rest of the list, the findings and
	// the cursor. Where there is little time at all, it is a quarter of that.
	pauseMargin = time.Minute
	// maxPieces bounds the pieces of a snapshot, and so the events that they take in the history of the state machine.
	maxPieces = 100
)

// cursorFile is what a piece leaves for the next.
type cursorFile struct {
	Snapshot snapshotFile    `json:"snapshot"` // so far
	Outside  int             `json:"outside,omitzero"`
	Cursor   json.RawMessage `json:"cursor"` // of the adapter
}

// pieces says in which files the lists of a snapshot lie.
type pieces struct {
	Found bool    `json:"found,omitzero"`   // some piece has a findings.jsonl
	Parts []piece `json:"pieces,omitempty"` // none: there is one, in the attempt's own folder
}

// piece is where one piece of a snapshot lies.
type piece struct {
	Folder string `json:"folder,omitempty"` // below the attempt's; "" or ending with "/"
	Found  bool   `json:"found,omitzero"`   // there is a findings.jsonl
}

// objects returns the files that are the list of objects, in order.
func (p pieces) objects() []string {
	if len(p.Parts) == 0 {
		return []string{"objects.jsonl"}
	}
	var files []string
	for _, part := range p.Parts {
		files = append(files, part.Folder+"objects.jsonl")
	}
	return files
}

// findings returns the files that are what the snapshot noticed, in order.
func (p pieces) findings() []string {
	if p.Found && len(p.Parts) == 0 {
		return []string{"findings.jsonl"}
	}
	var files []string
	for _, part := range p.Parts {
		if part.Found {
			files = append(files, part.Folder+"findings.jsonl")
		}
	}
	return files
}

// readAll yields the JSON Lines of several work files as one list.
func readAll[T any](ctx context.Context, w work, files []string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, file := range files {
			for v, err := range readLines[T](ctx, w, file, 0, -1) {
				if !yield(v, err) || err != nil {
					return
				}
			}
		}
	}
}

// pauseAt returns when a piece has to stop listing; never where nobody has set a time.
func pauseAt(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return deadline.Add(-min(pauseMargin, max(0, time.Until(deadline)/4)))
}

// begin begins an attempt.
func (k *sink) begin(run events.Run) {
	k.work = k.steps.work(run, randomName())
}

func randomName() string { return strings.ToLower(rand.Text()[:10]) }

// goOn goes on with an attempt where its newest cursor is. done says that there is nothing left to do.
func (k *sink) goOn(run events.Run, attempt string) (done bool, err error) {
	k.work, k.folder = k.steps.work(run, attempt), randomName()+"/"
	switch _, err := k.steps.Vault.Head(k.ctx, k.work.key("snapshot.json")); {
	case err == nil:
		return true, nil
	case failure.KindOf(err) != failure.NotFound:
		return false, err
	}
	var newest vault.Key
	for info, err := range k.steps.Vault.List(k.ctx, k.work.key("cursor-")) {
		if err != nil {
			return false, err
		}
		newest = info.Key
	}
	if newest == "" {
		return false, failure.New(failure.NotFound, "the snapshot %q of run %s cannot go on: its cursor is gone", attempt, run.ID).
			WithHint("start the backup again")
	}
	var file cursorFile
	if _, err := k.steps.Vault.GetJSON(k.ctx, newest, &file); err != nil {
		return false, err
	}
	k.file, k.outside, k.from = file.Snapshot, file.Outside, file.Cursor
	k.steps.add(int64(k.file.Objects), 0)
	return false, nil
}

// open opens the lists of the piece.
func (k *sink) open() {
	create := func(file string) *writer { return k.work.create(k.ctx, k.work.key(k.folder+file), vault.Always()) }
	k.list = create("objects.jsonl")
	k.found = &lazy{open: func() *writer { return create("findings.jsonl") }}
}

// Pause implements app.PausingSink. A piece that had time and got no further than the one before it is the last: it would
// go on so for ever. One that was given no time at all takes what it can until it may pause again.
func (k *sink) Pause(cursor func() ([]byte, error)) error {
	if k.pauseAt.IsZero() || time.Now().Before(k.pauseAt) {
		return nil
	}
	at, err := cursor()
	switch {
	case err != nil:
		return err
	case bytes.Equal(at, k.from) && k.late:
		return nil
	case bytes.Equal(at, k.from):
		return failure.New(failure.Exhausted, "the snapshot got no further in the time of one function").
			WithHint("give the function more memory, which makes it faster, or back the source up on a machine: there it has all the time it needs")
	case len(k.file.Parts) >= maxPieces:
		return failure.New(failure.Exhausted, "the snapshot has not ended after %d functions, each of which worked as long as it may", maxPieces+1).
			WithHint("back the source up on a machine: there it has all the time it needs; or divide it into several sources")
	}
	k.cursor = at
	return app.ErrPaused
}

// pause keeps the cursor. Where another call has kept one already, that counts.
func (k *sink) pause() error {
	k.part()
	data, err := json.Marshal(cursorFile{Snapshot: k.file, Outside: k.outside, Cursor: k.cursor})
	if err != nil {
		return err
	}
	return k.first(fmt.Sprintf("cursor-%03d.json", len(k.file.Parts)), data)
}

// complete says what the snapshot learned, and so that it is done.
func (k *sink) complete() error {
	if k.from == nil { // nobody else knows the attempt's name
		return k.work.putJSON(k.ctx, "snapshot.json", k.file)
	}
	k.part()
	data, err := json.Marshal(k.file)
	if err != nil {
		return err
	}
	return k.first("snapshot.json", data)
}

func (k *sink) part() {
	k.file.Parts = append(k.file.Parts, piece{Folder: k.folder, Found: k.found.w != nil})
}

// first creates a file, unless somebody else has.
func (k *sink) first(file string, data []byte) error {
	err := k.steps.Vault.Create(k.ctx, k.work.key(file), data)
	if failure.KindOf(err) == failure.Conflict {
		k.steps.Log.Info("another call was faster with this snapshot", "file", file, "backup", k.work.run.ID)
		return nil
	}
	return err
}

// Reread implements app.PausingSink.
func (k *sink) Reread(ctx context.Context, path string, read func(body io.Reader) error) error {
	for _, d := range k.file.Documents {
		if d.Entry.Path == path {
			return k.reread(ctx, d, read)
		}
	}
	return failure.New(failure.NotFound, "the snapshot has stored no document %q", path)
}

func (k *sink) reread(ctx context.Context, d pack.Document, read func(body io.Reader) error) error {
	stored, _, err := k.steps.Vault.Open(ctx, vault.Work(k.work.run.Source, k.work.run.ID, d.Name), 0, -1)
	if err != nil {
		return err
	}
	defer stored.Close()
	sum := sha256.New()
	body := &inflated{reader: io.TeeReader(flate.NewReader(stored), sum), path: d.Entry.Path}
	if err := read(body); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != d.Entry.SHA256 {
		return failure.New(failure.Corrupt, "the document %q is not what was stored", d.Entry.Path).WithHint("start the backup again")
	}
	return nil
}

// inflated gives what can't be inflated its kind.
type inflated struct {
	reader io.Reader
	path   string
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.reader.Read(p)
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	if (corrupt || errors.Is(err, io.ErrUnexpectedEOF)) && failure.Damage(err) {
		err = failure.New(failure.Corrupt, "the document %q is not what was stored: %w", i.path, err).WithHint("start the backup again")
	}
	return n, err
}
