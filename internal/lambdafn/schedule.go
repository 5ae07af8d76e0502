package lambdafn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"time"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/setup"
)

// Scheduled is what a schedule sends: exactly one of the two.
type Scheduled struct {
	Start *StartBackup `json:"start,omitempty"`
	Watch *Watch       `json:"watch,omitempty"`
}

// StartBackup starts a backup. The run's id derives from source and time, so that an event that comes twice, as those of
// EventBridge may, starts one run.
type StartBackup struct {
	Source   backup.Source `json:"source"`
	At       time.Time     `json:"at"`       // <aws.scheduler.scheduled-time>
	Schedule string        `json:"schedule"` // its name, for the record
}

// Watch looks whether a source has a good backup that is young enough, and writes the metrics that alarms look at. It
// depends on nothing that backups do.
type Watch struct {
	Source backup.Source `json:"source"`
	Within string        `json:"within"` // how old the newest good backup may be, such as 26h
}

func (s Scheduled) source() string {
	switch {
	case s.Start != nil:
		return string(s.Start.Source)
	case s.Watch != nil:
		return string(s.Watch.Source)
	}
	return ""
}

// Schedule is the Handler of what schedules send.
func (w *World) Schedule(ctx context.Context, message []byte) (json.RawMessage, error) {
	var m Scheduled
	if err := events.Decode(message, &m); err != nil {
		return nil, err
	}
	if (m.Start == nil) == (m.Watch == nil) {
		return nil, failure.New(failure.Usage, "a schedule sends one of start and watch")
	}
	open, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	if m.Start != nil {
		return open.start(ctx, *m.Start)
	}
	return json.RawMessage(`{}`), w.watch(ctx, open, *m.Watch)
}

// scheduledID derives the id of a run from its source and the time for which it was scheduled.
func scheduledID(source backup.Source, at time.Time) backup.ID {
	id := []byte(backup.NewID(at))
	sum := sha256.Sum256([]byte("schedule " + string(source) + " " + at.UTC().Format(time.RFC3339)))
	letters := id[len(id)-6:]
	for i := range letters {
		letters[i] = 'a' + sum[i]%26
	}
	return backup.ID(id)
}

// start starts the state machine of backups under the name of the run. That it has been started before is success.
func (w *warm) start(ctx context.Context, s StartBackup) (json.RawMessage, error) {
	source, err := w.config.Source(string(s.Source))
	if err != nil {
		return nil, err
	}
	if s.At.IsZero() || len(s.Schedule) > 200 {
		return nil, failure.New(failure.Usage, "a start needs the time for which it was scheduled, and a name of at most 200 bytes")
	}
	run := events.Run{ID: scheduledID(s.Source, s.At), Source: s.Source, StartedBy: catalog.Starter{By: "schedule", Who: s.Schedule}}
	if run.Scope, err = setup.Scope(source, run.Scope); err != nil {
		return nil, err
	}
	_, before, err := w.machines().StartBackup(ctx, run, remote.Key{})
	if err != nil {
		return nil, err
	}
	answer := map[string]string{"run": string(run.ID), "answer": "started"}
	if before {
		answer["answer"] = "duplicate"
	}
	slog.Info("a backup was asked for", "run", answer["run"], "source", string(s.Source), "answer", answer["answer"])
	return json.Marshal(answer)
}

// damageTold is how long the watch goes on counting a backup that a newer good one has followed, once damage was found
// in it: reading every record each time would cost more with every backup.
const damageTold = 7 * 24 * time.Hour

// watch writes how a source stands.
func (w *World) watch(ctx context.Context, open *warm, s Watch) error {
	within, err := time.ParseDuration(s.Within)
	if err != nil || within <= 0 {
		return failure.New(failure.Usage, "a watch says within which time there must be a good backup, such as 26h")
	}
	if _, err := open.config.Source(string(s.Source)); err != nil {
		return err
	}
	var newest time.Time
	damaged := 0
	for r, err := range catalog.New(open.vault).Newest(ctx, s.Source, time.Now().Add(-damageTold)) {
		switch {
		case err != nil && failure.KindOf(err) != failure.Corrupt:
			return err
		case err != nil || r.Damage != "":
			damaged++
		case r.Status.Good() && r.Started.After(newest):
			newest = r.Started
		}
	}
	age := time.Duration(-1)
	if !newest.IsZero() {
		age = max(0, time.Since(newest))
	}
	overdue := age < 0 || age > within
	if overdue {
		slog.Warn("a source has no good backup that is young enough", "source", string(s.Source), "within", s.Within, "newest", newest)
	}
	return w.metrics.Source(s.Source, age, overdue, damaged)
}
