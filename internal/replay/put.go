package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// units reads the units of a batch and does each.
func (s *Steps) units(ctx context.Context, id backup.RestoreID, batch events.Batch, do func(context.Context, restore.Unit) error) error {
	body, _, err := s.Vault.Open(ctx, workKey(id, "plan/units.jsonl"), batch.Offset, batch.Length)
	if err != nil {
		return err
	}
	defer body.Close()
	input := bufio.NewReaderSize(body, 256<<10)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(underWay)
	var bad error
	for working.Err() == nil {
		line, err := input.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		var u restore.Unit
		if err == nil || err == io.EOF {
			err = json.Unmarshal(line, &u)
		}
		if err != nil {
			bad = failure.New(failure.Corrupt, "read the plan of the restore: %w", err)
			break
		}
		group.Go(func() error { return do(working, u) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return bad
}

// result stores what became of a batch. What an earlier call of this attempt has written is still written.
func (s *Steps) result(ctx context.Context, id backup.RestoreID, batch int, r restore.Result) (restore.Result, error) {
	key := workKey(id, fmt.Sprintf("put/%d.json", batch))
	var before restore.Result
	if _, err := s.Vault.GetJSON(ctx, key, &before); err == nil {
		r.Existing = max(r.Existing-before.Written, 0)
		r.Written, r.Bytes = r.Written+before.Written, r.Bytes+before.Bytes
		r.Spliced, r.SplicedBytes = r.Spliced+before.Spliced, r.SplicedBytes+before.SplicedBytes
	}
	_, err := s.Vault.PutJSON(ctx, key, r, vault.Always())
	return r, err
}

// results sums up all batches.
func (s *Steps) results(ctx context.Context, id backup.RestoreID) (restore.Result, error) {
	var sum restore.Result
	for info, err := range s.Vault.List(ctx, workKey(id, "put/")) {
		if err != nil {
			return sum, err
		}
		var r restore.Result
		if _, err := s.Vault.GetJSON(ctx, info.Key, &r); err != nil {
			return sum, err
		}
		sum.Add(r)
	}
	return sum, nil
}

// settled refuses to go on with files that would not be what the documents say: another one has the name, or the bytes
// are wrong.
func settled(r restore.Result) error {
	for _, f := range r.Problems {
		switch f.Kind {
		case "conflict":
			return failure.New(failure.Conflict, "%s %s in the target %s", plain.Text(f.Item), f.Message, more(r.Total)).
				WithHint("nothing of the application's data was brought in yet; move what is in the way, then run the same command again")
		case "corrupt":
			return failure.New(failure.Corrupt, "%s: %s %s", plain.Text(f.Item), f.Message, more(r.Total)).
				WithHint("nothing of the application's data was brought in; restore another backup")
		}
	}
	return nil
}

func more(total int) string {
	if total < 2 {
		return ""
	}
	return fmt.Sprintf("(and %d more)", total-1)
}

// found stores what was found wrong outside of the batches.
func (s *Steps) found(ctx context.Context, id backup.RestoreID, name string, r restore.Result) error {
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
