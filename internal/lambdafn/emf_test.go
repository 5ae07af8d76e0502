package lambdafn_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/lambdafn"
)

var update = flag.Bool("update", false, "write the golden files")

const golden = "testdata/metrics.jsonl"

func TestMetrics(t *testing.T) {
	var out bytes.Buffer
	m := lambdafn.NewMetrics(&out, "lifeboat-prod")
	m.Now = func() time.Time { return time.UnixMilli(1_795_226_400_123) }
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	record := catalog.Record{
		ID: "20261121T020000Z-abcdef", Source: "photos", Status: backup.Partial, Started: start, Finished: start.Add(95500 * time.Millisecond),
		Objects: 65, Bytes: 46_123_456, PackedObjects: 3, PackedBytes: 1_223_456,
		Problems: []app.Finding{{}}, ProblemsTotal: 12,
	}
	failed := catalog.Record{ID: record.ID, Source: "photos", Status: backup.Failed, Started: start, Bytes: 5}
	restored := catalog.Restore{ID: "r1", Status: backup.Completed, Target: "elsewhere", Started: start, Finished: start.Add(time.Minute)}
	for _, err := range []error{
		m.Backup(record), m.Backup(failed), m.Backup(catalog.Record{Status: backup.InProgress}),
		m.Restore(restored), m.Restore(catalog.Restore{Status: backup.Completed, DryRun: true}),
		m.Source("photos", 26*time.Hour, true, 2), m.Source("never", -1, true, 0), m.Damaged("photos"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for line := range bytes.Lines(out.Bytes()) {
		wellFormed(t, line)
	}
}

// wellFormed holds a line against the rules of the Embedded Metric Format.
func wellFormed(t *testing.T, data []byte) {
	t.Helper()
	var line struct {
		AWS struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &line); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	if line.AWS.Timestamp == 0 || len(line.AWS.CloudWatchMetrics) == 0 {
		t.Errorf("no metrics: %s", data)
	}
	for _, directive := range line.AWS.CloudWatchMetrics {
		if directive.Namespace != "Lifeboat" || len(directive.Dimensions) == 0 || len(directive.Metrics) == 0 {
			t.Errorf("%+v", directive)
		}
		for _, set := range directive.Dimensions {
			for _, dimension := range set {
				if text, ok := fields[dimension].(string); !ok || text == "" || len(set) > 30 {
					t.Errorf("the dimension %s is %v in %s", dimension, fields[dimension], data)
				}
			}
		}
		for _, metric := range directive.Metrics {
			if _, ok := fields[metric.Name].(float64); !ok {
				t.Errorf("the metric %s is %v in %s", metric.Name, fields[metric.Name], data)
			}
		}
	}
}
