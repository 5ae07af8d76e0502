package pool_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/manifest"
	"lifeboat/internal/pool"
	"lifeboat/internal/vault"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

// packs makes a use of each size; whole.
func uses(from int, sizes ...int64) []pool.Use {
	list := make([]pool.Use, len(sizes))
	for i, size := range sizes {
		list[i] = pool.Use{Pack: manifest.Pack{ID: fmt.Sprintf("%032x", from+i), Bytes: size}, Live: size}
	}
	return list
}

func repeat(n int, size int64) []int64 {
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// source is the packs of a source over its life: what the pool has after each merge.
type source struct {
	t       *testing.T
	uses    []pool.Use
	next    int
	written int64 // bytes that were merged
	merges  int
}

func (s *source) add(sizes ...int64) {
	s.uses = append(s.uses, uses(s.next, sizes...)...)
	s.next += len(sizes)
}

// merge plans, checks the groups against the rules, and replaces them by what they become.
func (s *source) merge(l pool.Limits) {
	s.t.Helper()
	groups := pool.Plan(s.uses, l)
	gone := map[string]bool{}
	for _, group := range groups {
		var bytes, live int64
		for _, u := range group {
			if u.Bytes < vault.MinPart || gone[u.ID] || u.Live*100 < u.Bytes*90 {
				s.t.Fatalf("the pack %s of %d bytes, %d of them alive, must not be in a group", u.ID, u.Bytes, u.Live)
			}
			gone[u.ID] = true
			bytes, live = bytes+u.Bytes, live+u.Live
		}
		if len(group) < 2 || len(group) > vault.MaxParts || bytes > 5*gib {
			s.t.Fatalf("a group of %d packs, %d bytes", len(group), bytes)
		}
		s.add(bytes)
		s.uses[len(s.uses)-1].Live = live
		s.written += bytes
		s.merges++
	}
	var left []pool.Use
	for _, u := range s.uses {
		if !gone[u.ID] {
			left = append(left, u)
		}
	}
	// As the pool has them: by keys that tell nothing of age or size.
	random := rand.New(rand.NewPCG(uint64(len(left)), 1))
	random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	s.uses = left
}

// parts is how many parts an archive needs for its packs, where copies are cut at 5 GiB and short packs are read.
func (s *source) parts() int {
	parts := 0
	var literal int64
	for _, u := range s.uses {
		if u.Bytes < vault.MinPart {
			literal += u.Bytes
			continue
		}
		parts += int((u.Bytes + vault.MaxPart - 1) / vault.MaxPart)
	}
	return parts + int(literal/vault.MinPart) + 1
}

func (s *source) total() (bytes int64) {
	for _, u := range s.uses {
		bytes += u.Bytes
	}
	return bytes
}

func TestPlanLeavesFewAlone(t *testing.T) {
	if got := pool.Plan(uses(0, repeat(2000, 64*mib)...), pool.Limits{}); got != nil {
		t.Errorf("%d groups", len(got))
	}
	if got := pool.Plan(nil, pool.Limits{}); got != nil {
		t.Errorf("%d groups of nothing", len(got))
	}
	got := pool.Plan(uses(0, repeat(2001, 64*mib)...), pool.Limits{})
	if len(got) != 1 || len(got[0]) != 16 {
		t.Errorf("one pack too many: %d groups", len(got))
	}
	if diff := cmp.Diff(uses(0, repeat(16, 64*mib)...), got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlanTenTerabytes plans the media of a first backup: files of e^N(ln 400 kB, 1.8) bytes, the small ones in packs of
// 64 MiB, the large ones in packs of up to 512 MiB.
func TestPlanTenTerabytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := &source{t: t}
	var small, large, total int64
	for total < 10e12 {
		size := int64(math.Exp(math.Log(400e3) + 1.8*random.NormFloat64()))
		size = min(max(size, 64), 700*mib)
		total += size
		if size < 16*mib {
			if small += size; small >= 64*mib {
				s.add(small)
				small = 0
			}
			continue
		}
		if large += size; large >= 512*mib {
			s.add(large)
			large = 0
		}
	}
	before, bytes := len(s.uses), s.total()
	s.merge(pool.Limits{})
	t.Logf("%d packs before, %d after %d merges", before, len(s.uses), s.merges)
	if before < 10_000 || len(s.uses) > 4_000 || s.parts() > 4_000 || s.total() != bytes {
		t.Errorf("%d packs become %d, %d parts", before, len(s.uses), s.parts())
	}
	// The same packs give the same plan.
	again := uses(0, repeat(5000, 64*mib)...)
	if diff := cmp.Diff(pool.Plan(again, pool.Limits{}), pool.Plan(again, pool.Limits{})); diff != "" {
		t.Error(diff)
	}
}

// TestPlanFiveYears adds 5.6 GB of packs a day.
func TestPlanFiveYears(t *testing.T) {
	s := &source{t: t}
	most := 0
	for range 5 * 365 {
		s.add(repeat(83, 64*mib)...)
		s.add(30 * mib)
		s.merge(pool.Limits{})
		most = max(most, s.parts())
	}
	copies := float64(s.written) / float64(s.total())
	t.Logf("%.1f TB: %d packs, at most %d parts, every byte was merged %.2f times, %d merges", float64(s.total())/1e12, len(s.uses), most, copies, s.merges)
	if most > 9_500 || len(s.uses) > 4_000 || copies > 3 {
		t.Errorf("at most %d parts, %d packs at the end, every byte was merged %.2f times", most, len(s.uses), copies)
	}
}

// TestPlanSmallBackups adds three small packs a day for five years; some are too short to be parts, and stay out.
func TestPlanSmallBackups(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	s := &source{t: t}
	most, short := 0, 0
	for range 5 * 365 {
		for range 3 {
			size := 5*mib + random.Int64N(20*mib)
			if random.IntN(10) == 0 && short < 500 {
				size = 1 + random.Int64N(5*mib-1)
				short++
			}
			s.add(size)
		}
		s.merge(pool.Limits{})
		most = max(most, len(s.uses))
	}
	copies := float64(s.written) / float64(s.total())
	t.Logf("%d packs, at most %d, every byte was merged %.2f times", len(s.uses), most, copies)
	if most > 2_000 || copies > 2 {
		t.Errorf("at most %d packs, every byte was merged %.2f times", most, copies)
	}
}

// TestPlanHoles: what is mostly dead, too short, or full already, is merged by no means.
func TestPlanHoles(t *testing.T) {
	holes := uses(0, repeat(6000, 64*mib)...)
	for i := range holes {
		holes[i].Live = 57 * mib
	}
	for name, list := range map[string][]pool.Use{
		"holes": holes, "short": uses(0, repeat(6000, 5*mib-1)...), "full": uses(0, repeat(6000, 5*gib)...), "over": uses(0, repeat(6000, 20*gib)...),
		"nothing alive": {{Pack: manifest.Pack{Bytes: 64 * mib}}, {Pack: manifest.Pack{Bytes: 64 * mib}}},
	} {
		if got := pool.Plan(list, pool.Limits{Begin: 1}); got != nil {
			t.Errorf("%s: %d groups", name, len(got))
		}
	}
	for i := range holes {
		holes[i].Live = 58 * mib
	}
	if got := pool.Plan(holes, pool.Limits{}); len(got) == 0 {
		t.Error("packs that are mostly alive stay apart")
	}
}

// TestPlanHold: packs that fit neither rule are merged where there are too many of them.
func TestPlanHold(t *testing.T) {
	two := uses(0, repeat(4000, 2*gib)...)
	if got := pool.Plan(two, pool.Limits{}); got != nil {
		t.Errorf("%d groups of two that are not full", len(got))
	}
	if got := pool.Plan(append(two, uses(4000, 2*gib)...), pool.Limits{}); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("%d groups", len(got))
	}
}
