package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/estimate"
	"lifeboat/internal/restore"
	"lifeboat/internal/s3model"
)

// TestMain makes of this program the worker that the benchmarks start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestSets(t *testing.T) {
	for _, test := range []struct {
		set         set
		files       int
		least, most int64 // bytes
	}{
		{setI(), 5000, 5000 * 20 * kib, 5000 * 20 * kib},
		{setII(), 200, 200 * 5 * mib, 200 * 20 * mib},
		{setIII(), 4, 4 * gib, 4 * gib},
		{setIV(), 1400, mediaBytes * 98 / 100, mediaBytes * 102 / 100},
	} {
		keys := map[string]bool{}
		seeds := map[uint64]bool{}
		for _, f := range test.set.files {
			keys[f.key], seeds[f.Seed] = true, true
		}
		if n := test.set.bytes(); len(test.set.files) != test.files || n < test.least || n > test.most {
			t.Errorf("%s, want %d files with %d to %d bytes", test.set, test.files, test.least, test.most)
		}
		if len(keys) != test.files || len(seeds) != test.files {
			t.Errorf("set %s: %d keys and %d contents for %d files", test.set.name, len(keys), len(seeds), test.files)
		}
	}
	if a, b := setIV(), setIV(); a.String() != b.String() {
		t.Errorf("set iv differs from run to run: %s, %s", a, b)
	}
}

// TestFloor: the benchmarks prefer speed as the configuration does.
func TestFloor(t *testing.T) {
	got, err := estimate.SpliceFloor(estimate.Splice{Prefer: "speed", Prices: estimate.Prices("us-east-1"), Filler: true})
	if err != nil || got != floor {
		t.Errorf("SpliceFloor says %d, %v, the benchmarks %d", got, err, floor)
	}
}

func TestChanged(t *testing.T) {
	for _, test := range []struct {
		set  set
		want int
	}{{setI(), 50}, {setII(), 2}, {setIII(), 1}, {setIV(), 14}} {
		next, files := test.set.changed(0.01)
		differ := 0
		for i, f := range next.files {
			if f.Seed != test.set.files[i].Seed {
				differ++
			}
		}
		if differ != test.want || len(files) != test.want || next.bytes() != test.set.bytes() {
			t.Errorf("set %s: %d files differ, %d were named, want %d", test.set.name, differ, len(files), test.want)
		}
	}
}

func TestPerTB(t *testing.T) {
	small := set{files: []file{{Derived: s3model.Derived{Size: 1e9}}}}
	twice := set{files: []file{{Derived: s3model.Derived{Size: 2e9}}}}
	// 100 requests in any case, and 50 for each GB.
	runs := [2]measured{{use: use{Counters: s3model.Counters{Put: 150}}}, {use: use{Counters: s3model.Counters{Put: 190, List: 10}}}}
	if got := perTB([2]set{small, twice}, runs).Put; got != 100+50*1000 {
		t.Errorf("%d requests for a TB, want 50100", got)
	}
}

func TestShares(t *testing.T) {
	units := make([]restore.Unit, 100)
	for i := range units {
		units[i].Length = int64(i) * mib
	}
	total := 0
	for _, s := range shares(units, 8) {
		sum := int64(0)
		for _, u := range s {
			sum += u.Length
		}
		if total += len(s); sum < 500*mib || sum > 740*mib { // 4,950 MiB by 8
			t.Errorf("a share has %d MiB", sum/mib)
		}
	}
	if total != len(units) {
		t.Errorf("%d units, want %d", total, len(units))
	}
}

// TestPipeline makes the backups of a small source with worker processes and brings it back.
func TestPipeline(t *testing.T) {
	files := makeSet("test", "a few files", "bin", append(equal(20, 30*kib), 12*mib, 7*mib))
	err := onModel(t.Context(), s3model.Options{}, files, speed, func(b *bed) error {
		first, err := b.backup(t.Context(), 3)
		if err != nil {
			return err
		}
		if first.Downloaded == 0 || first.Downloaded >= files.bytes() || first.cpu == 0 || first.peak < 4*mib {
			t.Errorf("the first backup took %+v", first.use)
		}
		next, err := b.backup(t.Context(), 3)
		if err != nil {
			return err
		}
		if next.Downloaded*2 > first.Downloaded || next.record.PackedObjects != 0 {
			t.Errorf("the next backup took %+v and packed %d objects", next.use, next.record.PackedObjects)
		}
		if _, err = b.restore(t.Context(), next.record.ID, 3, floor); err != nil {
			return err
		}
		var out strings.Builder
		return (&bench{out: &out}).opens(t.Context(), b, next.record)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestNaive holds the naive peers to what they are compared for: a whole archive, and all files back.
func TestNaive(t *testing.T) {
	files := makeSet("test", "a few files", "bin", append(equal(20, 30*kib), 12*mib, 0))
	err := onModel(t.Context(), s3model.Options{}, files, streaming, func(b *bed) error {
		target, err := b.store.bucket(t.Context(), "target")
		if err != nil {
			return err
		}
		var made naiveBackup
		_, err = b.timed(1, streaming, func(f *fleet) error {
			if err := f.do(t.Context(), "naive-backup", "naive.zip", &made); err != nil {
				return err
			}
			return f.do(t.Context(), "naive-restore", naiveRequest{"naive.zip", target, t.TempDir()}, new(struct{}))
		})
		if err != nil {
			return err
		}
		if made.Objects != len(files.files) {
			t.Errorf("%d objects, want %d", made.Objects, len(files.files))
		}
		return b.equal(t.Context(), target)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTable says plainly which goals were reached, which were not, and which were not measured.
func TestTable(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out}
	b.goal("a", "small enough", "≤", 1, 0.5, "%")
	b.goal("b", "too small", "≥", 4, 3.99, "×")
	b.goal("c", "not above", ">", 1, 1, "×")
	b.missed("no peer", "≥", 10, "×", "node is not installed")
	b.run("r", measured{use: use{peak: 300 * mib}, wall: time.Second})
	b.table()
	for _, want := range []string{
		"bench: a 0.5 %\n", "small enough    ≤ 1 %      0.5 %    reached\n", "too small       ≥ 4 ×      3.99 ×   NOT reached\n",
		"not above       > 1 ×      1 ×      NOT reached\n", "no peer         ≥ 10 ×     –        not measured: node is not installed\n",
		"1 of 4 goals reached, 1 not measured\n", "(here: of r)", "300 MiB",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
}
