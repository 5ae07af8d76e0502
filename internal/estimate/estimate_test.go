package estimate_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/estimate"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/pack"
	"lifeboat/workflow"
)

const mib = 1 << 20

func TestPrices(t *testing.T) {
	usage := estimate.Usage{
		Put: 2000, Get: 10_000, GBSeconds: 1e6, Invocations: 1e6, Transitions: 1000, KMS: 10_000,
		StoredBytes: 10 << 30, EgressBytes: 1 << 30,
	}
	for _, test := range []struct {
		region   string
		borrowed bool
		want     estimate.Cost
		total    string
	}{
		{"us-east-1", false, estimate.Cost{
			Requests: 14_000_000, Compute: 13_533_400_000, Workflow: 25_000_000, KMS: 30_000_000, Egress: 90_000_000, Storage: 230_000_000,
		}, "$13.92"},
		{"eu-central-1", false, estimate.Cost{
			Requests: 15_100_000, Compute: 13_533_400_000, Workflow: 25_000_000, KMS: 30_000_000, Egress: 90_000_000, Storage: 245_000_000,
		}, "$13.94"},
		{"mars-north-1", true, estimate.Cost{
			Requests: 14_000_000, Compute: 13_533_400_000, Workflow: 25_000_000, KMS: 30_000_000, Egress: 90_000_000, Storage: 230_000_000,
		}, "$13.92"},
	} {
		table := estimate.Prices(test.region)
		if table.Asked != test.region || table.Borrowed() != test.borrowed {
			t.Errorf("%s: asked %q, borrowed %v", test.region, table.Asked, table.Borrowed())
		}
		got := usage.Price(table)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.region, diff)
		}
		if got.Total().String() != test.total || got.Total() != got.Once()+got.Storage {
			t.Errorf("%s: total %s, want %s", test.region, got.Total(), test.total)
		}
	}
}

func TestEveryPriceIsThereAndDated(t *testing.T) {
	for _, region := range estimate.Regions() {
		p := estimate.Prices(region)
		if _, err := time.Parse(time.DateOnly, p.Date); err != nil {
			t.Error(err)
		}
		for name, price := range map[string]estimate.USD{
			"put": p.Put, "get": p.Get, "storage": p.Storage, "egress": p.Egress, "compute": p.Compute,
			"invocation": p.Invocation, "transition": p.Transition, "kms": p.KMS,
		} {
			if price <= 0 {
				t.Errorf("%s: %s costs %d", region, name, price)
			}
		}
		if p.Get*10 > p.Put || p.Put > p.Transition {
			t.Errorf("%s: a price has the wrong unit: %+v", region, p)
		}
	}
}

func TestUSD(t *testing.T) {
	for want, u := range map[string]estimate.USD{
		"$0.00": 0, "< $0.0001": 99_999, "$0.0001": 100_000, "$0.0042": 4_200_000, "$0.9999": 999_900_000,
		"$1.00": 999_990_000, "$23.28": 23_283_064_365, "-$0.0042": -4_200_000,
	} {
		if got := u.String(); got != want {
			t.Errorf("%d: %s, want %s", u, got, want)
		}
	}
}

func TestUsageAdds(t *testing.T) {
	a := estimate.Usage{Put: 1, Get: 2, GBSeconds: 3, Invocations: 4, Transitions: 5, KMS: 6, StoredBytes: 7, EgressBytes: 8}
	want := estimate.Usage{Put: 2, Get: 4, GBSeconds: 6, Invocations: 8, Transitions: 10, KMS: 12, StoredBytes: 14, EgressBytes: 16}
	if diff := cmp.Diff(want, a.Add(a)); diff != "" {
		t.Error(diff)
	}
}

func TestSpliceFloor(t *testing.T) {
	east := estimate.Prices("us-east-1")
	media := estimate.Media(1e13)
	for _, test := range []struct {
		name string
		in   estimate.Splice
		want int64 // MiB
	}{
		{"cost", estimate.Splice{Prefer: "cost", Prices: east, Filler: true}, 32},
		{"cost by default", estimate.Splice{Prices: east}, 32},
		{"cost in Frankfurt", estimate.Splice{Prices: estimate.Prices("eu-central-1"), Filler: true}, 32},
		{"cost in a huge function", estimate.Splice{Prices: east, MemoryMB: 8192, Filler: true}, 8},
		{"cost in a small function", estimate.Splice{Prices: east, MemoryMB: 512}, 64},
		{"cost of 10 TB", estimate.Splice{Prices: east, Sizes: media, Filler: true}, 32},
		{"speed", estimate.Splice{Prefer: "speed", Prices: east, Filler: true}, 5},
		{"speed without filler", estimate.Splice{Prefer: "speed", Prices: east}, 8},
		{"speed of 10 TB", estimate.Splice{Prefer: "speed", Prices: east, Sizes: media, Filler: true}, 5},
		{"speed with few parts", estimate.Splice{Prefer: "speed", Prices: east, Sizes: media, Filler: true, Parts: 100}, 20},
		{"cost with few parts", estimate.Splice{Prices: east, Sizes: media, Filler: true, Parts: 11}, 64},
	} {
		got, err := estimate.SpliceFloor(test.in)
		if err != nil || got != test.want*mib {
			t.Errorf("%s: %.1f MiB (%v), want %d", test.name, float64(got)/mib, err, test.want)
		}
	}
	if _, err := estimate.SpliceFloor(estimate.Splice{Prefer: "fun"}); failure.KindOf(err) != failure.Usage {
		t.Errorf("an unknown preference: %v", err)
	}
	if even := estimate.BreakEven(east, 1024) / mib; math.Abs(even-29) > 0.1 {
		t.Errorf("break-even at %.2f MiB, the comment says 29.0", even)
	}
}

func TestSpliceFloorIsMonotone(t *testing.T) {
	floor := func(s estimate.Splice) int64 {
		t.Helper()
		n, err := estimate.SpliceFloor(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	media := estimate.Media(1e13)
	for _, region := range estimate.Regions() {
		for _, filler := range []bool{true, false} {
			last := int64(math.MaxInt64)
			for memory := 128; memory <= 10240; memory += 128 {
				s := estimate.Splice{Prices: estimate.Prices(region), MemoryMB: memory, Filler: filler}
				got := floor(s)
				if got > last {
					t.Errorf("%s: %d MB of memory raise the floor to %d", region, memory, got)
				}
				last = got
				s.Prices.Put *= 2
				if floor(s) < got {
					t.Errorf("%s, %d MB: dearer requests lower the floor", region, memory)
				}
				s.Prefer = "speed"
				if floor(s) > got {
					t.Errorf("%s, %d MB: speed splices less than cost", region, memory)
				}
			}
			last = 0
			for parts := int64(9_500); parts > 0; parts = parts * 2 / 3 {
				got := floor(estimate.Splice{Prefer: "speed", Prices: estimate.Prices(region), Filler: filler, Sizes: media, Parts: parts})
				if got < last {
					t.Errorf("%d parts lower the floor from %d to %d", parts, last, got)
				}
				last = got
			}
		}
	}
}

// The shares are those that were simulated and measured for this mix, to two digits.
func TestMedia(t *testing.T) {
	for _, bytes := range []int64{1, 1e6, 1e9, 1e12, 1e13} {
		var all estimate.Class
		for _, c := range estimate.Media(bytes) {
			all.Objects, all.Bytes = all.Objects+c.Objects, all.Bytes+c.Bytes
			if c.Objects <= 0 {
				t.Errorf("%d: a class of %d objects", bytes, c.Objects)
			}
		}
		if all.Bytes != bytes {
			t.Errorf("media of %d bytes has %d", bytes, all.Bytes)
		}
	}
	large := func(floor int64) estimate.Class {
		return estimate.Describe(estimate.Media(1e12), estimate.Policy{Splice: floor}).Spliced.Class
	}
	for _, test := range []struct {
		name      string
		got, want float64
	}{
		{"objects", float64(estimate.Describe(estimate.Media(1e12), estimate.Policy{}).All.Objects), 490_000},
		{"share of objects from 5 MiB on", float64(large(5*mib).Objects) / 490_000, 0.078},
		{"share of bytes from 5 MiB on", float64(large(5*mib).Bytes) / 1e12, 0.65},
		{"objects from 8 MiB on", float64(large(8 * mib).Objects), 22_412},
		{"objects from 32 MiB on", float64(large(32 * mib).Objects), 3_482},
	} {
		if math.Abs(test.got/test.want-1) > 0.03 {
			t.Errorf("%s: %g, want about %g", test.name, test.got, test.want)
		}
	}
}

func TestCount(t *testing.T) {
	sizes := []int64{0, 1, 2, 3}
	for size := int64(100); size < 1<<36; size += size/7 + 1 {
		sizes = append(sizes, size)
	}
	for _, floor := range []int64{1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64, 128} {
		sizes = append(sizes, floor*mib-1, floor*mib)
	}
	counted := estimate.Count(slices.Values(sizes))
	for _, floor := range []int64{5, 8, 10, 16, 20, 32, 40, 64, 128} {
		var want estimate.Class
		for _, size := range sizes {
			if size >= floor*mib {
				want.Objects, want.Bytes = want.Objects+1, want.Bytes+size
			}
		}
		d := estimate.Describe(counted, estimate.Policy{Splice: floor * mib})
		if d.Spliced.Class != want || d.All.Objects != int64(len(sizes)) {
			t.Errorf("%+v from %d MiB on, want %+v; %d in all, want %d", d.Spliced.Class, floor, want, d.All.Objects, len(sizes))
		}
	}
}

// Describe must cut as the planner does, or the estimates are of another program.
func TestDescribeCutsAsThePlannerDoes(t *testing.T) {
	for name, test := range map[string]struct {
		sizes  estimate.Sizes
		splice int64
	}{
		"media, 100 GB, spliced":   {estimate.Media(1e11), 32 * mib},
		"media, 100 GB, speed":     {estimate.Media(1e11), 5 * mib},
		"media, 100 GB, streamed":  {estimate.Media(1e11), 0},
		"100,000 files of 20 KiB":  {estimate.Uniform(100_000, 20<<10), 32 * mib},
		"20,000 files of 6 MiB":    {estimate.Uniform(20_000, 6*mib), 32 * mib},
		"200 files of 1 GiB alone": {estimate.Uniform(200, 1<<30), 5 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			want := planned(t, test.sizes, test.splice)
			got := estimate.Describe(test.sizes, estimate.Policy{Splice: test.splice}).Packs()
			if math.Abs(float64(got-want)) > math.Max(2, 0.1*float64(want)) {
				t.Errorf("%d packs, the planner makes %d", got, want)
			}
		})
	}
}

// planned returns how many packs the planner makes of objects with these sizes; the classes are spread over time.
func planned(t *testing.T, sizes estimate.Sizes, splice int64) int64 {
	t.Helper()
	var batches int64
	var objects []app.Object
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n, c := range sizes {
		for i := range c.Objects {
			objects = append(objects, app.Object{
				Path: fmt.Sprintf("%d/%d", n, i), Size: c.Bytes / c.Objects,
				Modified: start.Add(time.Duration(i) * (1000 * time.Hour / time.Duration(c.Objects))),
			})
		}
	}
	slices.SortStableFunc(objects, func(a, b app.Object) int { return a.Modified.Compare(b.Modified) })
	p := pack.NewPlanner(len(objects), pack.Output{
		Batch:  func([]pack.Item) error { batches++; return nil },
		Reused: func(manifest.Entry) error { return nil },
	})
	p.Splice = splice
	for _, o := range objects {
		p.Expect(o)
	}
	for _, o := range objects {
		if err := p.Object(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return batches
}

// One small file, counted by hand.
func TestBackupOfOneFile(t *testing.T) {
	d := estimate.Describe(estimate.Uniform(1, 1000), estimate.Policy{Archive: true})
	for name, test := range map[string]struct {
		d                              estimate.Description
		invocations, transitions, puts int64 // of copy: result, pack, each for objects and documents
	}{
		"first": {d, 2 + 7, 2 + 2 + 3 + 2*3 + 4 + 1 + 2, 4},
		"next":  {d.Next(), 1 + 7, 2 + 2 + 3 + 1*3 + 4 + 1 + 2, 2},
	} {
		u := estimate.Backup(test.d)
		if u.Invocations != test.invocations || u.Transitions != test.transitions {
			t.Errorf("%s: %d calls in %d transitions, want %d in %d", name, u.Invocations, u.Transitions, test.invocations, test.transitions)
		}
		for _, s := range estimate.Steps(test.d) {
			if s.Name == "copy" && s.Put != test.puts {
				t.Errorf("%s: copy has %d PUT, want %d", name, s.Put, test.puts)
			}
		}
	}
}

// TestBatchStates: a batch passes through as many states as are counted.
func TestBatchStates(t *testing.T) {
	var definition struct {
		States map[string]struct {
			ItemProcessor struct{ States map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal(workflow.Backup, &definition); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PackFew", "PackMany"} {
		if n := len(definition.States[name].ItemProcessor.States); n != 3 {
			t.Errorf("%s has %d states, and 3 are counted", name, n)
		}
	}
}

func TestNextIsCheaper(t *testing.T) {
	for name, sizes := range examples() {
		d := estimate.Describe(sizes, estimate.Policy{Splice: 32 * mib, Archive: true})
		first, next := estimate.Backup(d), estimate.Backup(d.Next())
		if next.Put >= first.Put || next.Get >= first.Get || next.GBSeconds >= first.GBSeconds {
			t.Errorf("%s: first %+v, next %+v", name, first, next)
		}
		if first.StoredBytes-next.StoredBytes != d.All.Bytes {
			t.Errorf("%s: the next backup stores %d bytes less, want %d", name, first.StoredBytes-next.StoredBytes, d.All.Bytes)
		}
		d.Archive = false
		if without := estimate.Backup(d.Next()); without.StoredBytes > next.StoredBytes/10 || without.Put >= next.Put {
			t.Errorf("%s: without an archive %+v, with one %+v", name, without, next)
		}
		copied, literal := d.Parts()
		if copied+literal > 10_000 {
			t.Errorf("%s: an archive of %d parts", name, copied+literal)
		}
	}
}
