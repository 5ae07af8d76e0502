package step

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/archive"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// work is the folder of one attempt's files.
type work struct {
	vault   *vault.Vault
	run     events.Run
	attempt string
}

func (s *Steps) work(run events.Run, attempt string) work { return work{s.Vault, run, attempt} }

func (w work) name(file string) string { return w.attempt + "/" + file }

func (w work) key(file string) vault.Key {
	return vault.Work(w.run.Source, w.run.ID, w.name(file))
}

// snapshotFile is what a snapshot learned.
type snapshotFile struct {
	Facts     app.Facts       `json:"facts"`
	Documents []pack.Document `json:"documents"`
	Objects   int             `json:"objects"`
}

// planFile says what the plan rests on.
type planFile struct {
	source   backup.Source // not stored
	Previous []backup.ID   `json:"previous"` // whose entries are reused
	Batches  int           `json:"batches"`
	Findings []app.Finding `json:"findings"`
}

// assemblyFile says what the archive will be.
type assemblyFile struct {
	Manifest  string       `json:"manifest"` // SHA-256 of its lines
	Entries   int          `json:"entries"`
	Documents int          `json:"documents"`
	Objects   int          `json:"objects"`
	Bytes     int64        `json:"bytes"` // of contents
	Data      int64        `json:"data"`  // bytes of the archive before its tail
	DataCRC   manifest.CRC `json:"data_crc"`
	Tail      int64        `json:"tail"`
	TailCRC   manifest.CRC `json:"tail_crc"`
}

// writeLines streams values as JSON Lines into a work file.
func writeLines[T any](ctx context.Context, w work, file string, values iter.Seq[T]) error {
	out := w.vault.NewWriter(ctx, w.key(file), vault.Always())
	for v := range values {
		if err := writeLine(out, v); err != nil {
			out.Abort()
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	return out.Close()
}

func writeLine(out io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

// readLines yields the JSON Lines of a range of a work file; all of it with a negative length.
func readLines[T any](ctx context.Context, w work, file string, offset, length int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		body, _, err := w.vault.Open(ctx, w.key(file), offset, length)
		if err != nil {
			yield(zero, err)
			return
		}
		defer body.Close()
		dec := json.NewDecoder(bufio.NewReaderSize(body, 256<<10))
		for {
			var v T
			err := dec.Decode(&v)
			if err == io.EOF {
				return
			}
			if err != nil && failure.KindOf(err) == failure.Internal {
				err = failure.New(failure.Corrupt, "read %s: %w", w.key(file), err)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// packKey is where a pack lies; the one place that will follow aliases of merged packs.
func packKey(source backup.Source, packs map[string]manifest.Pack) func(string) (vault.Key, int64) {
	return func(id string) (vault.Key, int64) { return vault.Pack(source, id), packs[id].Bytes }
}

// openManifest opens the manifest of a backup.
func openManifest(ctx context.Context, v *vault.Vault, source backup.Source, id backup.ID) (*manifest.Reader, io.Closer, error) {
	body, _, err := v.Open(ctx, vault.Manifest(source, id), 0, -1)
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

// layout reads the manifest of the run and returns the ranges of its archive, the tail last.
func (w work) layout(ctx context.Context, a assemblyFile) (*archive.Layout, error) {
	m, body, err := openManifest(ctx, w.vault, w.run.Source, w.run.ID)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	layout := archive.NewLayout(packKey(w.run.Source, m.Packs))
	for e, err := range m.Entries() {
		if err != nil {
			return nil, err
		}
		layout.Add(e)
	}
	if layout.Size != a.Data || manifest.CRC(layout.CRC32) != a.DataCRC || m.Digest() != a.Manifest {
		return nil, failure.New(failure.Corrupt, "the manifest of %s is not the one that was planned with", w.run.ID)
	}
	layout.Append(archive.Range{Key: w.key("tail"), Length: a.Tail, Object: a.Tail}, uint32(a.TailCRC))
	return layout, nil
}
