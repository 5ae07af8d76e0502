package step_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/vault"
)

// BenchmarkPlan plans the first backup of a source, from its list to its batches. LIFEBOAT_PLAN_OBJECTS sets how many
// objects it has. The peak and the processor's time are those of this process, which are not the store's.
func BenchmarkPlan(b *testing.B) {
	count := 20_000
	if text := os.Getenv("LIFEBOAT_PLAN_OBJECTS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	w := newWorld(b, nil)
	ctx := b.Context()
	run := events.Run{ID: firstRun, Source: "photos"}
	record := catalog.Record{ID: run.ID, Source: run.Source, Kind: "fake", Status: backup.InProgress, Started: noon}
	if err := catalog.New(w.vault).Create(ctx, record); err != nil {
		b.Fatal(err)
	}
	out := w.vault.NewWriter(ctx, vault.Work(run.Source, run.ID, "a/objects.jsonl"), vault.Always())
	enc := json.NewEncoder(out)
	for i := range count {
		o := app.Object{
			Key: fmt.Sprintf("photos/%03d/IMG_%08d.jpg", i%1000, i), Path: fmt.Sprintf("files/photos/%03d/IMG_%08d.jpg", i%1000, i), Size: int64(i%4_000_000) + 100,
			Modified: noon.Add(-time.Duration(i) * time.Second), Identity: fmt.Sprintf("\"%032x\":%d:%d", i, i, i), Settled: true,
		}
		if err := enc.Encode(o); err != nil {
			b.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		b.Fatal(err)
	}
	if _, err := w.vault.PutJSON(ctx, vault.Work(run.Source, run.ID, "a/snapshot.json"), map[string]any{"objects": count}, vault.Always()); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	message, err := json.Marshal(events.Request{Step: "plan-packs", Run: run, Snapshot: &events.Snapshot{Done: true, Attempt: "a"}})
	if err != nil {
		b.Fatal(err)
	}
	before := worked(b)
	for b.Loop() {
		if _, err := w.newSteps().Handle(ctx, "export", message); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((worked(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(count), "objects/op")
	b.ReportMetric(peak(b), "peak-MiB")
}

// worked is how long this process has used a processor, which the store has not.
func worked(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peak is the most memory that this process ever had, in MiB; 0 where nobody says.
func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}
