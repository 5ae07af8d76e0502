package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/pack"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// reserve is how long before its deadline a batch stops: parts in flight are written by then, and how far it is.
const reserve = time.Minute

// copy packs one batch. A batch whose result is there is done; one that streams, and is not done before the deadline,
// goes on with the next call.
func (s *Steps) copy(ctx context.Context, w work, batch *events.Batch) (events.Copied, error) {
	if batch == nil {
		return events.Copied{}, failure.New(failure.Usage, "the step copy needs a batch")
	}
	answer := events.Copied{Batch: batch.Batch, Done: true}
	result := w.key(fmt.Sprintf("packed/%d.json", batch.Batch))
	if _, err := s.Vault.Head(ctx, result); failure.KindOf(err) != failure.NotFound {
		return answer, err
	}
	source, _, err := s.Sources.Open(ctx, w.run.Source)
	if err != nil {
		return answer, err
	}
	if err := s.renew(ctx, w.run); err != nil {
		return answer, err
	}
	var items []pack.Item
	for item, err := range readLines[pack.Item](ctx, w, "plan.jsonl", batch.Offset, batch.Length) {
		if err != nil {
			return answer, err
		}
		items = append(items, item)
	}
	packer, err := s.packer(ctx, w, source, items)
	if err != nil {
		return answer, err
	}
	reading, cancel, near := Limited(ctx, reserve, nil)
	defer cancel()
	var going vault.Key
	if near {
		going = w.key(fmt.Sprintf("going/%d", batch.Batch))
	}
	packed, done, err := packer.PackSome(ctx, reading, going, batch.Batch, items)
	if err != nil {
		if lost := s.written(ctx, w.run); errors.Is(lost, catalog.ErrLeaseLost) {
			err = lost
		}
		return answer, fmt.Errorf("pack batch %d: %w", batch.Batch, err)
	}
	if answer.Done = done; done {
		err = s.result(ctx, w, result, packed)
	}
	if err == nil {
		err = s.written(ctx, w.run)
	}
	return answer, err
}

// result stores what became of a batch.
func (s *Steps) result(ctx context.Context, w work, key vault.Key, packed pack.Result) error {
	if err := s.hold(ctx, w.run); err != nil {
		return err
	}
	err := pack.WriteResult(ctx, s.Vault, key, packed)
	if err != nil && failure.KindOf(err) == failure.Conflict {
		err = nil // another attempt was faster; its result counts
	}
	return err
}

// packer returns what packs the items of a run.
func (s *Steps) packer(ctx context.Context, w work, source app.Source, items []pack.Item) (*pack.Packer, error) {
	p := &pack.Packer{Vault: s.Vault, Source: w.run.Source, Backup: w.run.ID, Fresh: w.run.Rehash, Open: source.Open, Progress: s.add}
	p.Equal, p.Hold = s.Vault.EqualParts(), func(ctx context.Context) error { return s.holdOpen(ctx, w.run) }
	if stored, ok := source.(app.Stored); ok && !p.Equal {
		p.Located = func(o app.Object) (app.Location, bool) {
			at, ok := stored.Located(o)
			return at, ok && s.Vault.SameStore(at.Endpoint)
		}
	}
	if describer, ok := source.(app.Describer); ok {
		p.Describe = describer.Describe
	}
	var err error
	if slices.ContainsFunc(items, func(i pack.Item) bool { return i.Stored != nil }) {
		p.Pool, err = pool.Open(ctx, s.Vault, w.run.Source)
	}
	return p, err
}
