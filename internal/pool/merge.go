package pool

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
)

// Use says how an archive uses a pack.
type Use struct {
	manifest.Pack
	Live int64 // bytes that the archive needs; fewer than Bytes where it has holes
}

// Limits of merging. The zero value of a field is its default.
type Limits struct {
	Begin int   // packs of an archive up to which nothing is merged; 2,000
	Hold  int   // packs above which groups are merged that are neither many nor nearly full; 4,000
	Bytes int64 // most bytes of a merged pack; 5 GiB, what one part of an archive may copy
	Parts int   // most objects that become one; 10,000
	Fan   int   // packs of one size class that become one of the next; 16
	Alive int   // percent of its bytes that an archive must still need of a pack with holes; 90
}

func (l Limits) defaults() Limits {
	l.Begin, l.Hold = cmp.Or(l.Begin, 2_000), cmp.Or(l.Hold, 4_000)
	l.Bytes, l.Parts = cmp.Or(l.Bytes, vault.MaxPart), cmp.Or(l.Parts, vault.MaxParts)
	l.Fan, l.Alive = cmp.Or(l.Fan, 16), cmp.Or(l.Alive, 90)
	return l
}

// full is how many bytes make a pack that is not merged again.
func (l Limits) full() int64 { return l.Bytes / 8 * 7 }

// firstClass is where the first size class ends, in bytes. Each further one ends at Fan times as many.
const firstClass = 32 << 20

func (l Limits) class(bytes int64) int {
	class := 0
	for limit := int64(firstClass); bytes >= limit; class++ {
		if limit > math.MaxInt64/int64(l.Fan) {
			return class + 1
		}
		limit *= int64(l.Fan)
	}
	return class
}

// Plan says which packs of an archive to merge; each group becomes one pack, in the order given. uses are the objects of
// the store that the archive reads (see Pool.Objects), each once, without those that die with the backup: what holds
// its documents. After merging, an archive that takes packs in the order in which they lie in the pool has one range for
// each group.
//
// Merged are packs that are whole or mostly alive, of at least 5 MiB, which a part must have, and not full yet: Fan of
// one size class, or as many as make a full one. The smallest classes come first, and only as many groups as it takes to
// get down to Begin packs; no byte is copied more often than there are classes. Above Hold packs, what is left over
// of all classes is merged too. The same uses give the same plan.
func Plan(uses []Use, l Limits) [][]Use {
	l = l.defaults()
	nodes := make([]node, 0, len(uses))
	left := len(uses)
	for i, u := range uses {
		if l.mergeable(u) {
			nodes = append(nodes, node{of: []int{i}, bytes: u.Bytes})
		}
	}
	for class := 0; class <= l.class(l.Bytes) && left > l.Begin; class++ {
		nodes, left = l.tier(nodes, left, l.Begin, l.Fan, func(n node) bool { return l.class(n.bytes) == class })
	}
	if left > l.Hold {
		nodes, _ = l.tier(nodes, left, l.Hold, 2, func(node) bool { return true })
	}
	var groups [][]Use
	for _, n := range nodes {
		if len(n.of) < 2 {
			continue
		}
		slices.Sort(n.of)
		group := make([]Use, len(n.of))
		for i, index := range n.of {
			group[i] = uses[index]
		}
		groups = append(groups, group)
	}
	return groups
}

// node is a pack, or several that are going to be one.
type node struct {
	of    []int // indexes of the uses
	bytes int64
}

func (l Limits) mergeable(u Use) bool {
	alive := u.Live == u.Bytes || float64(u.Live)*100 >= float64(u.Bytes)*float64(l.Alive)
	return alive && u.Bytes >= vault.MinPart && u.Bytes < l.full()
}

// tier puts the nodes that it takes into the first group that has room, and joins the groups of enough nodes, and those
// that are full, until no more than want packs are left. The others stay as they are, in their order.
func (l Limits) tier(nodes []node, left, want, enough int, takes func(node) bool) (after []node, packs int) {
	var open [][]int // groups that have room
	joined := map[int][]int{}
	gone := map[int]bool{}
	closeGroup := func(group []int) {
		if len(group) < 2 || left <= want {
			return
		}
		joined[group[0]] = group
		for _, i := range group[1:] {
			gone[i] = true
		}
		left -= len(group) - 1
	}
	size := func(group []int) (bytes int64, parts int) {
		for _, i := range group {
			bytes, parts = bytes+nodes[i].bytes, parts+len(nodes[i].of)
		}
		return bytes, parts
	}
	for i, n := range nodes {
		if left <= want {
			break
		}
		if !takes(n) || n.bytes >= l.full() {
			continue
		}
		at := slices.IndexFunc(open, func(group []int) bool {
			bytes, parts := size(group)
			return bytes+n.bytes <= l.Bytes && parts+len(n.of) <= l.Parts
		})
		if at < 0 {
			at, open = len(open), append(open, nil)
		}
		open[at] = append(open[at], i)
		if bytes, _ := size(open[at]); bytes >= l.full() || len(open[at]) >= l.Fan {
			closeGroup(open[at])
			open = slices.Delete(open, at, at+1)
		}
	}
	for _, group := range open {
		if len(group) >= enough {
			closeGroup(group)
		}
	}
	for i, n := range nodes {
		if group, ok := joined[i]; ok {
			n = node{}
			for _, j := range group {
				n.of, n.bytes = append(n.of, nodes[j].of...), n.bytes+nodes[j].bytes
			}
		}
		if !gone[i] {
			after = append(after, n)
		}
	}
	return after, left
}

// Objects returns the objects of the store behind the packs of an archive, each once, in the order in which the archive
// comes to them first, with the bytes that the archive needs. A pack that is not in the pool is left out.
func (p *Pool) Objects(uses []Use) []Use {
	at := map[vault.Key]int{}
	var objects []Use
	for _, u := range uses {
		spot, ok := p.Find(u.ID)
		if !ok {
			continue
		}
		i, seen := at[spot.Key]
		if !seen {
			object := Use{Pack: u.Pack}
			if m, merged := p.Merges(spot.Key); merged && m.Pack.ID != u.ID {
				object.Pack = m.Pack
			}
			i = len(objects)
			at[spot.Key], objects = i, append(objects, object)
		}
		objects[i].Live += u.Live
	}
	return objects
}

// MergedID returns the id of the pack that others become, which follows from theirs: a repeated merge finds it.
func MergedID(ids []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "lifeboat merge 1\n%s\n", strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:16])
}
