package deployment

import (
	"cmp"
	"strings"
	"time"
)

// when checks a schedule. It returns the longest time between two runs, too: 0 where there are no two, or it is wrong.
func (r *reader) when(path string, w when) (When, time.Duration) {
	if w.Cron == "" {
		if w.Zone != "" || w.Window != "" {
			r.wrong(path, "has no cron")
		}
		return When{}, 0
	}
	window := 15 * time.Minute
	if w.Window != "" {
		parsed, ok := parseLength(w.Window)
		if !ok || parsed > 24*time.Hour || parsed < time.Minute {
			r.wrong(path+".window", "must be 1m to 24h")
		}
		window = parsed
	}
	name := cmp.Or(w.Zone, "UTC")
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		r.wrong(path+".zone", "has no time zone %q; write one like Europe/Zurich", name)
		zone = time.UTC
	}
	c, err := parseCron(w.Cron)
	if err != nil {
		r.wrong(path+".cron", "%v", err)
		return When{Zone: name, Window: window}, 0
	}
	if len(c.next(r.now.In(zone), 1)) == 0 {
		r.wrong(path+".cron", "never runs: no day from now on is one of %q", w.Cron)
	}
	gap := c.gap(r.now.In(zone))
	if lost, day := c.lost(r.now.In(zone)); lost > gap {
		r.warn("deploy.%s: on %s the clocks of %s pass over a time of this schedule, and EventBridge leaves that run out: %s may lie between two runs, and without overdue: the alarm waits as long all year; 4 o'clock exists every day",
			path, day.Format(time.DateOnly), name, Length(lost))
		gap = lost
	}
	return When{Cron: strings.Join(c.text, " "), Zone: name, Window: window}, gap
}

// How long a run may take before its source is overdue, where nobody says: four hours, or a sixth of what lies between two
// of them, and a day at most.
const (
	runTime     = 4 * time.Hour
	mostRunTime = 24 * time.Hour
)

// never is what overdue: says of a source that nobody watches.
const never = "off"

// overdue is given, or follows from the schedule: the age of a backup counts from its start, and the next one may start a
// window later. 0: never.
func (r *reader) overdue(path string, w When, gap time.Duration, text string) time.Duration {
	late := gap + w.Window
	switch text {
	case never:
		return 0
	case "":
		if gap == 0 {
			if w.Cron != "" {
				r.warn("deploy.%s runs once only: it is never overdue, unless overdue: says after how long", path)
			}
			return 0
		}
		return late + min(max(gap/6, runTime), mostRunTime)
	}
	parsed, ok := parseLength(text)
	if !ok {
		r.wrong(path+".overdue", "must be a number of hours or days, such as 29h, or off")
	} else if gap > 0 && parsed <= late {
		r.warn("deploy.%s: it is overdue after %s, and up to %s may lie between two backups that are on time: the alarm goes off without need", path, text, Length(late))
	}
	return parsed
}
