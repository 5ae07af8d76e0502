package setup

import (
	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
)

// Scope completes the scope of a backup that was asked for with what the configuration says of its source, and refuses
// what the source's application has not.
func Scope(source config.Source, s backup.Scope) (backup.Scope, error) {
	switch {
	case s.Folder != "" && source.Kind != "zipline":
		return s, failure.New(failure.Usage, "a source of kind %s has no folders of its own", source.Kind).WithHint("leave the folder out; it is for sources of kind zipline")
	case s.Folder != "" && s.NoMetrics:
		return s, failure.New(failure.Usage, "the backup of a folder holds no metrics anyway").WithHint("leave out that it should hold none")
	case s.NoMetrics && source.Kind != "zipline":
		return s, failure.New(failure.Usage, "a source of kind %s has no metrics", source.Kind).WithHint("leave out that the backup should hold none")
	case !s.Until.IsZero() && !s.Since.Before(s.Until):
		return s, failure.New(failure.Usage, "the end of the time that is asked for does not lie behind its beginning").WithHint("no file could be from that time")
	}
	s.Since, s.Until = s.Since.UTC(), s.Until.UTC()
	s.NoMetrics = s.NoMetrics || !source.Metrics && s.Folder == ""
	return s, nil
}

// Asked refuses what the target of a restore can't do, whatever is restored; NotFound where the configuration has no such
// target.
func Asked(c *config.Config, r events.Restore) error {
	if r.To.Target == "" {
		return PlainWishes(r.Wishes)
	}
	target, err := c.Target(r.To.Target)
	if err != nil {
		return err
	}
	return Wishes(target, r.Wishes)
}
