package step

import (
	"context"
	"fmt"
	"slices"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/pack"
	"lifeboat/internal/pool"
)

// copied is the answer of copy: as good as nothing, since a Map keeps the answers of all its children.
type copied struct {
	Batch int `json:"batch"`
}

// copy packs one batch. A batch whose result is there is done.
func (s *Steps) copy(ctx context.Context, w work, batch *events.Batch) (copied, error) {
	if batch == nil {
		return copied{}, failure.New(failure.Usage, "the step copy needs a batch")
	}
	result := w.key(fmt.Sprintf("packed/%d.json", batch.Batch))
	if _, err := s.Vault.Head(ctx, result); failure.KindOf(err) != failure.NotFound {
		return copied{batch.Batch}, err
	}
	source, _, err := s.Sources.Open(ctx, w.run.Source)
	if err != nil {
		return copied{}, err
	}
	if err := s.renew(ctx, w.run); err != nil {
		return copied{}, err
	}
	var items []pack.Item
	for item, err := range readLines[pack.Item](ctx, w, "plan.jsonl", batch.Offset, batch.Length) {
		if err != nil {
			return copied{}, err
		}
		items = append(items, item)
	}
	packer, err := s.packer(ctx, w, source, items)
	if err != nil {
		return copied{}, err
	}
	done, err := packer.Pack(ctx, batch.Batch, items)
	if err != nil {
		return copied{}, fmt.Errorf("pack batch %d: %w", batch.Batch, err)
	}
	err = pack.WriteResult(ctx, s.Vault, result, done)
	if err != nil && failure.KindOf(err) == failure.Conflict {
		err = nil // another attempt was faster; its result counts
	}
	return copied{batch.Batch}, err
}

// packer returns what packs the items of a run.
func (s *Steps) packer(ctx context.Context, w work, source app.Source, items []pack.Item) (*pack.Packer, error) {
	p := &pack.Packer{Vault: s.Vault, Source: w.run.Source, Backup: w.run.ID, Fresh: w.run.Rehash, Open: source.Open, Progress: s.add}
	p.Equal = s.Vault.EqualParts()
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
