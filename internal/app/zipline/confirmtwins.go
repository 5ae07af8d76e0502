package zipline

import (
	"context"
	"slices"
	"strconv"
)

// held tells a folder among those that are called alike: what it is, and what is in it.
type held struct {
	traits, files uint64
	inside        []string // ids of folders
}

// twinFolders compares what is in folders that are called alike, which no field of a file or folder tells: together
// they must be as they were, each with what was in it. Neither the order in which an export has them nor their ids count.
func (c *confirming) twinFolders(ctx context.Context) error {
	backup, sets, been := c.compared.backup, map[uint64]string{}, map[uint64]bool{} // where they are
	for id := range backup.folders {
		where := backup.where(id)
		digest := keyDigest("folders", where)
		if c.compared.twins[digest] > 0 && !been[digest] && c.whole(digest, bitFound) {
			sets[digest] = where
		}
		been[digest] = true
	}
	if len(sets) == 0 {
		return nil
	}
	want, err := c.contents(ctx, backup, sets)
	if err != nil {
		return err
	}
	has, err := c.contents(ctx, c.compared.target, sets)
	if err != nil {
		return err
	}
	var differ []string
	for digest, where := range sets {
		if !slices.Equal(want[digest], has[digest]) {
			differ = append(differ, where)
		}
	}
	slices.Sort(differ)
	for _, where := range differ {
		c.mixed(where)
	}
	return nil
}

// mixed reports folders that are called alike and have something of each other.
func (c *confirming) mixed(where string) {
	const what = "%d folders of this name and date are there, but not each with the files and folders that it had"
	digest, item := keyDigest("folders", where), shown("folders", where)
	n := c.compared.twins[digest] + 1
	switch {
	case c.anyOf(digest, bitExists):
		c.noted(item, what+"; some of them were on the target before", n)
	case c.since("twins", where):
		c.noted(item, what+" when they came in", n)
	default:
		c.report.add(problem("differs", item, what+": look into them in Zipline, and move what lies in the wrong one", n))
	}
}

// whole reports whether all the folders that are called alike have a bit; anyOf, whether one has.
func (c *confirming) whole(digest uint64, bit uint8) bool {
	for n := range c.compared.twins[digest] + 1 {
		if c.compared.index[nth(digest, n)].bits&bit == 0 {
			return false
		}
	}
	return true
}

func (c *confirming) anyOf(digest uint64, bit uint8) bool {
	for n := range c.compared.twins[digest] + 1 {
		if c.compared.index[nth(digest, n)].bits&bit != 0 {
			return true
		}
	}
	return false
}

// contents sums up each folder of sets, sorted. What is missing or other than in the backup doesn't count: that has a
// line of its own.
func (c *confirming) contents(ctx context.Context, v *view, sets map[uint64]string) (map[uint64][]uint64, error) {
	all := make(map[string]*held, len(v.folders))
	of := func(id string) *held {
		if all[id] == nil {
			all[id] = &held{}
		}
		return all[id]
	}
	if _, err := v.open.walk(ctx, func(array string, _ int64, row fields) error {
		if row == nil || array != "files" && array != "folders" || v.change != nil && !v.change(array, row) {
			return nil
		}
		if array == "folders" {
			_, traits := v.shape(array, row)
			of(str(row, "id")).traits = digestTraits(traits)
		} else if digest := keyDigest(array, str(row, "name")); c.compared.index[digest].bits&bitSame != 0 {
			of(str(row, "folderId")).files += digest
		}
		return nil
	}, nil); err != nil {
		return nil, err
	}
	counted := map[string]uint64{} // ids of folders that count, to the digest of what they are called
	wholes := map[uint64]bool{}
	for id, f := range v.folders {
		digest := keyDigest("folders", v.where(id))
		if _, known := wholes[digest]; !known {
			wholes[digest] = c.whole(digest, bitFound)
		}
		if wholes[digest] && (v == c.compared.backup || c.compared.claimed[id]) {
			counted[id] = digest
			of(f.parent).inside = append(of(f.parent).inside, id)
		}
	}
	return sumUp(all, counted, sets, func(digest uint64) bool { return c.whole(digest, bitSame) }), nil
}

// sumUp sums up folders with all that is in them, and with what they are themselves where same says so.
func sumUp(all map[string]*held, counted map[string]uint64, sets map[uint64]string, same func(uint64) bool) map[uint64][]uint64 {
	sums := map[string]uint64{}
	var sum func(id string) uint64
	sum = func(id string) uint64 {
		if known, been := sums[id]; been {
			return known
		}
		sums[id] = 0 // of a circle
		h := all[id]
		if h == nil {
			h = &held{}
		}
		total := h.files
		for _, child := range h.inside {
			total += digestOf("inside", inHex(counted[child]), inHex(sum(child)))
		}
		sums[id] = total
		return total
	}
	sameSets, result := map[uint64]bool{}, map[uint64][]uint64{}
	for digest := range sets {
		sameSets[digest] = same(digest)
	}
	for id, digest := range counted {
		if _, is := sets[digest]; !is {
			continue
		}
		one := sum(id)
		if sameSets[digest] {
			one = digestOf("twin", inHex(all[id].traits), inHex(one))
		}
		result[digest] = append(result[digest], one)
	}
	for _, each := range result {
		slices.Sort(each)
	}
	return result
}

func inHex(n uint64) string { return strconv.FormatUint(n, 16) }
