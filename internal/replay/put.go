package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// workKey is a file that a restore needs.
func workKey(id backup.RestoreID, name string) vault.Key { return vault.RestoreWork(id, name) }

// counted counts what is written.
type counted struct {
	w *vault.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func writeLine(out io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

// underWay is how many units a batch works on at a time; the destination bounds what they hold in memory.
const underWay = 16

// put writes one batch of files to the target. Those that are there with the right bytes are left alone.
func (s *Steps) put(ctx context.Context, r events.Restore, batch *events.Batch) (map[string]int, done, error) {
	if batch == nil {
		return nil, done{}, failure.New(failure.Usage, "the step put needs a batch")
	}
	b, place, only, err := s.reopen(ctx, r)
	if err != nil {
		return nil, done{}, err
	}
	defer b.end()
	defer place.Close()
	to, err := s.destination(ctx, r, b, place, nil, only)
	if err != nil {
		return nil, done{}, err
	}
	if to == nil {
		return nil, done{}, failure.New(failure.Internal, "there are files to put, and no place for them")
	}
	defer to.Close()
	if batch.Batch == 0 {
		s.phase("restore", b.plan.Items, b.plan.Bytes)
	}
	if err := s.units(ctx, r.ID, *batch, to.Do); err != nil {
		return nil, done{}, err
	}
	result, err := s.result(ctx, r.ID, batch.Batch, to.Result())
	d := done{items: int64(result.Written), bytes: result.Bytes}
	return map[string]int{"batch": batch.Batch}, d, err
}

// units reads the units of a batch, all at once since doing them may take an hour, and does each.
func (s *Steps) units(ctx context.Context, id backup.RestoreID, batch events.Batch, do func(context.Context, restore.Unit) error) error {
	data, err := s.planned(ctx, id, batch)
	if err != nil {
		return err
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(underWay)
	var bad error
	for line := range bytes.Lines(data) {
		var u restore.Unit
		if err := json.Unmarshal(line, &u); err != nil {
			bad = failure.New(failure.Corrupt, "read the plan of the restore: %w", err)
			break
		}
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return do(working, u) })
	}
	return errors.Join(group.Wait(), bad, ctx.Err())
}

// planned reads the part of the plan that a batch is.
func (s *Steps) planned(ctx context.Context, id backup.RestoreID, batch events.Batch) ([]byte, error) {
	body, _, err := s.Vault.Open(ctx, workKey(id, "plan/units.jsonl"), batch.Offset, batch.Length)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// result stores what became of a batch. What an earlier call of this attempt has written counts as written, and not as
// found there.
func (s *Steps) result(ctx context.Context, id backup.RestoreID, batch int, r restore.Result) (restore.Result, error) {
	key := workKey(id, fmt.Sprintf("put/%d.json", batch))
	var before restore.Result
	_, err := s.Vault.GetJSON(ctx, key, &before)
	switch {
	case err == nil:
		existing := min(r.Existing, before.Existing)
		r.Written, r.Existing = r.Written+r.Existing-existing, existing
		r.Bytes += before.Bytes
		r.Spliced, r.SplicedBytes = min(r.Spliced+before.Spliced, r.Written), r.SplicedBytes+before.SplicedBytes
	case failure.KindOf(err) != failure.NotFound:
		return r, err
	}
	_, err = s.Vault.PutJSON(ctx, key, r, vault.Always())
	return r, err
}

// results sums up all batches.
func (s *Steps) results(ctx context.Context, id backup.RestoreID) (restore.Result, error) {
	var sum restore.Result
	for r, err := range s.parts(ctx, id) {
		if err != nil {
			return sum, err
		}
		sum.Add(r)
	}
	return sum, nil
}

// parts yields what became of each batch.
func (s *Steps) parts(ctx context.Context, id backup.RestoreID) iter.Seq2[restore.Result, error] {
	return func(yield func(restore.Result, error) bool) {
		for info, err := range s.Vault.List(ctx, workKey(id, "put/")) {
			var r restore.Result
			if err == nil {
				_, err = s.Vault.GetJSON(ctx, info.Key, &r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// settled refuses to go on with files that would not be what the documents say: another one has the name, or the bytes
// are wrong.
func (s *Steps) settled(ctx context.Context, id backup.RestoreID) error {
	for r, err := range s.parts(ctx, id) { // each part keeps its own first problems, the sum only those of the first parts
		if err == nil {
			err = settled(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func settled(r restore.Result) error {
	for _, f := range r.Problems {
		switch f.Kind {
		case "conflict":
			return failure.New(failure.Conflict, "in the target, %s %s%s", plain.Text(f.Item), f.Message, more(r.Total)).
				WithHint("nothing of the application's data was brought in yet; move what is in the way, then run the same command again")
		case "corrupt":
			return failure.New(failure.Corrupt, "%s: %s%s", plain.Text(f.Item), f.Message, more(r.Total)).
				WithHint("nothing of the application's data was brought in; restore another backup")
		}
	}
	if r.Total > len(r.Problems) {
		return failure.New(failure.Exhausted, "%s files could not be written, more than are looked through for conflicts", plain.Number(int64(r.Total))).
			WithHint("nothing of the application's data was brought in; restore into a folder to see them all: --to dir:PATH")
	}
	return nil
}

func more(total int) string {
	if total < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", total-1)
}

// found stores what was found wrong outside of the batches. What an earlier call has found stays: the next one doesn't
// find it again.
func (s *Steps) found(ctx context.Context, id backup.RestoreID, name string, r restore.Result) error {
	if r.Total == 0 {
		return nil
	}
	problems := restore.Result{Problems: r.Problems, Total: r.Total}
	_, err := s.Vault.PutJSON(ctx, workKey(id, "put/"+name+".json"), problems, vault.Always())
	return err
}

// putList stores pairs of words.
func (s *Steps) putList(ctx context.Context, id backup.RestoreID, name string, pairs map[string]string) error {
	if len(pairs) == 0 {
		return nil
	}
	out := s.Vault.NewWriter(ctx, workKey(id, name), vault.Always())
	for _, from := range slices.Sorted(maps.Keys(pairs)) {
		if err := writeLine(out, [2]string{from, pairs[from]}); err != nil {
			out.Abort()
			return err
		}
	}
	return out.Close()
}

// list reads what putList has stored; nil where there is nothing.
func (s *Steps) list(ctx context.Context, id backup.RestoreID, name string) (map[string]string, error) {
	body, _, err := s.Vault.Open(ctx, workKey(id, name), 0, -1)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			err = nil
		}
		return nil, err
	}
	defer body.Close()
	pairs := map[string]string{}
	for d := json.NewDecoder(bufio.NewReader(body)); ; {
		var pair [2]string
		if err := d.Decode(&pair); err == io.EOF {
			return pairs, nil
		} else if err != nil {
			return nil, failure.New(failure.Corrupt, "read %s of the restore: %w", name, err)
		}
		pairs[pair[0]] = pair[1]
	}
}
