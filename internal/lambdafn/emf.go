package lambdafn

import (
	"encoding/json"
	"io"
	"maps"
	"sync"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
)

// Namespace is that of all metrics.
const Namespace = "Lifeboat"

// Metrics writes lines in CloudWatch's Embedded Metric Format: CloudWatch makes metrics of them, and they stay readable
// as logs. Each metric exists for the stack, and for each source of it; Backups and Restores also by status, in words of
// the catalog ("completed", "in progress", …). It is safe for concurrent use.
//
//	Backups, Restores   runs that ended
//	Bytes, Objects      that a good backup holds; PackedBytes, PackedObjects: that this run wrote
//	Duration            of a run, in seconds
//	Problems            that a run found
//	LastGoodAge         seconds since the newest good backup of a source began
//	Overdue             1 where that is more than was promised, else 0
//	VerifyFailures      backups of a source in which damage was found within a week, or since its newest good one; 1 where a
//	                    restore or drill has found one
type Metrics struct {
	Stack string
	Now   func() time.Time // time.Now when nil

	mutex sync.Mutex
	w     io.Writer
}

// NewMetrics returns the metrics of a stack, written to w: the standard output of a function.
func NewMetrics(w io.Writer, stack string) *Metrics { return &Metrics{Stack: stack, w: w} }

// Backup writes what a run came to. A record that is still open says nothing.
func (m *Metrics) Backup(r catalog.Record) error {
	if r.Status == backup.InProgress {
		return nil
	}
	values := []value{
		{"Backups", "Count", 1},
		{"Duration", "Seconds", duration(r.Started, r.Finished)},
		{"Problems", "Count", float64(max(r.ProblemsTotal, len(r.Problems)))},
	}
	if r.Status.Good() {
		values = append(values,
			value{"Bytes", "Bytes", float64(r.Bytes)},
			value{"Objects", "Count", float64(r.Objects)},
			value{"PackedBytes", "Bytes", float64(r.PackedBytes)},
			value{"PackedObjects", "Count", float64(r.PackedObjects)},
		)
	}
	return m.write(source(r.Source), []value{{"Backups", "Count", 1}}, string(r.Status), values, map[string]any{"run": r.ID})
}

// Restore writes what a restore came to; nothing of dry runs.
func (m *Metrics) Restore(r catalog.Restore) error {
	if r.Status == backup.InProgress || r.DryRun {
		return nil
	}
	values := []value{{"Restores", "Count", 1}, {"Duration", "Seconds", duration(r.Started, r.Finished)}}
	return m.write(source(r.From.Source), []value{{"Restores", "Count", 1}}, string(r.Status), values, map[string]any{"restore": r.ID, "target": r.Target})
}

// Source writes how a source stands: the age of its newest good backup (of none at all where it is less than 0),
// whether it is overdue, and how many of its backups are known to be damaged.
func (m *Metrics) Source(name backup.Source, age time.Duration, overdue bool, damaged int) error {
	late := 0.0
	if overdue {
		late = 1
	}
	values := []value{{"Overdue", "Count", late}, {"VerifyFailures", "Count", float64(damaged)}}
	if age >= 0 {
		values = append(values, value{"LastGoodAge", "Seconds", age.Seconds()})
	}
	return m.write(source(name), nil, "", values, nil)
}

// Damaged writes that a restore or a drill has found a backup of a source damaged.
func (m *Metrics) Damaged(name backup.Source) error {
	return m.write(source(name), nil, "", []value{{"VerifyFailures", "Count", 1}}, nil)
}

func duration(from, to time.Time) float64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from).Seconds()
}

// source names it in a dimension, whose value must not be empty: a restore from a file or a URL has none.
func source(name backup.Source) string {
	if name == "" {
		return "none"
	}
	return string(name)
}

// value is one metric.
type value struct {
	name, unit string
	value      float64
}

type (
	directive struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []definition
	}
	definition struct {
		Name, Unit string
	}
)

// write writes one line. byStatus are the metrics that exist by status, too; about is what the line says beside.
func (m *Metrics) write(source string, byStatus []value, status string, values []value, about map[string]any) error {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	directives := []directive{{Namespace, [][]string{{"Stack"}, {"Stack", "Source"}}, definitions(values)}}
	line := map[string]any{"Stack": m.Stack, "Source": source}
	if status != "" {
		directives = append(directives, directive{Namespace, [][]string{{"Stack", "Status"}, {"Stack", "Source", "Status"}}, definitions(byStatus)})
		line["Status"] = status
	}
	for _, v := range values {
		line[v.name] = v.value
	}
	maps.Copy(line, about)
	line["_aws"] = map[string]any{"Timestamp": now().UnixMilli(), "CloudWatchMetrics": directives}
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	_, err = m.w.Write(append(data, '\n'))
	return err
}

func definitions(values []value) []definition {
	list := make([]definition, len(values))
	for i, v := range values {
		list[i] = definition{v.name, v.unit}
	}
	return list
}
