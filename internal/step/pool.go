package step

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"lifeboat/internal/app"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lines"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

// gathered is what a manifest is made of: for each pack, where its entries stand in the run's work files. The entries
// themselves are kept only while they are few.
type gathered struct {
	work  work
	packs map[string]*gatheredPack
	known map[string]manifest.Pack // every pack that an entry may name
	pool  *pool.Pool
	kept  int // entries in memory
	run   catalog.Record
	found bool // something was noticed

	merged        int // packs that became others
	packedObjects int // by this run
	packedBytes   int64
}

// gatheredPack is the entries whose headers lie in one pack.
type gatheredPack struct {
	manifest.Pack
	tally
	groups   []group // in reused.jsonl
	batches  []int   // whose results name it
	entries  []manifest.Entry
	inMemory bool // entries has those of the batches
}

// tally sums up entries whose headers lie in one pack.
type tally struct {
	Live      int64            `json:"live"` // bytes of the pack
	Documents bool             `json:"documents,omitzero"`
	Bodies    map[string]int64 `json:"bodies,omitempty"` // bytes of bodies in other packs
}

func (t *tally) see(e manifest.Entry) {
	t.Live += e.Zip().LocalSize()
	t.Documents = t.Documents || e.Document
	if e.BodyPlace == nil {
		t.Live += e.StoredSize()
		return
	}
	t.join(tally{Bodies: map[string]int64{e.BodyPlace.Pack: e.StoredSize()}})
}

func (t *tally) join(u tally) {
	t.Live += u.Live
	t.Documents = t.Documents || u.Documents
	for id, bytes := range u.Bodies {
		if t.Bodies == nil {
			t.Bodies = map[string]int64{}
		}
		t.Bodies[id] += bytes
	}
}

const (
	readers  = 32     // work files that are read at the same time
	keepOnly = 60_000 // entries in memory
)

// gather reads which entries lie in which packs: what is reused and what the batches packed. It keeps everything that
// the run noticed beside the manifest; the record has only the first findings.
func (s *Steps) gather(ctx context.Context, w work) (*gathered, error) {
	g := &gathered{work: w, packs: map[string]*gatheredPack{}, known: map[string]manifest.Pack{}}
	var plan planFile
	if err := w.getJSON(ctx, "plan.json", &plan); err != nil {
		return nil, err
	}
	g.run = plan.Run
	if plan.Packs > 0 {
		for line, err := range readLines[packLine](ctx, w, "packs.jsonl", 0, -1) {
			switch {
			case err != nil:
				return nil, err
			case line.Pack != nil:
				g.known[line.Pack.ID] = *line.Pack
			case line.Group != nil:
				p := g.pack(line.Group.Pack.ID)
				p.groups = append(p.groups, *line.Group)
				p.join(line.Group.Tally)
			}
		}
	}
	g.packedObjects, g.packedBytes = -plan.Moved, -plan.MovedBytes
	found := &lazy{open: func() *writer { return w.create(ctx, vault.Findings(w.run.Source, w.run.ID), vault.Always()) }}
	if err := found.end(g.results(ctx, plan, found)); err != nil {
		return nil, err
	}
	g.found = found.w != nil
	for _, p := range slices.Collect(maps.Values(g.packs)) {
		for id, bytes := range p.Bodies {
			g.pack(id).Live += bytes
		}
	}
	var err error
	g.pool, err = pool.Open(ctx, s.Vault, w.run.Source)
	return g, err
}

// merge has the store join packs where the archive would need too many parts otherwise, as far as the time goes; done
// is false when there is more to do. It returns how many packs became others.
func (s *Steps) merge(ctx context.Context, w work, g *gathered) (merged int, done bool, err error) {
	if s.Vault.EqualParts() || !s.Vault.Proves() || !s.Vault.TellsParts() {
		return 0, true, nil
	}
	until := s.until(ctx)
	for { // until there is nothing to merge: a repeated call must find the same packs
		groups := pool.Plan(g.pool.Objects(g.uses()), s.Merge)
		if len(groups) == 0 {
			return merged, true, nil
		}
		s.phase("merge", int64(len(groups)), 0)
		for _, group := range groups {
			if merged > 0 && !s.Now().Before(until) {
				return merged, false, nil
			}
			_, err := g.pool.Merge(ctx, s.Vault, group, nil)
			if err != nil && failure.KindOf(err) == failure.Invalid {
				s.Log.Info("packs cannot be merged on this store", "source", w.run.Source, "error", err)
				return merged, true, nil
			}
			if err != nil {
				return merged, false, err
			}
			merged += len(group)
			s.add(1, 0)
		}
	}
}

// uses returns the packs that may be merged: not those that die with the backup.
func (g *gathered) uses() []pool.Use {
	var uses []pool.Use
	for _, p := range g.inOrder() {
		if !p.Documents {
			uses = append(uses, pool.Use{Pack: p.Pack, Live: p.Live})
		}
	}
	return uses
}

// results reads what became of each batch, many at a time, and writes all findings of the run.
func (g *gathered) results(ctx context.Context, plan planFile, found io.Writer) error {
	w := g.work
	for _, f := range plan.Findings {
		if _, err := lines.Write(found, f); err != nil {
			return err
		}
	}
	for f, err := range readAll[app.Finding](ctx, w, plan.findings()) {
		if err == nil {
			_, err = lines.Write(found, f)
		}
		if err != nil {
			return err
		}
	}
	said := map[app.Finding]bool{} // about the source as a whole: once is enough, however many batches say it
	results := make([]pack.Result, readers)
	for first := 0; first < plan.Batches; first += readers {
		n := min(readers, plan.Batches-first)
		group, groupCtx := errgroup.WithContext(ctx)
		for i := range n {
			group.Go(func() (err error) {
				results[i], err = w.result(groupCtx, first+i)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i := range n {
			g.add(first+i, results[i])
			for _, f := range results[i].Findings {
				if said[f] {
					continue
				}
				if f.Item == "" {
					said[f] = true
				}
				if _, err := lines.Write(found, f); err != nil {
					return err
				}
			}
			results[i] = pack.Result{}
		}
	}
	return nil
}

// result reads what became of a batch.
func (w work) result(ctx context.Context, n int) (pack.Result, error) {
	return pack.ReadResult(ctx, w.vault, w.key(fmt.Sprintf("packed/%d.json", n)))
}

func (g *gathered) pack(id string) *gatheredPack {
	p, ok := g.packs[id]
	if !ok {
		p = &gatheredPack{Pack: g.known[id], inMemory: true}
		g.packs[id] = p
	}
	return p
}

func (g *gathered) add(batch int, r pack.Result) {
	for _, p := range r.Packs {
		g.known[p.ID] = p
	}
	for _, e := range r.Entries {
		if !e.Document {
			g.packedObjects++
			g.packedBytes += e.Size
		}
	}
	entries := slices.Concat(r.Entries, r.Unchanged)
	keep := g.kept+len(entries) <= keepOnly
	for _, e := range entries {
		p := g.pack(e.Header.Pack)
		if n := len(p.batches); n == 0 || p.batches[n-1] != batch {
			p.batches = append(p.batches, batch)
			p.inMemory = p.inMemory && keep
		}
		if p.inMemory {
			p.entries = append(p.entries, e)
			g.kept++
		}
		p.see(e)
	}
}

// entries yields the entries of each pack, in the order of their places. The next packs are read ahead.
func (g *gathered) entries(ctx context.Context, order []*gatheredPack) iter.Seq2[[]manifest.Entry, error] {
	type loaded struct {
		entries []manifest.Entry
		err     error
	}
	return func(yield func([]manifest.Entry, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ahead := make(chan chan loaded, readers)
		go func() {
			defer close(ahead)
			for _, p := range order {
				one := make(chan loaded, 1)
				select {
				case ahead <- one:
				case <-ctx.Done():
					return
				}
				go func() {
					entries, err := g.load(ctx, p)
					one <- loaded{entries, err}
				}()
			}
		}()
		for one := range ahead {
			l := <-one
			if !yield(l.entries, l.err) || l.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// load returns the entries of a pack in the order of their places.
func (g *gathered) load(ctx context.Context, p *gatheredPack) ([]manifest.Entry, error) {
	entries := slices.Clone(p.entries)
	for _, at := range p.groups {
		for e, err := range readLines[manifest.Entry](ctx, g.work, "reused.jsonl", at.Offset, at.Length) {
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	if !p.inMemory {
		entries = entries[len(p.entries):]
		for _, n := range p.batches {
			r, err := g.work.result(ctx, n)
			if err != nil {
				return nil, err
			}
			for _, e := range slices.Concat(r.Entries, r.Unchanged) {
				if e.Header.Pack == p.ID {
					entries = append(entries, e)
				}
			}
		}
	}
	slices.SortFunc(entries, func(a, b manifest.Entry) int { return cmp.Compare(a.Header.Offset, b.Header.Offset) })
	return entries, nil
}

// inOrder returns the packs in the order of the archive: those that live as a whole first, then those with holes, then
// undersized ones, then documents; within each as they lie in the pool, so that what was merged is one range. Packs
// that hold nothing but bodies whose headers lie elsewhere come last: nothing is written for them.
func (g *gathered) inOrder() []*gatheredPack {
	type ranked struct {
		*gatheredPack
		rank int
		spot pool.Spot
	}
	var packs []ranked
	live := map[vault.Key]int64{}
	for id, p := range g.packs {
		spot, _ := g.pool.Find(id)
		live[spot.Key] += p.Live
		packs = append(packs, ranked{p, 0, spot})
	}
	for i, p := range packs {
		switch {
		case len(p.groups)+len(p.batches) == 0:
			packs[i].rank = 4
		case p.Documents:
			packs[i].rank = 3
		case p.spot.Object < undersized:
			packs[i].rank = 2
		case live[p.spot.Key] < p.spot.Object:
			packs[i].rank = 1
		}
	}
	slices.SortFunc(packs, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.spot.Key, b.spot.Key), cmp.Compare(a.spot.Offset, b.spot.Offset), cmp.Compare(a.ID, b.ID))
	})
	ordered := make([]*gatheredPack, len(packs))
	for i, r := range packs {
		ordered[i] = r.gatheredPack
	}
	return ordered
}

// undersized packs come behind the others: they pass through compute, at best together with the tail.
const undersized = 8 << 20
