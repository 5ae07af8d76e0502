package zipline

import (
	"strconv"
	"testing"

	"lifeboat/internal/app"
)

// TestCompareManyTwins finds each of many rows that are called alike, in the other order and one of them changed, at a
// cost that does not grow with how many there are.
func TestCompareManyTwins(t *testing.T) {
	const rows = 2000
	for name, find := range map[string]func(*comparison, []trait){
		"find": func(c *comparison, traits []trait) { c.find("metrics", "k", traits, "") },
		"take": func(c *comparison, traits []trait) { c.take(keyDigest("metrics", "k"), traits) },
	} {
		p := newPlan(person{}, &objects{})
		var c *comparison
		cost := testing.AllocsPerRun(1, func() {
			c = newComparison(&app.Replay{}, p)
			c.backup.users = map[string]user{}
			for n := range rows {
				c.expect("metrics", "k", []trait{{"x", strconv.Itoa(n)}}, fields{})
			}
			for n := range rows {
				if n == 1000 {
					find(c, []trait{{"x", "other"}})
					continue
				}
				find(c, []trait{{"x", strconv.Itoa(rows - 1 - n)}})
			}
		})
		if cost > 100*rows {
			t.Errorf("%s: %.0f allocations for %d rows", name, cost, rows)
		}
		found, digest := 0, keyDigest("metrics", "k")
		for n := range rows {
			if c.index[nth(digest, n)].bits&bitFound != 0 {
				found++
			}
		}
		if sum := c.sum["metrics"]; found != rows || name == "find" && (sum.found != rows || sum.same != rows-2) {
			t.Errorf("%s: %d found, %+v", name, found, *sum)
		}
	}
}
