package pack

import (
	"cmp"
	"context"
	"errors"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// packMixed packs what is read into memory and what the store copies. What it can't copy is read in a second attempt.
// It returns items that have to be streamed.
func (p *Packer) packMixed(ctx context.Context, names *ids, small, bodies []Item, result *Result) ([]Item, error) {
	var large []Item
	for {
		l := lay(small, bodies, cmp.Or(p.Chain, chainObject), cmp.Or(p.part, literalPart))
		if !l.copies() && needs(small)+needs(bodies) <= onePart {
			var all []Item
			for _, part := range l.tail {
				all = append(all, part...)
			}
			if len(all) == 0 {
				return large, nil
			}
			outgrown, err := p.packSmall(ctx, all, result)
			return append(large, outgrown...), err
		}
		a := &assembly{Packer: p, names: names, layout: l, result: Result{Batch: result.Batch}}
		again, err := a.run(ctx)
		if err != nil {
			return nil, err
		}
		if !again {
			result.Packs = append(result.Packs, a.result.Packs...)
			result.Entries = append(result.Entries, a.result.Entries...)
			result.Unchanged = append(result.Unchanged, a.result.Unchanged...)
			result.Findings = append(result.Findings, a.result.Findings...)
			return append(large, a.outgrown...), nil
		}
		a.takeBack()
		var read []Item
		bodies, read = p.second(bodies, a.bodies, result)
		for _, item := range read {
			if item.size() < LargeObject {
				small = append(small, item)
			} else {
				large = append(large, item)
			}
		}
	}
}

// second tells which items the store copies in a second attempt, and which are read, by what became of the first.
func (p *Packer) second(items []Item, tried []*body, result *Result) (bodies, read []Item) {
	fates := map[string]*body{}
	for _, b := range tried {
		if b.fate() == refuse {
			result.Findings = append(result.Findings, app.Finding{
				Severity: app.Note, Kind: "streamed",
				Message: "objects were read and written again, which takes longer than to have the store copy them: " + b.reason(),
			})
			return nil, items
		}
		fates[b.item.path()] = b
	}
	for _, item := range items {
		b := fates[item.path()]
		if b == nil {
			bodies = append(bodies, item)
			continue
		}
		switch b.fate() {
		case left:
			f, _ := lost(b.err, *item.Object)
			result.Findings = append(result.Findings, f)
		case stays:
			bodies = append(bodies, item)
		default:
			if errors.Is(b.err, errChecksum) {
				result.Findings = append(result.Findings, app.Finding{
					Severity: app.Problem, Kind: "checksum", Item: item.path(),
					Message: "does not have the checksum that its store has noted for it: it was read, and is in the backup as it was read; compare it with the original",
				})
			}
			read = append(read, item)
		}
	}
	return bodies, read
}

// judge says how an attempt ended: whether it has to be made again, or with which error.
func judge(bodies []*body, damaged func(b *body) error, err error) (again bool, _ error) {
	var worst error
	for _, b := range bodies {
		switch b.fate() {
		case refuse:
			return true, nil
		case read, left:
			again = true
		case fail:
			if worst == nil || failure.KindOf(worst) == failure.Canceled {
				worst = damaged(b)
			}
		}
	}
	switch {
	case err != nil && !errors.Is(err, errBody) && (worst == nil || failure.KindOf(worst) == failure.Canceled):
		return false, err
	case worst != nil:
		return false, worst
	}
	return again, nil
}
