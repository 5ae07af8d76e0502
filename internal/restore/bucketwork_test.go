package restore_test

import (
	"encoding/json"
	"testing"

	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// TestWorkers hands the units of one plan, as text, to two targets, as processes of their own would have them.
func TestWorkers(t *testing.T) {
	s := newScene(t, mixed(t))
	source := restore.PackBytes(s.vault.Vault, s.pool())
	open := func() *restore.BucketTarget {
		target, err := restore.OpenBucket(t.Context(), s.options)
		if err != nil {
			t.Fatal(err)
		}
		target.From(source)
		return target
	}
	workers := []*restore.BucketTarget{open()}
	var lines []string
	for u, err := range workers[0].Plan(verify.Entries(t.Context(), s.image())) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	for i, line := range lines {
		if i == 1 {
			workers = append(workers, open()) // it finds that the target is not empty any more, and asks no more for that
		}
		var u restore.Unit
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			t.Fatal(err)
		}
		if err := workers[i%len(workers)].Do(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
	var all restore.Result
	for _, w := range workers {
		r := w.Result()
		all.Written += r.Written
		all.Spliced += r.Spliced
		all.Total += r.Total
	}
	if len(lines) < 4 || all.Written != 8 || all.Spliced != 2 || all.Total > 0 {
		t.Errorf("%d units, %+v", len(lines), all)
	}
	s.wants(wantMixed())
}
