package zipline

import (
	"context"

	"lifeboat/internal/app"
)

// expected is a row of the backup as the target should have it.
type expected struct {
	traits uint64
	bits   uint8
}

const (
	bitFound  = 1 << iota // the target has a row of this key
	bitSame               // and with the same traits
	bitExists             // it had it before this restore
)

// maxDiffer bounds how many differing rows are kept for the report.
const maxDiffer = 1000

// comparison holds a target against a backup.
type comparison struct {
	plan           *plan
	backup, target *view
	index          map[uint64]expected
	sum            map[string]*tallied
	differ         map[uint64][]trait // of the target's rows that are other than in the backup
	twice          []twin
}

// twin is a row of the backup that is called like another one.
type twin struct{ array, key string }

func (t twin) finding() app.Finding {
	return problem("duplicate", shown(t.array, t.key), "several %s of the backup are called so: the target may get one of them only", nameOf(t.array))
}

// tallied counts the rows of an array.
type tallied struct {
	want, found, same int64
	exists            int64 // of found: rows that were there before this restore
}

func keyDigest(array, key string) uint64 { return digestOf(array, key) }

// backupView sees the backup with the names of the plan.
func backupView(r *app.Replay, p *plan) *view {
	return &view{open: backupOf(r), change: p.change, owner: p.owner, merged: p.mergedName()}
}

func (p *plan) mergedName() string {
	if p.Merge == "" {
		return ""
	}
	return p.Admin.Username
}

// targetView sees the target; folders that this restore has imported under another name have their own.
func (t *Target) targetView(open opener, p *plan, backup *view) *view {
	final := map[uint64]string{}
	for id, sent := range p.Sent {
		if f := backup.folders[id]; f != nil {
			final[digestOf(backup.ownerOf(f.owner), sent, f.created)] = f.name
		}
	}
	return &view{open: open, merged: p.mergedName(), rename: func(owner, name, created string) string {
		if other, ok := final[digestOf(owner, name, created)]; ok {
			return other
		}
		return name
	}}
}

// compare reads the backup and a fresh export of the target.
func (t *Target) compare(ctx context.Context, r *app.Replay, p *plan, metrics bool) (*comparison, error) {
	c := &comparison{plan: p, index: map[uint64]expected{}, sum: map[string]*tallied{}, differ: map[uint64][]trait{}}
	for _, array := range arrays {
		c.sum[array] = &tallied{}
	}
	c.backup = backupView(r, p)
	if err := c.backup.each(ctx, func(array, key string, traits []trait, _ fields) error {
		if array == "metrics" && !metrics {
			return nil
		}
		c.expect(array, key, traits)
		r.Working(1, 0)
		return nil
	}); err != nil {
		return nil, err
	}
	c.target = t.targetView(t.exportOf(metrics).once(), p, c.backup)
	return c, c.target.each(ctx, func(array, key string, traits []trait, _ fields) error {
		c.find(array, key, traits)
		return nil
	})
}

func (c *comparison) expect(array, key string, traits []trait) {
	digest := keyDigest(array, key)
	if _, twice := c.index[digest]; twice {
		c.twice = append(c.twice, twin{array, key})
		return
	}
	e := expected{traits: digestTraits(traits)}
	if c.plan.exists[digest] {
		e.bits = bitExists
	}
	c.index[digest] = e
	c.sum[array].want++
}

func (c *comparison) find(array, key string, traits []trait) {
	digest := keyDigest(array, key)
	e, ours := c.index[digest]
	if !ours || e.bits&bitFound != 0 {
		return
	}
	sum := c.sum[array]
	e.bits |= bitFound
	sum.found++
	if e.bits&bitExists != 0 || array == "users" && key == c.plan.mergedName() {
		sum.exists++
	}
	if e.traits == digestTraits(traits) {
		e.bits |= bitSame
		sum.same++
	} else if len(c.differ) < maxDiffer {
		c.differ[digest] = traits
	}
	c.index[digest] = e
}

// missing is how many rows an import would still have to bring in; begun, how many of them are there. Metrics come in
// by an import of their own.
func (c *comparison) missing() (missing, begun int64) {
	for array, sum := range c.sum {
		if array != "metrics" {
			missing += sum.want - sum.found
			begun += sum.found - sum.exists
		}
	}
	return missing, begun
}
