package step

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lines"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// work is the folder of one attempt's files.
type work struct {
	vault   *vault.Vault
	recent  *recent
	run     events.Run
	attempt string
}

func (s *Steps) work(run events.Run, attempt string) work {
	return work{s.Vault, &s.recent, run, attempt}
}

func (w work) name(file string) string { return w.attempt + "/" + file }

func (w work) key(file string) vault.Key {
	return vault.Work(w.run.Source, w.run.ID, w.name(file))
}

// snapshotFile is what a snapshot learned.
type snapshotFile struct {
	Facts     app.Facts       `json:"facts"`
	Documents []pack.Document `json:"documents"`
	Objects   int             `json:"objects"`
	pieces
}

// planFile says what the plan rests on.
type planFile struct {
	Previous []backup.ID `json:"previous"` // whose entries are reused
	Batches  int         `json:"batches"`
	// Moved counts entries that the batches take from the pool, not from the source.
	Moved      int           `json:"moved,omitzero"`
	MovedBytes int64         `json:"moved_bytes,omitzero"`
	Findings   []app.Finding `json:"findings"`

	Run   catalog.Record `json:"run"`   // the run's record as it was
	Packs int            `json:"packs"` // of the earlier backups; there is a packs.jsonl if there are any
	pieces
}

// together does several things at the same time and returns their first error.
func together(work ...func() error) error {
	var group errgroup.Group
	for _, do := range work {
		group.Go(do)
	}
	return group.Wait()
}

// recent keeps what this process wrote last, so that a step need not read back what the step before it wrote. Only
// keys that are written once, or by one attempt, go in.
type recent struct {
	mutex sync.Mutex
	files map[vault.Key][]byte
	size  int
}

const (
	recentFile = 12 << 20 // bytes of a file that is kept
	recentAll  = 36 << 20 // bytes of all
)

func (r *recent) put(key vault.Key, data []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.size -= len(r.files[key])
	delete(r.files, key)
	if len(data) > recentFile || r.size+len(data) > recentAll {
		return
	}
	if r.files == nil {
		r.files = map[vault.Key][]byte{}
	}
	r.files[key] = data
	r.size += len(data)
}

func (r *recent) get(key vault.Key) ([]byte, bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	data, ok := r.files[key]
	return data, ok
}

// forget drops what lies below a prefix.
func (r *recent) forget(prefix vault.Key) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for key, data := range r.files {
		if strings.HasPrefix(string(key), string(prefix)) {
			r.size -= len(data)
			delete(r.files, key)
		}
	}
}

// writer is a vault.Writer that keeps what it wrote.
type writer struct {
	*vault.Writer
	recent *recent
	key    vault.Key
	copy   []byte
}

// create returns the writer of a file that only this attempt writes.
func (w work) create(ctx context.Context, key vault.Key, cond vault.Condition) *writer {
	return &writer{Writer: w.vault.NewWriter(ctx, key, cond), recent: w.recent, key: key}
}

func (w *writer) Write(p []byte) (int, error) {
	if len(w.copy) <= recentFile {
		w.copy = append(w.copy, p...)
	}
	return w.Writer.Write(p)
}

func (w *writer) Close() error {
	err := w.Writer.Close()
	if err == nil {
		w.recent.put(w.key, w.copy)
	}
	return err
}

// lazy is a file that is there only if something was written.
type lazy struct {
	open func() *writer
	w    *writer
}

func (l *lazy) Write(p []byte) (int, error) {
	if l.w == nil {
		l.w = l.open()
	}
	return l.w.Write(p)
}

// end makes the file visible, or gives it up with err.
func (l *lazy) end(err error) error {
	switch {
	case l.w == nil:
		return err
	case err != nil:
		l.w.Abort()
		return err
	}
	return l.w.Close()
}

// open reads a range of a file; all of it with a negative length.
func (w work) open(ctx context.Context, key vault.Key, offset, length int64) (io.ReadCloser, error) {
	data, ok := w.recent.get(key)
	if !ok {
		body, _, err := w.vault.Open(ctx, key, offset, length)
		return body, err
	}
	if length < 0 {
		length = int64(len(data)) - offset
	}
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(data), offset, length)), nil
}

// putJSON writes a small file of the attempt.
func (w work) putJSON(ctx context.Context, file string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := w.vault.Put(ctx, w.key(file), data, vault.Always()); err != nil {
		return err
	}
	w.recent.put(w.key(file), data)
	return nil
}

// getJSON reads a small file of the attempt.
func (w work) getJSON(ctx context.Context, file string, value any) error {
	if data, ok := w.recent.get(w.key(file)); ok {
		return json.Unmarshal(data, value)
	}
	_, err := w.vault.GetJSON(ctx, w.key(file), value)
	return err
}

// writeLines streams values as JSON Lines into a work file.
func writeLines[T any](ctx context.Context, w work, file string, values iter.Seq[T]) error {
	out := w.create(ctx, w.key(file), vault.Always())
	for v := range values {
		if _, err := lines.Write(out, v); err != nil {
			out.Abort()
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	return out.Close()
}

// readLines yields the JSON Lines of a range of a work file; all of it with a negative length.
func readLines[T any](ctx context.Context, w work, file string, offset, length int64) iter.Seq2[T, error] {
	return linesOf[T](ctx, w, w.key(file), offset, length)
}

func linesOf[T any](ctx context.Context, w work, key vault.Key, offset, length int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		body, err := w.open(ctx, key, offset, length)
		if err != nil {
			yield(zero, err)
			return
		}
		defer body.Close()
		input := bufio.NewReaderSize(body, 256<<10)
		next := func() ([]byte, error) {
			line, err := input.ReadBytes('\n')
			if err == io.EOF && len(line) > 0 {
				err = nil
			}
			return line, err
		}
		for v, err := range lines.Decode(next, decodeLine[T]) {
			if err == io.EOF {
				return
			}
			if err != nil && failure.KindOf(err) == failure.Internal {
				err = failure.New(failure.Corrupt, "read %s: %w", key, err)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func decodeLine[T any](line []byte) (T, error) {
	var v T
	err := json.Unmarshal(line, &v)
	return v, err
}

// openManifest opens the manifest of a backup.
func (s *Steps) openManifest(ctx context.Context, source backup.Source, id backup.ID) (*manifest.Reader, io.Closer, error) {
	return work{vault: s.Vault, recent: &s.recent}.list(ctx, vault.Manifest(source, id))
}

// list opens a signed list of entries: a manifest, or that of a volume.
func (w work) list(ctx context.Context, key vault.Key) (*manifest.Reader, io.Closer, error) {
	body, err := w.open(ctx, key, 0, -1)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Open(body)
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return m, body, nil
}
