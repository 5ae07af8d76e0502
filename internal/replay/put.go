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
	"lifeboat/internal/lines"
	"lifeboat/internal/plain"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// underWay is how many units a batch works on at a time; the destination bounds what they hold in memory.
var underWay = 16

// put writes one batch of files to the target. Those that are there with the right bytes are left alone. What does not
// fit into one call goes on in the next one: see putting.go.
func (s *Steps) put(ctx context.Context, r events.Restore, batch *events.Batch) (events.Copied, done, error) {
	if batch == nil {
		return events.Copied{}, done{}, failure.New(failure.Usage, "the step put needs a batch")
	}
	working, limit := s.limited(ctx)
	defer limit.stop()
	b, place, only, err := s.reopen(ctx, r)
	if err != nil {
		return events.Copied{}, done{}, err
	}
	defer b.end()
	defer place.Close()
	to, err := s.destination(ctx, r, b, place, nil, only)
	if err != nil {
		return events.Copied{}, done{}, err
	}
	if to == nil {
		return events.Copied{}, done{}, failure.New(failure.Internal, "there are files to put, and no place for them")
	}
	defer to.Close()
	p, err := s.puttingSoFar(ctx, r.ID, batch.Batch, limit)
	if err != nil {
		return events.Copied{}, done{}, err
	}
	if batch.Batch == 0 && !p.goesOn {
		s.phase("restore", b.plan.Items, b.plan.Bytes)
	}
	whole, err := s.units(ctx, working.Done(), *batch, p, to)
	if err != nil {
		return events.Copied{}, done{}, errors.Join(err, p.fell(ctx, to.Result()))
	}
	now := to.Result()
	d := done{items: int64(now.Written), bytes: now.Bytes}
	p.Result.Add(now)
	if !whole {
		return events.Copied{Batch: batch.Batch}, d, p.pause(ctx)
	}
	return events.Copied{Batch: batch.Batch, Done: true}, d, s.result(ctx, r.ID, p)
}

// units reads the units of a batch, all at once since doing them may take an hour, and does each. It reports whether the
// batch is done as a whole: when stop is closed, no more units are begun.
func (s *Steps) units(ctx context.Context, stop <-chan struct{}, batch events.Batch, p *putting, to restore.Destination) (whole bool, err error) {
	data, err := s.planned(ctx, p.restore, batch)
	if err != nil {
		return false, err
	}
	group, under := errgroup.WithContext(ctx)
	group.SetLimit(underWay)
	var bad error
	n := 0
	for line := range bytes.Lines(data) {
		k := n
		n++
		if p.is(k) {
			continue
		}
		var u restore.Unit
		if err := json.Unmarshal(line, &u); err != nil {
			bad = failure.New(failure.Corrupt, "read the plan of the restore: %w", err)
			break
		}
		if under.Err() != nil {
			break
		}
		group.Go(func() error { return p.unit(under, stop, k, u, to) })
	}
	err = errors.Join(group.Wait(), bad, ctx.Err())
	return p.all(n), err
}

// planned reads the part of the plan that a batch is.
func (s *Steps) planned(ctx context.Context, id backup.RestoreID, batch events.Batch) ([]byte, error) {
	body, _, err := s.Vault.Open(ctx, vault.RestoreWork(id, "plan/units.jsonl"), batch.Offset, batch.Length)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// result stores what became of a batch. What an earlier put of it in this attempt has written counts as written, and not
// as found there.
func (s *Steps) result(ctx context.Context, id backup.RestoreID, p *putting) error {
	r := p.Result
	if before := p.Before; before != nil {
		r = after(*before, r)
	}
	if _, err := s.Vault.PutJSON(ctx, resultKey(id, p.batch), r, vault.Always()); err != nil {
		return err
	}
	return p.forget(ctx)
}

func resultKey(id backup.RestoreID, batch int) vault.Key {
	return vault.RestoreWork(id, fmt.Sprintf("put/%d.json", batch))
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
		for info, err := range s.Vault.List(ctx, vault.RestoreWork(id, "put/")) {
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
			return failure.New(failure.Conflict, "in the target, %s %s%s", plain.Short(f.Item, 200), f.Message, more(r.Total)).
				WithHint("nothing of the application's data was brought in yet; move what is in the way, then run the same command again")
		case "corrupt":
			return failure.New(failure.Corrupt, "%s: %s%s", plain.Short(f.Item, 200), f.Message, more(r.Total)).
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
	_, err := s.Vault.PutJSON(ctx, vault.RestoreWork(id, "put/"+name+".json"), problems, vault.Always())
	return err
}

// putList stores pairs of words.
func (s *Steps) putList(ctx context.Context, id backup.RestoreID, name string, pairs map[string]string) error {
	if len(pairs) == 0 {
		return nil
	}
	out := s.Vault.NewWriter(ctx, vault.RestoreWork(id, name), vault.Always())
	for _, from := range slices.Sorted(maps.Keys(pairs)) {
		if _, err := lines.Write(out, [2]string{from, pairs[from]}); err != nil {
			out.Abort()
			return err
		}
	}
	return out.Close()
}

// list reads what putList has stored; nil where there is nothing.
func (s *Steps) list(ctx context.Context, id backup.RestoreID, name string) (map[string]string, error) {
	body, _, err := s.Vault.Open(ctx, vault.RestoreWork(id, name), 0, -1)
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
